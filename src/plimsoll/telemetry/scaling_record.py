"""What scalers saw and said, a JSON line each, so that fresh policies can be asked again: `plimsoll up --record DIR`.

    {"begin": {"service", "policy", "bounds", "epoch_s"}}     a policy was made
    {"seen": {…}, "decision": {…}}                            it was shown this, and answered that

A forecast is no part of what was seen: it is what the same arrivals make of a fresh one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

import msgspec

from plimsoll.core.scaling import Bounds, Decision, Forecast, LeadTime, Observation, ReplicaKind, ScaledReplica
from plimsoll.core.service_time import ServiceTime

_NESTED: Mapping[str, Any] = {
    "replicas": tuple[ScaledReplica, ...],
    "service_time": ServiceTime,
    "lead": LeadTime,
    "kinds": tuple[ReplicaKind, ...],
}


@dataclass(frozen=True, slots=True)
class Begun:
    """A policy made anew. `epoch_s`: unix seconds at the host clock's 0."""

    service: str
    policy: str
    bounds: Bounds
    epoch_s: float


@dataclass(frozen=True, slots=True)
class Decided:
    """`seen`: an `Observation`'s fields but its forecast; see `observation`."""

    seen: Mapping[str, Any]
    decision: Decision

    def observation(self, forecast: Forecast) -> Observation:
        return Observation(forecast=forecast, **self.seen)


class ScalingRecord:
    """A file a service in `folder`, which must be there: NAME.scaling.jsonl, written from its beginning."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}

    def begin(self, service: str, policy: str, bounds: Bounds, epoch_s: float) -> None:
        self._write(service, {"begin": asdict(Begun(service, policy, bounds, epoch_s))})

    def decided(self, service: str, seen: Observation, decision: Decision) -> None:
        told = {field.name: getattr(seen, field.name) for field in fields(seen) if field.name != "forecast"}
        self._write(service, {"seen": told, "decision": decision})

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, service: str, line: Mapping[str, Any]) -> None:
        file = self._files.get(service)
        if file is None:
            # A line a second of some 500 bytes: written at once, by whoever has it.
            path = self._folder / f"{service}.scaling.jsonl"
            file = self._files[service] = path.open("w", buffering=1, encoding="utf-8")
        file.write(msgspec.json.encode(line).decode() + "\n")


def read_scaling_record(path: Path) -> Iterator[Begun | Decided]:
    """Raises ValueError where a line is none of these."""
    with path.open("rb") as file:
        for line in file:
            found = msgspec.json.decode(line)
            if "begin" in found:
                yield msgspec.convert(found["begin"], Begun)
            else:
                seen = dict(found["seen"])
                for name, kind in _NESTED.items():
                    seen[name] = msgspec.convert(seen[name], kind)
                yield Decided(seen, msgspec.convert(found["decision"], Decision))
