"""Each turn: a count set by hand ends when its time is over -> each scaler that is due asks its policy -> all find
room -> the services' wanted counts change, and the timeline hears why.

One loop owns a service: nothing but this sets `scaled`, and a count set by hand is above it.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from plimsoll.control.reports import ReportBook
from plimsoll.control.scaling.capacity import Asked, Room, RoomReader, granted, no_bound, spare_slots, why_less
from plimsoll.control.scaling.counts import GatewayCounts
from plimsoll.control.scaling.scalable import Places, Scalable
from plimsoll.control.scaling.scaler import SILENT_S, Forecasting, Kit, ServiceScaler
from plimsoll.control.timeline import Kind, Level, Timeline
from plimsoll.core.errors import UserError
from plimsoll.core.scaling import Bounds, Decision, Observation, ReplicaState, ScalingPolicy
from plimsoll.core.snapshot import GatewayReport
from plimsoll.insight.profile import Profile
from plimsoll.spec import ModelService, Platform, bounds_of, policy_text

# How many policies' reasons begin: `5: `, `5 stay: ` or `3 → 5: `. What the count really becomes is for us to say.
_COUNTS = re.compile(r"\A\d+(?: → \d+| stay)?: ")
_FAILED_MOST = 3  # starts in a row that came to nothing: more of them will not either


@dataclass(slots=True)
class Change:
    """The last change of a service's count, or of why it is no other. `at`: unix seconds."""

    at: float
    before: int
    after: int
    reason: str

    @property
    def told(self) -> str:
        count = f"{self.before} → {self.after}" if self.after != self.before else f"stays at {self.after}"
        return f"{count}: {self.reason}"


@dataclass(slots=True)
class _Scaled:
    """One service's scaler, and what was told of it."""

    scaler: ServiceScaler
    change: Change | None = None
    decided_at: float | None = None  # unix seconds
    holding: str = ""  # why its count stays although metrics stopped; "": they come
    refused: str = ""  # why its policy's wish makes no sense
    trimmed: str = ""  # why there is no room for it
    asked: int = 0  # what its policy wants, within the bounds
    follows: tuple[ModelService, Platform | None] | None = None  # what its policy was made from


@dataclass(frozen=True, slots=True)
class ScalingTold:
    """What people are told. `decision`: the last; `wanted`: what it asks for, before the machine's room, and `trimmed`
    says what became of it. `at` and `changed_at`: unix seconds. `left_s`: until a count set by hand ends."""

    policy: str
    min_replicas: int
    max_replicas: int
    at: float | None = None
    wanted: int | None = None
    reason: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)
    changed_at: float | None = None
    change: str = ""
    holding: str = ""
    trimmed: str = ""
    spares: int = 0
    by_hand: int | None = None
    left_s: float | None = None


def live_kit() -> Kit:
    """The policies by their names, and the forecast that learns."""
    return Kit(policy=_named, forecast=_forecast)


def _named(text: str, bounds: Bounds, epoch_s: float) -> ScalingPolicy:
    from plimsoll.policy.scaling.named import make

    return make(text, bounds, epoch_s=epoch_s)


def _forecast(epoch_s: float) -> Forecasting:
    from plimsoll.insight.forecast import Forecaster

    return Forecaster(epoch_s)


def scales(service: ModelService) -> bool:
    """Whether there is anything to decide."""
    return service.max_replicas > service.min_replicas


