"""From one revision to the next, each a workload of its own: `roll(seen, wanted, …, now) -> Roll`. Decides; writes
nothing.

One workload is the scaler's (`ModelService.status.scaleTarget`): the operator never writes its count, and the scaler
writes no other's. What the scaler wants, the *total*, is therefore the target's `spec.replicas`.

    create    the new revision begins with the total
    follow    until it is the target, its count follows the total
    switch    with its first ready pod, and its count at the total, the new one becomes the target
    shrink    the old ones have total - ready pods of the new: never fewer serve than before, and they only shrink
    fall back a new one that fails keeps one replica that goes on trying; the old ones serve
    tidy      old revisions stay at 0 replicas for a quick way back; beyond `keep` of them they are deleted

A step that lowers anything is taken on what has been *seen*: a count that was written but isn't seen yet is not counted
on. So a crash between two steps, or a late watch, costs time, never replicas. The host must not ask before it has seen
its own last write to a workload (`Workload.version`): what stood there before it would be counted on twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from plimsoll.backends.kubernetes.conditions import Reason, Type
from plimsoll.backends.kubernetes.operator.seen import Pod, Seen, Trouble, Workload


@dataclass(frozen=True, slots=True)
class RollSettings:
    """`keep`: old revisions kept at 0 replicas. `room_after_s`: after so long without a node for the new pods an old
    replica makes room; longer than a node takes to come. `crashes`: a pod that ended so often fails; `config_s`: a
    Secret or an image may come this much later than its pod."""

    keep: int = 3
    room_after_s: float = 300.0
    crashes: int = 3
    config_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Create:
    """The revision's objects, its workload with this count."""

    revision: str
    replicas: int

    @property
    def told(self) -> str:
        return f"revision {self.revision}: {self.replicas} replica{'s' * (self.replicas != 1)}"


@dataclass(frozen=True, slots=True)
class Scale:
    workload: str
    kind: str
    replicas: int
    why: str


@dataclass(frozen=True, slots=True)
class Delete:
    """An old revision's objects."""

    workload: str
    kind: str


Act: TypeAlias = Create | Scale | Delete


class Phase(StrEnum):
    HELD = "held"  # nothing new is known to be wanted
    STEADY = "steady"
    ROLLING = "rolling"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Roll:
    """`target`: the workload whose count the scaler writes from now on; "" for none. `total`: what it wants. `waits`:
    seconds after which to look again although nothing has changed; None: no need."""

    acts: tuple[Act, ...]
    target: str
    total: int
    phase: Phase
    waits_s: float | None = None


def roll(
    seen: Seen, wanted: str | None, *, first: int, now: float, settings: RollSettings | None = None
) -> Roll:  # fmt: skip
    """`wanted`: the revision that the spec asks for; None where it can't be known (it is invalid). `first`: the count
    of a service's first revision."""
    settings = settings or RollSettings()
    target = _target(seen, wanted)
    if wanted is None:
        total = first if target is None else target.replicas
        return Roll((), "" if target is None else target.name, total, Phase.HELD)
    new = seen.workload(wanted)
    if new is None:
        total = first if target is None else target.replicas
        return Roll((Create(wanted, total),), wanted if target is None else target.name, total, Phase.ROLLING)
    if new.deleting:  # it comes again once it is gone
        return Roll((), new.name if target is None else target.name, new.replicas, Phase.ROLLING, waits_s=1.0)
    failing = fails(seen, new, now, settings)
    if target is None or target is new:
        return _shrink(seen, new, failing, now, settings)
    return _approach(seen, new, target, failing, now, settings)


def fails(seen: Seen, new: Workload, now: float, settings: RollSettings) -> bool:
    """Whether a revision without a ready pod is to be given up for now. It may come back any time."""
    if seen.ready_of(new) > 0 or new.replicas == 0:
        return False
    if new.stuck or _failed_before(seen, new):
        return True
    aged = now - new.created >= settings.config_s
    for pod in seen.pods_of(new.name):
        match pod.trouble:
            case Trouble.CRASH | Trouble.MEMORY | Trouble.FETCH:
                if pod.restarts >= settings.crashes:
                    return True
            case Trouble.IMAGE | Trouble.CONFIG:
                if aged:
                    return True
            case None:
                if aged and pod.name in seen.mounts:
                    return True
    return False


def _failed_before(seen: Seen, new: Workload) -> bool:
    """Until it gets ready: the one replica that goes on trying may be younger than its troubles."""
    status = seen.service.status
    if status.get("newRevision") != new.name:
        return False
    return any(
        one.get("type") == Type.READY and one.get("reason") == Reason.REVISION_FAILED
        for one in status.get("conditions") or ()
    )


