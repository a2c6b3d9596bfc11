"""Which of a service's replicas gets a request, and when none of them should.

Of these the first that has anybody: ready replicas that let us connect; draining ones; the one that just lost this
request. From them are left out, one rule after the other and as long as somebody remains: the silent (`Overdue`), those
that fail or drag (`Outliers`), those without room (`Limit`), those that lately lost a request (`Reach`). Of who is left
it is the session's own, or of two random ones the one with the shorter predicted wait.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from plimsoll.policy.routing.affinity import Rendezvous
from plimsoll.policy.routing.choice import LeastWait, sooner
from plimsoll.policy.routing.load import ReplicaLoad
from plimsoll.policy.routing.outliers import Outliers
from plimsoll.policy.routing.overdue import Overdue
from plimsoll.policy.routing.reach import Reach


class Limit(Protocol):
    """A bound on requests at once, for a server that does not say how busy it is."""

    def admits(self, in_flight: int) -> bool: ...


class Replica(Protocol):
    """One of them, as its host keeps it."""

    @property
    def name(self) -> str: ...

    @property
    def load(self) -> ReplicaLoad: ...

    @property
    def reach(self) -> Reach: ...

    @property
    def overdue(self) -> Overdue[Any]: ...

    @property
    def limit(self) -> Limit | None: ...


class Overloaded(NamedTuple):
    """Nobody should get it: `shed`. `retry_after_s`: by how much the best of them is too late."""

    reason: str
    retry_after_s: float


_Replica = TypeVar("_Replica", bound=Replica)
_FULL = Overloaded("as many requests as its replicas can take are under way", 1.0)
_first_is_better = LeastWait.first_is_better
_LATE = "every replica's queue is longer than its budget"


class Fleet(Generic[_Replica]):
    """One service's replicas as one gateway sees them. `random()`: in [0, 1), such as a seeded `random.Random`'s.

    `target_s`: the p99 budget, None: none. `shared`: tenants share the queues. Then only a replica knows whose turn is
    next, the length of its queue tells nothing, and nobody is refused for it here.
    """

    __slots__ = ("_choose", "_random", "_rendezvous", "draining", "outliers", "ready", "shared", "target_s")

    def __init__(self, random: Callable[[], float], target_s: float | None = None, *, shared: bool = False) -> None:
        self._random = random
        self._choose = LeastWait(random)
        self._rendezvous = Rendezvous(())
        self.ready: list[_Replica] = []
        self.draining: list[_Replica] = []
        self.outliers = Outliers()
        self.target_s = target_s
        self.shared = shared

    def keep(self, ready: Iterable[_Replica], draining: Iterable[_Replica] = ()) -> None:
        """These are the replicas now. Those that stay keep their record."""
        self.ready, self.draining = list(ready), list(draining)
        self.outliers.keep(replica.name for replica in self.ready)
        self._rendezvous = Rendezvous(replica.name for replica in self.ready)

    # --- the first try ----------------------------------------------------------------------------------------------

    def route(
        self, now: float, since: float, deadline: float, session: bytes | None = None
    ) -> _Replica | Overloaded | None:
        """For a request that no replica has had yet. `since`: its budget counts from then. None: nobody can be
        reached, now. Where the one that would be picked would be late for the budget or the deadline, it is whoever
        would be soonest; where that is late as well, nobody."""
        replica = self.pick(now, session=session)
        if replica is None:
            return None
        limit = replica.limit
        if limit is not None and not limit.admits(replica.load.outstanding):
            return _FULL  # `pick` found nobody with room
        target_s = self.target_s
        if target_s is None or self.shared:
            return replica
        load = replica.load
        wait_s: float | None = load.free_at - now
        if now > load.known_until or load.free_at < now:
            wait_s = load.predicted_wait(now)
        aim = since + target_s
        if deadline < aim:
            aim = deadline
        if wait_s is None or now + wait_s <= aim:
            return replica
        return self._soonest(replica, aim, now)

    def _soonest(self, picked: _Replica, aim: float, now: float) -> _Replica | Overloaded:
        candidates = self._worth_it(self._reachable(self.ready, now) or [picked], now)
        waits = [replica.load.predicted_wait(now) or 0.0 for replica in candidates]  # the unknown are worth a try
        least_s = min(waits)
        if now + least_s <= aim:
            return candidates[waits.index(least_s)]
        return Overloaded(_LATE, now + least_s - aim)

    # --- any try ----------------------------------------------------------------------------------------------------

    def pick(self, now: float, *, other_than: _Replica | None = None, session: bytes | None = None) -> _Replica | None:
        """`other_than`: the one that lost it. None: nobody can be reached. One without room: nobody has any."""
        ready = self.ready
        count = len(ready)
        if count == 1:
            only = ready[0]
            if only is not other_than and only.reach.down_until <= now:
                return only
        elif count and session is None and other_than is None and self.outliers.quiet:
            # Nearly always: two, and nothing against either of them. The others needn't be looked at.
            rest = count - 1
            drawn = int(self._random() * (count * rest))
            first = drawn // rest
            second = drawn - first * rest
            one, two = ready[first], ready[second + 1 if second >= first else second]
            if (
                one.reach.well_from <= now
                and two.reach.well_from <= now
                and (now < one.overdue.calm_until or not one.overdue.suspect(now))
                and (now < two.overdue.calm_until or not two.overdue.suspect(now))
                and (one.limit is None or _has_room(one))
                and (two.limit is None or _has_room(two))
            ):
                # `LeastWait.first_is_better` of two that are known, without its calls: a third of a gateway's routing.
                load, its = one.load, two.load
                if now > load.known_until or now > its.known_until:
                    return one if _first_is_better(load, its, now) else two
                one_s, two_s = load.free_at - now, its.free_at - now
                if one_s < 0.0:
                    one_s = load.predicted_wait(now) or 0.0
                if two_s < 0.0:
                    two_s = its.predicted_wait(now) or 0.0
                return one if sooner(load, one_s, its, two_s) else two
        others = self._reachable(ready, now, other_than) or self._reachable(self.draining, now, other_than)
        if not others:
            if other_than is not None and other_than.reach.down_until <= now:
                return other_than if other_than in ready or other_than in self.draining else None
            return None
        candidates = self._worth_it(others, now)
        if session is not None:
            its_own = self._of_session(session, candidates, now)
            if its_own is not None:
                return its_own
        return candidates[self._choose.pick([replica.load for replica in candidates], now)]

    def other(self, than: _Replica, now: float) -> _Replica | None:
        """For a second copy of a request that `than` has: only one that nothing speaks against."""
        outliers = self.outliers
        candidates = [
            replica
            for replica in self._reachable(self.ready, now, than)
            if _is_well(replica, now) and outliers.usable(replica.name, now, replica.load.outstanding)
        ]
        return candidates[self._choose.pick([replica.load for replica in candidates], now)] if candidates else None

    def reachable(self, now: float) -> bool:
        """Whether `pick` would find somebody."""
        return bool(self._reachable(self.ready, now) or self._reachable(self.draining, now))

    def _reachable(self, replicas: list[_Replica], now: float, other_than: _Replica | None = None) -> list[_Replica]:
        return [replica for replica in replicas if replica is not other_than and replica.reach.down_until <= now]

    def _worth_it(self, replicas: list[_Replica], now: float) -> list[_Replica]:
        best = [replica for replica in replicas if not replica.overdue.suspect(now)] or replicas
        outliers = self.outliers
        if not outliers.quiet:
            best = [r for r in best if outliers.usable(r.name, now, r.load.outstanding)] or best
        best = [replica for replica in best if _has_room(replica)] or best
        return [replica for replica in best if replica.reach.avoid_until <= now] or best

    def _of_session(self, session: bytes, candidates: list[_Replica], now: float) -> _Replica | None:
        """Its own, or the next in its ranking; None where that one's queue is longer than the budget."""
        ready, target_s = self.ready, self.target_s
        best = self._rendezvous.best(session, lambda index: ready[index] in candidates)
        if best is None:
            return None
        wait_s = ready[best].load.predicted_wait(now)
        return ready[best] if wait_s is None or target_s is None or wait_s < target_s else None

    # --- what time brings -------------------------------------------------------------------------------------------

    def late(self, now: float) -> Iterator[Any]:
        """Requests (their `Overdue` tokens) that take too long and may be sent to another replica too, each once."""
        if len(self.ready) > 1:
            for replica in self.ready:
                yield from replica.overdue.overdue(now)

    def to_probe(self, now: float) -> list[_Replica]:
        """Silent ones to be asked for a sign of life now: one request of the host's own, none of its clients'."""
        return [replica for replica in self.ready if replica.overdue.probe(now)]

    def alive(self, replica: _Replica, now: float) -> None:
        """It gave one."""
        replica.overdue.alive(now)
        self.outliers.silent(replica.name)


def _is_well(replica: Replica, now: float) -> bool:
    """It lets us connect, lost nothing lately, owes no answer that is overdue, and has room."""
    return replica.reach.well_from <= now and not replica.overdue.suspect(now) and _has_room(replica)


def _has_room(replica: Replica) -> bool:
    limit = replica.limit
    return limit is None or limit.admits(replica.load.outstanding)