class Scaling:
    """`wall`: unix seconds. `profile`: what was measured of a service beforehand."""

    def __init__(
        self,
        kit: Kit,
        timeline: Timeline,
        reports: ReportBook,
        wall: Callable[[], float],
        *,
        room: RoomReader = no_bound,
        places: Places | None = None,
        profile: Callable[[ModelService], Profile | None] = lambda service: None,
    ) -> None:
        self._kit, self._timeline, self._wall = kit, timeline, wall
        self._counts = GatewayCounts(reports)
        self._room, self._profile, self._places = room, profile, places
        self._scaled: dict[str, _Scaled] = {}

    def hear(self, report: GatewayReport, now: float) -> None:
        self._counts.hear(report, now)

    def turn(self, states: Collection[Scalable], platform: Platform | None, now: float) -> None:
        for name in self._scaled.keys() - {state.name for state in states if scales(state.service)}:
            del self._scaled[name]
            self._counts.forget(name)
        for state in states:
            self._end_by_hand(state, now)
        if self._places is not None:
            self._places.look(tuple(states), now)
        room = self._room()
        # All ask before any is heard: whoever comes first must not have more.
        asked = [self._ask(state, platform, now, room, states) for state in states]
        if any(asked):
            self._take(states, room)

    def told(self, state: Scalable, now: float) -> ScalingTold:
        service, known = state.service, self._scaled.get(state.name)
        left_s = None if state.replicas_until is None else max(0.0, state.replicas_until - now)
        if known is None:
            least, most = service.min_replicas, service.max_replicas
            return ScalingTold(policy_text(service), least, most, by_hand=state.by_hand, left_s=left_s)
        scaler, change, decision = known.scaler, known.change, known.scaler.decision
        return ScalingTold(
            policy=scaler.policy or policy_text(service),
            min_replicas=service.min_replicas,
            max_replicas=service.max_replicas,
            at=known.decided_at,
            wanted=None if decision is None else known.asked,
            reason="" if decision is None else decision.reason,
            evidence={} if decision is None else decision.evidence,
            changed_at=None if change is None else change.at,
            change="" if change is None else change.told,
            holding=known.holding,
            trimmed=known.trimmed or known.refused,
            spares=state.spares,
            by_hand=state.by_hand,
            left_s=left_s,
        )

    def last_look(self, name: str) -> Observation | None:
        """What its policy was shown last."""
        known = self._scaled.get(name)
        return None if known is None else known.scaler.seen

    def waits(self, name: str) -> bool:
        """Whether a gateway holds a request of it."""
        return self._counts.waits(name)

    # --- the steps --------------------------------------------------------------------------------------------------

    def _end_by_hand(self, state: Scalable, now: float) -> None:
        until = state.replicas_until
        if until is None or now < until:
            return
        count, state.replicas, state.replicas_until = state.replicas, None, None
        then = f"{policy_text(state.service)} decides again" if scales(state.service) else f"{state.wanted} again"
        message = f"the time at {count} by hand is over: {then}"
        self._timeline.record(state.name, Kind.SCALED, message, replicas=state.wanted)

    def _ask(
        self,
        state: Scalable,
        platform: Platform | None,
        now: float,
        room: Room | None,
        states: Collection[Scalable],
    ) -> bool:
        """Asks its policy where it is time; whether it did. A policy that fails leaves the count as it is."""
        if not scales(state.service):
            state.scaled, state.spares = None, 0
            return False
        if state.scaled is None:
            state.scaled = within(state.found, state.service)
        try:
            epoch_s = self._wall() - now
            known = self._known(state, epoch_s)
            self._keep_bounds(state, known)
            scaler = known.scaler
            if known.follows is None or known.follows[0] is not state.service or known.follows[1] is not platform:
                scaler.follow(state.name, policy_text(state.service), bounds_of(state.service, platform), epoch_s)
                known.follows = state.service, platform
            scaler.watch(state)
            if not scaler.due(state, now):
                return False
            places = self._places
            slots = spare_slots(state, room, states) if places is None else places.spare_slots(state)
            decision = scaler.decide(state, now, slots, places)
        except Exception as error:
            message = f"its scaling policy failed: {type(error).__name__}: {error}; {state.wanted} replicas stay"
            self._timeline.record_once(state.name, Kind.ERROR, message)
            return False
        known.decided_at = self._wall()
        known.asked = self._reasonable(state, known, decision)
        self._tell_holding(state, known, now)
        return True

    def _keep_bounds(self, state: Scalable, known: _Scaled) -> None:
        """At once where the file's bounds changed, not at the policy's next word."""
        assert state.scaled is not None
        before, service = state.scaled, state.service
        state.scaled, known.asked = within(before, service), within(known.asked, service)
        if state.scaled == before or state.by_hand is not None:
            return
        bound = "maxReplicas" if before > state.scaled else "minReplicas"
        known.trimmed = known.refused = ""
        self._changed(state, known, before, f"{bound} is {state.scaled}", {})

    def _changed(
        self,
        state: Scalable,
        known: _Scaled,
        before: int,
        reason: str,
        evidence: Mapping[str, object],
        level: Level = Level.INFO,
    ) -> None:
        assert state.scaled is not None
        known.change = Change(self._wall(), before, state.scaled, reason)
        self._timeline.record(
            state.name,
            Kind.SCALED,
            known.change.told,
            level=level,
            replicas=state.scaled,
            before=before,
            policy=known.scaler.policy,
            evidence=dict(evidence),
        )

    def _known(self, state: Scalable, epoch_s: float) -> _Scaled:
        known = self._scaled.get(state.name)
        if known is None:
            scaler = ServiceScaler(self._kit, self._counts, self._read(state), epoch_s)
            known = self._scaled[state.name] = _Scaled(scaler)
        return known

    def _reasonable(self, state: Scalable, known: _Scaled, decision: Decision) -> int:
        """What a policy asks for, as far as it can make sense whatever the policy."""
        asked = within(decision.replicas, state.service)
        assert state.scaled is not None
        assert known.scaler.seen is not None
        seen = known.scaler.seen
        known.refused = ""
        if not asked and seen.waiting:
            return 1  # somebody waits for a first replica
        if seen.lead.failed >= _FAILED_MOST and asked > max(state.scaled, 1):
            known.refused = f"the last {seen.lead.failed} starts failed: more would not help"
            # One goes on trying: where the last that failed was let go meanwhile, a new one.
            tried = seen.count(ReplicaState.FAILED, ReplicaState.STARTING)
            return max(state.scaled, 1) + int(not tried)
        return asked

    def _tell_holding(self, state: Scalable, known: _Scaled, now: float) -> None:
        silent_s = self._counts.silent_s(now)
        if silent_s > SILENT_S:
            if not known.holding:
                stay = "1 replica stays" if state.wanted == 1 else f"{state.wanted} replicas stay"
                known.holding = f"no word from a gateway: {stay} until metrics are back"
                self._timeline.record(
                    state.name, Kind.SCALED, known.holding, level=Level.WARNING, replicas=state.wanted, held=True
                )
        elif known.holding:
            known.holding = ""
            self._timeline.record(state.name, Kind.SCALED, "metrics are back", replicas=state.wanted, held=False)

    def _take(self, states: Collection[Scalable], room: Room | None) -> None:
        """The decisions become wanted counts, as far as there is room."""
        asking = {state.name: state for state in states if state.by_hand is None and self._decided(state)}
        asked = [self._asked(state) for state in asking.values()]
        counts = beside = {one.state.name: one.replicas for one in asked}
        if room is not None:
            others = [state for state in states if state.name not in asking]
            counts = granted(asked, others, room)
            beside = counts | {state.name: state.wanted for state in others}
        for one in asked:
            name, count = one.state.name, counts[one.state.name]
            less = why_less(name, one.replicas, count, beside, room) if room and count < one.replicas else ""
            self._change(one.state, count, less)
        for state in states:
            known = self._scaled.get(state.name)
            if known is not None and state.name not in asking and known.scaler.decision is not None:
                state.scaled, state.spares = known.asked, 0  # somebody's own count goes before it
        self._keep_spares(asking.values(), states, room)

    def _asked(self, state: Scalable) -> Asked:
        known = self._scaled[state.name]
        assert known.scaler.seen is not None
        return Asked(state, known.asked, known.scaler.seen.service_time, tuple(known.scaler.rates))

    def _decided(self, state: Scalable) -> bool:
        known = self._scaled.get(state.name)
        return known is not None and known.scaler.decision is not None

    def _change(self, state: Scalable, count: int, less: str) -> None:
        known = self._scaled[state.name]
        decision, before = known.scaler.decision, state.scaled
        assert decision is not None
        assert before is not None
        short, known.trimmed, state.scaled = bool(less) and not known.trimmed, less, count
        if count == before and not short:
            return
        reason = "; ".join(filter(None, (_COUNTS.sub("", decision.reason), known.refused, less)))
        self._changed(state, known, before, reason, decision.evidence, Level.WARNING if less else Level.INFO)

    def _keep_spares(self, asking: Collection[Scalable], states: Collection[Scalable], room: Room | None) -> None:
        """In what room is left: a spare never takes a serving replica's place."""
        for state in asking:
            decision = self._scaled[state.name].scaler.decision
            assert decision is not None
            state.spares = 0
            wanted = spares_of(state.service, decision, state.wanted)
            slots = spare_slots(state, room, states) if wanted else 0
            state.spares = wanted if slots is None else min(wanted, slots)

    def _read(self, state: Scalable) -> Profile | None:
        try:
            return self._profile(state.service)
        except UserError as error:
            self._timeline.record(state.name, Kind.ERROR, f"its profile is left out: {error}", level=Level.WARNING)
            return None


def within(count: int, service: ModelService) -> int:
    return min(max(count, service.min_replicas), service.max_replicas)


def spares_of(service: ModelService, decision: Decision, replicas: int) -> int:
    """Ready ones beside those that serve. The file's word goes before the policy's; spares with their libraries loaded
    are what the fork server is. One that could never be promoted would be for nothing."""
    written, count = service.spec.scaling.spares, decision.spares
    if written is not None:
        count = written.count if written.state == "ModelLoaded" else 0
    return max(0, min(count, service.max_replicas - replicas))
