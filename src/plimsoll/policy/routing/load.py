"""One gateway's view of one replica's load: what the replica last reported, corrected by what was sent there since.

A replica says on each answer (`endpoint-load-metrics`) how long a request that came now would wait, and what one more
item costs. From then on the wait works itself off with time, and each request that this gateway sends adds an item.

Several gateways share a replica. What the others send is unseen until the next report, which counts everybody's: the
prediction is short by their rate times the report's age, at 100 answers a second by one request for each other
gateway. Two random candidates keep them from all taking the same replica meanwhile.

What the prediction says is done and isn't answered contradicts it: the replica is slower than it said, or stands still.
Then the wait grows again, as long as the silence has lasted, up to an item for each request that is out there.
"""

from collections.abc import Sequence
from math import inf

KNOWN_S = 1.0  # a report older than this says nothing any more: the replica is unknown, not idle
_MOST_S = 1e6  # a report beyond this is nonsense
_WEIGHT = 1 / 8  # of the newest response time in the usual one, and in its deviation (RFC 6298 has 1/8 and 1/4)
_DEVIATIONS = 2.0  # above the mean: what is still usual. Of exponential times 8% take longer


class ReplicaLoad:
    """Call `sent` and `ended` once for each request, `report` with each answer that says its replica's load.

    `outstanding`: requests sent and not ended, this gateway's own. `item_s`: what one more item costs there, seconds;
    None before the first report; it outlives the report's age, as hardware doesn't change by the second. `free_at`:
    when all that is known to be there has been worked off; `known_until`: by then the last report says nothing any
    more.
    """

    __slots__ = ("_deviation_s", "_mean_s", "_sent_at", "_wait_s", "free_at", "item_s", "known_until",
                 "outstanding")  # fmt: skip

    def __init__(self) -> None:
        self.outstanding = 0
        self.item_s: float | None = None
        self.free_at = 0.0
        self.known_until = self._sent_at = -inf
        self._wait_s = 0.0  # as last reported
        self._mean_s: float | None = None  # of response times
        self._deviation_s = 0.0  # their mean absolute deviation

    def report(self, wait_s: float, item_s: float, now: float) -> None:
        """The replica's own word, which counts every gateway's requests. Nonsense (negative, not finite) is ignored.

        The same figures once more are no news but that it lives: a replica that renews its word a few times a second
        repeats it on each answer between, and what was sent meanwhile would be forgotten each time (measured in virtual
        time, 4 gateways and 4 replicas at 0.8 of their capacity, renewed each 250 ms: p99 158 ms instead of 40).
        """
        if now <= self.known_until and wait_s == self._wait_s and item_s == self.item_s:
            self.known_until = now + KNOWN_S
        elif 0.0 <= wait_s < _MOST_S and 0.0 <= item_s < _MOST_S:
            self.free_at = now + wait_s
            self.known_until = now + KNOWN_S
            self._wait_s = wait_s
            self.item_s = item_s

    def sent(self, now: float) -> None:
        item_s = self.item_s
        if item_s is not None:
            if self.free_at > now:
                self.free_at += item_s
            elif not self.outstanding:
                self.free_at = now + item_s
            # Else it owes answers already: `outstanding` alone grows, lest each request sent hides the silence.
        self._sent_at = now
        self.outstanding += 1

    def ended(self, now: float, seconds: float | None = None) -> None:
        """A request ended: answered `seconds` after it was sent, or (None) lost, cancelled or given up."""
        self.outstanding -= 1
        if seconds is None:
            return
        mean_s = self._mean_s
        if mean_s is None:
            self._mean_s, self._deviation_s = seconds, seconds / 2
            return
        error_s = seconds - mean_s
        self._mean_s = mean_s + _WEIGHT * error_s
        self._deviation_s += _WEIGHT * (abs(error_s) - self._deviation_s)

    def answered_together(self, seconds: Sequence[float]) -> None:
        """As `ended` for each of them, in order; a third of the cost."""
        self.outstanding -= len(seconds)
        mean_s, deviation_s = self._mean_s, self._deviation_s
        for took_s in seconds:
            if mean_s is None:
                mean_s, deviation_s = took_s, took_s / 2
                continue
            error_s = took_s - mean_s
            mean_s += _WEIGHT * error_s
            deviation_s += _WEIGHT * ((error_s if error_s >= 0.0 else -error_s) - deviation_s)
        self._mean_s, self._deviation_s = mean_s, deviation_s

    def predicted_wait(self, now: float) -> float | None:
        """Seconds until a request sent now would be begun; None: unknown, the last report is older than a second."""
        if now > self.known_until:
            return None
        wait_s = self.free_at - now
        if wait_s >= 0.0:
            return wait_s
        if not self.outstanding:
            return 0.0
        return min(-wait_s, self.outstanding * (self.item_s or 0.0))

    def forgotten(self, now: float) -> bool:
        """Nobody has heard of it, nor sent it anything, for a second: one request is worth finding out."""
        return not self.outstanding and now > self.known_until and now - self._sent_at > KNOWN_S

    @property
    def usual_s(self) -> float | None:
        """What a recent response took at most, the rare ones aside: mean + 2 mean deviations. None: none yet."""
        mean_s = self._mean_s
        return None if mean_s is None else mean_s + _DEVIATIONS * self._deviation_s

    def expected_s(self, now: float, otherwise_s: float = inf) -> float:
        """How long the answer to a request sent now should take: the usual response time, or the predicted wait and
        an item where that is more. `otherwise_s`: for a replica that has never answered nor reported."""
        wait_s = self.predicted_wait(now)
        item_s = self.item_s or 0.0
        mean_s = self._mean_s
        if mean_s is None:
            return otherwise_s if wait_s is None else wait_s + item_s
        usual_s = mean_s + _DEVIATIONS * self._deviation_s
        return usual_s if wait_s is None else max(usual_s, wait_s + item_s)
