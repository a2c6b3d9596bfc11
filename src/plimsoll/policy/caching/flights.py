"""Same requests in flight are computed once: the first leads, the others follow and get its answer.

A leader that leaves or fails hands over to the one who waits longest: nobody's answer hangs on another client's
patience. Deadlines stay each one's own: the host lets a follower `leave` when its time is over.
"""

from collections.abc import Hashable
from enum import Enum
from typing import Generic, TypeVar

from plimsoll.core.outcome import Outcome

_Key = TypeVar("_Key", bound=Hashable)
_Waiter = TypeVar("_Waiter", bound=Hashable)


class Landing(Enum):
    """What becomes of the followers when their leader has ended."""

    SHARE = "share"  # each gets its answer: `done`
    PROMOTE = "promote"  # the next one leads: `promote`
    RELEASE = "release"  # each goes its own way, as if there were no cache: `done`


# What befell the leader alone: its client left, its own deadline, its replica. The next one may fare better.
_ITS_OWN = frozenset({Outcome.CANCELLED, Outcome.EXPIRED, Outcome.SHED, Outcome.THROTTLED, Outcome.REPLICA_LOST})


def landing(outcome: Outcome, may_share: bool) -> Landing:
    """`may_share`: the answer is one that a cache may keep.

    Why a model's failure releases all at once: were the body to blame, one after the other would fail, the last after
    the sum of all waits. And where no replica is there for one, there is none for the others. `replica_lost` promotes
    one at a time, so that a poison body finds one replica, not many.
    """
    if outcome is Outcome.OK and may_share:
        return Landing.SHARE
    return Landing.PROMOTE if outcome in _ITS_OWN else Landing.RELEASE


class SingleFlight(Generic[_Key, _Waiter]):
    """`join` each request that found nothing; where it leads, end with `done` or `promote`, whatever happens."""

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[_Key, dict[_Waiter, None]] = {}  # in order of coming; the first leads

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: _Key, waiter: _Waiter) -> bool:
        """True: it leads, and is to compute. False: it follows, and hears of it."""
        flight = self._flights.get(key)
        if flight is None:
            self._flights[key] = {waiter: None}
            return True
        flight[waiter] = None
        return next(iter(flight)) == waiter  # a leader that joins again still leads

    def alone(self, key: _Key) -> bool:
        """Nobody follows the leader, who has ended: the flight is over then, whatever became of it."""
        flight = self._flights.get(key)
        if flight is None or len(flight) > 1:
            return False
        del self._flights[key]
        return True

    def done(self, key: _Key) -> list[_Waiter]:
        """The flight has landed: its followers, in order of coming, none of them waiting any more."""
        flight = self._flights.pop(key, None)
        if flight is None:
            return []
        followers = list(flight)
        del followers[0]
        return followers

    def promote(self, key: _Key) -> _Waiter | None:
        """Its leader ended without an answer for others: who leads now. None: nobody else waits, the flight is over."""
        flight = self._flights.get(key)
        if flight is None:
            return None
        del flight[next(iter(flight))]
        if not flight:
            del self._flights[key]
            return None
        return next(iter(flight))

    def leave(self, key: _Key, waiter: _Waiter) -> _Waiter | None:
        """It waits no longer (its client left, its deadline passed). Where it led: who leads now."""
        flight = self._flights.get(key)
        if flight is None or waiter not in flight:
            return None
        if next(iter(flight)) == waiter:
            return self.promote(key)
        del flight[waiter]
        return None

    def followers(self, key: _Key) -> int:
        """How many wait for its leader."""
        flight = self._flights.get(key)
        return len(flight) - 1 if flight else 0
