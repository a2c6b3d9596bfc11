"""How long a new replica takes to become useful, from the starts that were seen: what scaling has to look ahead."""

from collections.abc import Iterable

from plimsoll.core.scaling import LeadTime

_KEPT = 50  # of a revision: a machine's mood of last month says nothing
_FEW = 10  # with fewer starts than this the largest stands for their 90th percentile, with a margin
_MARGIN = 1.25


class LeadTimes:
    """One service's. `prior_s` and `prior_p90_s`, seconds, hold until a first start was seen; a new revision is taken
    to start like the one before it, until it was seen to."""

    def __init__(self, prior_s: float = 2.0, prior_p90_s: float | None = None) -> None:
        self._prior = LeadTime(prior_s, 1.5 * prior_s if prior_p90_s is None else max(prior_s, prior_p90_s))
        self._starts: list[float] = []  # an empty deque takes 0.7 KB
        self._revision = self._failing = ""
        self._failed = 0

    @property
    def starts(self) -> int:
        """How many of the present revision, or of the one before it, the estimate rests on."""
        return len(self._starts)

    def ready(self, revision: str, seconds: float) -> None:
        """A replica of `revision` got ready `seconds` after it was asked for."""
        if revision != self._revision:
            self._revision = revision
            self._starts.clear()
        self._failed = 0
        self._starts.append(max(0.0, seconds))
        del self._starts[:-_KEPT]

    def failed(self, revision: str) -> None:
        """One ended, or ran into its time limit, before it was ready."""
        if revision != self._failing:
            self._failing = revision
            self._failed = 0
        self._failed += 1

    def estimate(self) -> LeadTime:
        """Median and 90th percentile of the starts; `failed`: how many in a row never got ready."""
        if not self._starts:
            return LeadTime(self._prior.start_s, self._prior.start_p90_s, failed=self._failed)
        ordered = sorted(self._starts)
        count = len(ordered)
        median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
        p90 = ordered[-1] * _MARGIN if count < _FEW else ordered[min(count - 1, -(-9 * count // 10) - 1)]
        return LeadTime(median, max(median, p90), failed=self._failed)


_PLACED_KEPT = 20
_AT_ONCE_S = 2.0  # a scheduler's own work, and clocks of whole seconds


class NodeWaits:
    """How long one service's replicas wait for a node. Most find room at once, and then nothing is waited for; where a
    node must come first, that is minutes."""

    def __init__(self) -> None:
        self._waits: list[float] = []

    def placed(self, seconds: float) -> None:
        """A replica got its node so long after it was asked for."""
        self._waits.append(0.0 if seconds <= _AT_ONCE_S else seconds)
        del self._waits[:-_PLACED_KEPT]

    def estimate(self, waiting: Iterable[float] = (), prior_s: float = 0.0) -> tuple[float, float]:
        """Median and 90th percentile. `waiting`: of each that no node has room for, how long it has waited; each is
        taken to wait at least `prior_s`, what a new node is said to take."""
        ordered = sorted([*self._waits, *(max(seconds, prior_s) for seconds in waiting)])
        if not ordered:
            return 0.0, 0.0
        count = len(ordered)
        median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
        return median, ordered[min(count - 1, -(-9 * count // 10) - 1)]
