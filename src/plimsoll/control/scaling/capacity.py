"""Room for replicas where there is no cluster to ask for more: the machine's cores and memory.

What a service's file sets as its fewest replicas always runs, and so does what somebody set by hand: a person may know
better. Beyond that services share what is there, as `policy.placement` says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor

from plimsoll.control.scaling.scalable import Scalable
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.placement import Want, expected_miss, share

_ROUNDING = 1e-9
_RATES = 5  # of those of the last half minute: enough for the spread
_ALLOWED = 0.01  # late, where the file says no error rate: what a p99 budget allows
_BATCH_MOST = 64  # larger ones answer hardly more a second, whatever the model


@dataclass(frozen=True, slots=True)
class Room:
    """`cores`: for replicas, all in all. `memory_bytes`: free now; None: not known."""

    cores: float
    memory_bytes: int | None = None


RoomReader = Callable[[], Room | None]


def no_bound() -> Room | None:
    return None


@dataclass(frozen=True, slots=True)
class Asked:
    """What one service's policy wants, and what shows what less would miss. `rates`: requests a second lately."""

    state: Scalable
    replicas: int
    service_time: ServiceTime
    rates: tuple[float, ...] = ()


def spare_slots(state: Scalable, room: Room | None, states: Iterable[Scalable]) -> int | None:
    """How many more replicas of it find room beside all that is wanted now. None: no bound is known."""
    if room is None:
        return None
    everyone = list(states)
    slots = []
    for name, amount in _all_there(room, everyone).items():
        each = _needs(state)[name]
        used = sum((one.wanted + one.spares) * _needs(one)[name] for one in everyone)
        if each:
            slots.append(floor((amount - used) / each + _ROUNDING))
    return max(0, min(slots))


def memory_of_one(state: Scalable) -> float:
    """As the file sets aside, or what a replica of it uses where that is more; 0: not known yet."""
    uses = max((replica.load.get("rss_bytes", 0.0) for replica in state.seen), default=0.0)
    return max(uses, state.service.memory_request_bytes or 0.0)


def _all_there(room: Room, states: Iterable[Scalable]) -> dict[str, float]:
    """What replicas may have all in all: what is free, and what they have already."""
    there = {"cpu": room.cores}
    if room.memory_bytes is not None:
        replicas = (replica for state in states for replica in state.seen)
        there["memory"] = room.memory_bytes + sum(replica.load.get("rss_bytes", 0.0) for replica in replicas)
    return there


def granted(asked: Sequence[Asked], others: Iterable[Scalable], room: Room) -> dict[str, int]:
    """Replicas by service. `others`: those that nothing scales, or a person does: they have what they want."""
    fixed = list(others)
    there = {
        name: max(0.0, amount - sum(state.wanted * _needs(state)[name] for state in fixed))
        for name, amount in _all_there(room, [*(one.state for one in asked), *fixed]).items()
    }
    if _fits(asked, there):
        return {one.state.name: one.replicas for one in asked}
    shares = share([_want(one) for one in asked], there)
    return {
        one.state.name: min(one.replicas, max(one.state.service.min_replicas, shares[one.state.name])) for one in asked
    }


def _fits(asked: Iterable[Asked], there: Mapping[str, float]) -> bool:
    needed = dict.fromkeys(there, 0.0)
    for one in asked:
        for name, need in _needs(one.state).items():
            needed[name] = needed.get(name, 0.0) + one.replicas * need
    return all(needed[name] <= amount + _ROUNDING for name, amount in there.items())


def _needs(state: Scalable) -> dict[str, float]:
    return {"cpu": state.service.cpus, "memory": memory_of_one(state)}


def _want(asked: Asked) -> Want:
    """What each count would miss at the rates of the last half minute."""
    state, service, service_time = asked.state, asked.state.service, asked.service_time
    budget_s = service.timeout_s if service.p99_s is None else service.p99_s
    most = min(_BATCH_MOST, service.max_batch or _BATCH_MOST)
    batch = max(1, min(most, service_time.largest_within(budget_s / 2)))
    compute_s = service_time.predict(batch)
    patience_s = max(0.0, budget_s - compute_s)
    rates = sorted(asked.rates)[:: max(1, len(asked.rates) // _RATES)]
    return Want(
        service=state.name,
        least=service.min_replicas,
        wanted=asked.replicas,
        miss=expected_miss(asked.replicas, rates, compute_s / batch, patience_s) if rates else (),
        rate=sum(rates) / len(rates) if rates else 1.0,
        priority=service.spec.scaling.priority,
        has=state.scaled or 0,
        allowed=_ALLOWED if service.error_rate is None else service.error_rate,
        needs=_needs(state),
    )


def why_less(name: str, wanted: int, got: int, counts: Mapping[str, int], room: Room) -> str:
    """`3 of the 5 wanted: replicas have 7 cores and 4.2 GiB of free memory here, beside risk (4)`."""
    others = ", ".join(f"{other} ({count})" for other, count in sorted(counts.items()) if other != name and count)
    memory = "" if room.memory_bytes is None else f" and {room.memory_bytes / 2**30:.1f} GiB of free memory"
    beside = f", beside {others}" if others else ""
    cores = f"{room.cores:g} core{'' if room.cores == 1 else 's'}"
    return f"{got} of the {wanted} wanted: replicas have {cores}{memory} here{beside}"
