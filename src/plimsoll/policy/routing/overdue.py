"""The frozen replica: connected, ready by everybody's word, and silent.

A request that is out for longer than three times what was predicted is *overdue*, and its replica *suspect*: nothing is
routed there, while others are there, until it shows life. The overdue request may be sent to another replica, once,
within the `RetryBudget`; the first answer wins. So late are at most those that were out at the freeze, and the few that
followed before the first of them was overdue.

An answer shows life. A suspect whose requests have all been given up can answer nothing, so it is probed: the host asks
it for a sign of life, and no client waits for that. A process may be alive and its model stuck: after a probe it is on
*trial*, and gets one request at a time until it has answered one.
"""

from collections.abc import Hashable
from math import inf
from typing import Generic, TypeVar

Token = TypeVar("Token", bound=Hashable)

_FACTOR = 3.0  # times the predicted time: response times within a batch's phase differ by 2
_FLOOR_S = 0.02  # a loop's hiccup, a collection: nothing is overdue sooner
_PROBE_S, _PROBE_LONGEST_S = 0.25, 16.0
_WELL, _TRIAL, _SUSPECT = 0, 1, 2


class Overdue(Generic[Token]):
    """One for each replica. `token`: what the host knows a request by.

    The first probe is sent `probe_s` after it became suspect, each further one after twice the time, up to 16 s: also
    where it passed the last one and fell silent again on its trial. Only a request that it answers begins anew.
    """

    __slots__ = ("_answered_at", "_due", "_late", "_next", "_probe_after_s", "_probe_at", "_state", "calm_until",
                 "factor", "floor_s", "probe_s")  # fmt: skip

    def __init__(self, *, factor: float = _FACTOR, floor_s: float = _FLOOR_S, probe_s: float = _PROBE_S) -> None:
        self.factor = factor
        self.floor_s = floor_s
        self.probe_s = probe_s
        self._due: dict[Token, float] = {}  # all that are out; inf: has been found overdue
        self._late: list[Token] = []  # overdue and not told yet
        self._next = inf  # no request is due before
        self.calm_until = inf  # it is not suspect before: a host with little time looks at this first
        self._answered_at = -inf
        self._state = _WELL
        self._probe_at = 0.0
        self._probe_after_s = probe_s

    def __len__(self) -> int:
        return len(self._due)

    def sent(self, token: Token, expected_s: float, now: float, deadline: float = inf) -> None:
        """`expected_s`: `ReplicaLoad.expected_s` as it was before this request was sent.

        Where the deadline comes before three times that, the request is due at the deadline, for there it ends. But a
        deadline sooner than the predicted time accuses nobody, else a client could make a replica suspect with it.
        """
        floor_s = self.floor_s
        longest_s = self.factor * expected_s
        due = now + (longest_s if longest_s > floor_s else floor_s)
        if deadline < due:
            due = max(deadline, now + max(expected_s, floor_s))
        self._due[token] = due
        if due < self._next:
            self._next = due
            if due < self.calm_until:
                self.calm_until = due

    def ended(self, token: Token, now: float, *, answered: bool = True) -> None:
        """`answered`: by this replica, whatever it said. False: cancelled, expired here, lost, or won by another."""
        due = self._due.pop(token, inf)
        if answered:
            self._answered_at = now
            if self._state:
                self._state = _WELL
                self._probe_after_s = self.probe_s
                self.calm_until = self._next
        elif now >= due:
            self._accuse(due, now)
        if due == inf and token in self._late:
            self._late.remove(token)

    def suspect(self, now: float) -> bool:
        """Whether others go first. O(1) but where a due time has passed."""
        if now >= self._next:
            self._look(now)
        state = self._state
        return state != _WELL and (state == _SUSPECT or bool(self._due))

    def overdue(self, now: float) -> list[Token]:
        """Those that are out for too long, each told once, in the order they were sent."""
        if now >= self._next:
            self._look(now)
        if not self._late:
            return []
        late, self._late = self._late, []
        return late

    def next_due(self) -> float:
        """Nothing becomes overdue before: when to ask again. inf: nothing is out."""
        return self._next

    def _look(self, now: float) -> None:
        due = self._due
        late = [token for token, when in due.items() if when <= now]
        for token in late:
            self._accuse(due[token], now)
            due[token] = inf
        self._late += late
        self._next = min(due.values(), default=inf)
        if self._state == _WELL:
            self.calm_until = self._next

    def _accuse(self, due: float, now: float) -> None:
        if due < self._answered_at:
            return  # it has shown life since: that request is late, the replica isn't frozen
        if self._state != _SUSPECT:
            self._state = _SUSPECT
            self.calm_until = -inf
            self._probe_at = now + self._probe_after_s

    # --- signs of life ----------------------------------------------------------------------------------------------

    def probe(self, now: float) -> bool:
        """Whether it is time to ask it for a sign of life; then the host does. `alive` where one comes, however late;
        the next probe takes the place of one that is still out."""
        if now >= self._next:
            self._look(now)
        if self._state != _SUSPECT or self._due or now < self._probe_at:
            return False
        self._probe_after_s = min(self._probe_after_s * 2, _PROBE_LONGEST_S)
        self._probe_at = now + self._probe_after_s
        return True

    def alive(self, now: float) -> None:
        """It has shown life without a request."""
        if self._state == _SUSPECT:
            self._state = _TRIAL
            self._answered_at = now
