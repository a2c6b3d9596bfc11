"""Asks fresh policies what a recorded run's were asked: the same eyes must give the same answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plimsoll.control.scaling.scaler import Forecasting, Kit
from plimsoll.core.scaling import Decision, ScalingPolicy
from plimsoll.telemetry.scaling_record import Begun, read_scaling_record


@dataclass(frozen=True, slots=True)
class Replayed:
    """`now`: of the observation, on the recorded host's clock."""

    now: float
    recorded: Decision
    again: Decision

    @property
    def same(self) -> bool:
        return self.recorded == self.again


def replay(path: Path, kit: Kit) -> Iterator[Replayed]:
    """One a decision, in order. Raises ValueError where the file is no record."""
    forecast: Forecasting | None = None
    policy: ScalingPolicy | None = None
    for entry in read_scaling_record(path):
        if isinstance(entry, Begun):
            policy = kit.policy(entry.policy, entry.bounds, entry.epoch_s)
            forecast = forecast or kit.forecast(entry.epoch_s)  # as live: it outlives a change of the file
            continue
        if policy is None or forecast is None:
            raise ValueError(f"{path}: a decision comes before its policy")
        seen = entry.observation(forecast)
        if seen.arrived is not None:
            forecast.observe(seen.now, seen.arrived, seen.over_s)
        yield Replayed(seen.now, entry.decision, policy.decide(seen))