def _target(seen: Seen, wanted: str | None) -> Workload | None:
    """What the status says, where it still exists; else the one that serves most."""
    live = [one for one in seen.workloads if not one.deleting]
    said = next((one for one in live if one.name == seen.service.status.get("scaleTarget")), None)
    if said is not None or not live:
        return said
    return max(live, key=lambda one: (seen.ready_of(one), one.replicas, one.name == wanted, one.created))


def _approach(
    seen: Seen, new: Workload, target: Workload, failing: bool, now: float, settings: RollSettings
) -> Roll:  # fmt: skip
    """An old one is still the scaler's."""
    total = target.replicas
    aim = min(1, total) if failing else total
    acts: list[Act] = []
    if new.replicas != aim:
        why = "it does not get ready; one goes on trying" if failing else f"it follows {target.name}"
        acts.append(Scale(new.name, new.kind, aim, why))
    waited_s = _waited_for_room(seen, new, now)
    # One replica alone makes no room: that would be a roll without any.
    makes_room = waited_s is not None and waited_s >= settings.room_after_s and total > 1
    at_total = new.replicas == total and new.settled
    switch = at_total and not failing and (seen.ready_of(new) > 0 or total == 0 or makes_room)
    others = [one for one in seen.workloads if one is not new and one is not target]
    acts += _lowered(seen, others, total - seen.ready_of(new) - seen.ready_of(target))
    acts += _tidied(seen, {new.name, target.name}, settings)
    phase = Phase.FAILED if failing else Phase.ROLLING
    again = None if waited_s is None else max(1.0, settings.room_after_s - waited_s)
    return Roll(
        tuple(acts), new.name if switch else target.name, total, phase, _sooner(again, _grace(seen, new, now, settings))
    )


def _shrink(seen: Seen, new: Workload, failing: bool, now: float, settings: RollSettings) -> Roll:
    """The new one is the scaler's."""
    total = new.replicas
    others = [one for one in seen.workloads if one is not new and not one.deleting]
    serving = [one for one in others if one.replicas > 0]
    if failing and serving:
        best = max(serving, key=lambda one: (seen.ready_of(one), one.replicas, one.created))
        if best.replicas < total:
            back: tuple[Act, ...] = (Scale(best.name, best.kind, total, f"{new.name} failed"),)
            return Roll(back, new.name, total, Phase.FAILED)
        return Roll((), best.name, total, Phase.FAILED, waits_s=0.0)
    waited_s = _waited_for_room(seen, new, now)
    gives = (
        waited_s is not None
        and waited_s >= settings.room_after_s
        and total > 1
        and seen.ready >= total
        and bool(serving)
    )
    acts: list[Act] = [*_lowered(seen, others, total - seen.ready_of(new) - gives)] if new.settled else []
    acts += _tidied(seen, {new.name}, settings)
    rolling = any(one.replicas > 0 or one.exist > 0 for one in others)
    phase = Phase.FAILED if failing else Phase.ROLLING if rolling else Phase.STEADY
    again = None if waited_s is None or not rolling else max(1.0, settings.room_after_s - waited_s)
    return Roll(tuple(acts), new.name, total, phase, _sooner(again, _grace(seen, new, now, settings)))


def _lowered(seen: Seen, others: Sequence[Workload], needed: int) -> Iterator[Scale]:
    """Old revisions, so that `needed` replicas remain of them, those that serve before those that don't."""
    for one in sorted(others, key=lambda one: (seen.ready_of(one), one.created, one.name), reverse=True):
        if one.deleting:
            continue
        kept = min(one.replicas, max(0, needed))
        if kept < one.replicas:
            yield Scale(one.name, one.kind, kept, "the new revision serves" if kept else "it is no longer needed")
        needed -= min(seen.ready_of(one), kept)


def _tidied(seen: Seen, used: set[str], settings: RollSettings) -> Iterator[Delete]:
    numbers = {one.name: one.number for one in seen.revisions}
    idle = [
        one
        for one in seen.workloads
        if one.name not in used and not one.deleting and one.replicas == 0 and one.exist == 0 and one.settled
    ]
    idle.sort(key=lambda one: (numbers.get(one.name, 0), one.created, one.name), reverse=True)
    for one in idle[settings.keep :]:
        yield Delete(one.name, one.kind)


def _waited_for_room(seen: Seen, new: Workload, now: float) -> float | None:
    """How long pods of `new` have found no node; None while all have one."""
    waiting = [pod.since for pod in seen.pods_of(new.name) if _homeless(pod)]
    return None if not waiting else max(0.0, now - min(waiting))


def _homeless(pod: Pod) -> bool:
    return pod.trouble is Trouble.UNSCHEDULABLE


def _grace(seen: Seen, new: Workload, now: float, settings: RollSettings) -> float | None:
    """What is wrong with a young revision counts only later, and no event will say so."""
    left = settings.config_s - (now - new.created)
    return left if seen.ready_of(new) == 0 and new.replicas > 0 and left > 0 else None


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)
