"""One service's scaler: asks its policy about each new look at the service, and remembers what it said.

The policy is made anew when the file changes what it is made from; the forecast, the learned starts and the service
time stay. Nothing here changes the service.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from plimsoll.control.scaling.counts import GatewayCounts, Growth
from plimsoll.control.scaling.scalable import Places, Scalable
from plimsoll.control.scaling.watching import Starts, learned_service_time, scaled_replicas
from plimsoll.core.scaling import Bounds, Decision, Forecast, Observation, ScalingPolicy
from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.lead_time import LeadTimes
from plimsoll.insight.profile import Profile
from plimsoll.ports.backend import ReplicaPhase

EVERY_S = 0.5  # reports come each second; one that was sent early is not worth a decision of its own
SILENT_S = 3.0  # gateways report each second: after this metrics have stopped

_RATES = 30  # half a minute of them shows what a service needs beside others

_SURE = 50  # batches: from then on what replicas learned counts for more than a profile

# Before a first batch and without a profile: 100 requests a second one by one. `samples` 0 says that it is a guess.
_GUESS = ServiceTime(0.002, 0.008)


class Forecasting(Forecast, Protocol):
    """A forecast that learns: `arrived` requests came in the `over_s` before `now`."""

    def observe(self, now: float, arrived: int, over_s: float) -> None: ...


class Recorder(Protocol):
    """Keeps what a policy was made from, what it was shown and what it said, to replay it."""

    def begin(self, service: str, policy: str, bounds: Bounds, epoch_s: float) -> None: ...

    def decided(self, service: str, seen: Observation, decision: Decision) -> None: ...


class NoRecord:
    def begin(self, service: str, policy: str, bounds: Bounds, epoch_s: float) -> None:
        pass

    def decided(self, service: str, seen: Observation, decision: Decision) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Kit:
    """What scalers are made with. `policy(text, bounds, epoch_s)`: raises ValueError for a text that is none.
    `forecast(epoch_s)`. `epoch_s`: unix seconds at the clock's 0, for what looks at the calendar. `start_s`: what a
    replica's start is taken to last until a first was seen. `idle_s`: how often a service is looked at that nobody asks
    for; one that somebody does is looked at each second."""

    policy: Callable[[str, Bounds, float], ScalingPolicy]
    forecast: Callable[[float], Forecasting]
    record: Recorder = field(default_factory=NoRecord)
    start_s: float = 2.0
    idle_s: float = 0.0


class ServiceScaler:
    """`decision`: the last; None before the first. `seen`: what it was made from. `rates`: requests a second at the
    last looks."""

    def __init__(self, kit: Kit, counts: GatewayCounts, profile: Profile | None, epoch_s: float) -> None:
        self._kit, self._counts, self._profile = kit, counts, profile
        self._forecast = kit.forecast(epoch_s)
        leads = LeadTimes(kit.start_s) if profile is None else LeadTimes(profile.cold_s, profile.cold_p90_s)
        self.leads = leads
        self._starts = Starts(leads)
        self._service_time = _GUESS if profile is None else profile.service_time
        self._policy: ScalingPolicy | None = None
        self._made_from: tuple[str, Bounds] | None = None
        self.decision: Decision | None = None
        self.seen: Observation | None = None
        self.rates: list[float] = []
        self._idle = False  # nobody asked, and nothing was decided anew, at the last look
        self._idle_s = 0.0

    @property
    def policy(self) -> str:
        return "" if self._policy is None else self._policy.name

    @property
    def bounds(self) -> Bounds | None:
        return None if self._made_from is None else self._made_from[1]

    def follow(self, name: str, text: str, bounds: Bounds, epoch_s: float) -> None:
        """Takes the file's word. Raises ValueError where `text` names no policy; the one before goes on."""
        if self._made_from == (text, bounds):
            return
        self._policy = self._kit.policy(text, bounds, epoch_s)
        # A service that sleeps soon is looked at often enough to do so in time.
        self._idle_s = min(self._kit.idle_s, bounds.zero_after_s / 20)
        self._made_from = (text, bounds)
        self._kit.record.begin(name, text, bounds, epoch_s)

    def watch(self, state: Scalable) -> None:
        """Each turn: starts are seen also between decisions."""
        self._starts.look(state.seen)
        ready = [replica for replica in state.of(state.serving_id) if replica.phase is ReplicaPhase.READY]
        learned = learned_service_time(ready)
        if learned is not None and (self._profile is None or learned.samples >= _SURE):
            self._service_time = learned

    def due(self, state: Scalable, now: float) -> bool:
        """Whether there is something new to decide on: each second, and at once when a request waits for a first
        replica."""
        name = state.name
        if state.wanted == 0 and self._counts.waits(name):
            return True
        since_s = float("inf") if self.seen is None else now - self.seen.now
        if self._counts.silent_s(now) > SILENT_S:
            return since_s >= 2 * EVERY_S
        if since_s < EVERY_S or not self._counts.fresh(name, EVERY_S):
            return False
        return since_s >= self._idle_s or not self._idle or self._counts.waits(name)

    def decide(self, state: Scalable, now: float, spare_slots: int | None, places: Places | None = None) -> Decision:
        """Only after `follow`. What the policy raises goes through."""
        assert self._policy is not None
        silent = self._counts.silent_s(now) > SILENT_S
        growth = self._counts.growth(state.name, take=not silent)  # what the others counted is told once all speak
        seen = self._observation(state, growth, now, spare_slots, known=growth.over_s > 0.0 and not silent)
        if places is not None:
            seen = self._placed(seen, state, places)
        if seen.arrived is not None:
            self._forecast.observe(now, seen.arrived, seen.over_s)
            self.rates.append(seen.arrived / seen.over_s)
            del self.rates[:-_RATES]
        decision = self._policy.decide(seen)
        quiet = seen.arrived == 0 and not seen.waiting and not seen.in_flight
        self._idle = quiet and self.decision is not None and decision.replicas == self.decision.replicas
        self.seen, self.decision = seen, decision
        self._kit.record.decided(state.name, seen, decision)
        return decision

    @staticmethod
    def _placed(seen: Observation, state: Scalable, places: Places) -> Observation:
        """With what nodes cost in time and money."""
        node_s, node_p90_s = places.node_lead_s(state)
        lead = replace(seen.lead, node_s=node_s, node_p90_s=node_p90_s)
        return replace(seen, lead=lead, kinds=tuple(places.kinds(state)))

    def _observation(
        self, state: Scalable, growth: Growth, now: float, spare_slots: int | None, *, known: bool
    ) -> Observation:
        serving = (replica for replica in state.seen if replica.id not in state.spare_ids)
        queued = sum(int(replica.load.get("queued", 0)) for replica in serving if replica.phase is ReplicaPhase.READY)
        return Observation(
            now=now,
            arrived=growth.arrived if known else None,
            over_s=growth.over_s if known else 0.0,
            replicas=scaled_replicas(state),
            # Not what somebody set by hand: nobody's word is a sign of need.
            wanted=state.wanted if state.by_hand is None else state.scaled or 0,
            service_time=self._service_time,
            lead=self.leads.estimate(),
            forecast=self._forecast,
            waiting=growth.held + queued,
            in_flight=max(0, growth.in_flight - growth.held),
            late=growth.late,
            concurrency=growth.concurrency,
            dispersion=growth.dispersion,
            spare_slots=spare_slots,
        )
