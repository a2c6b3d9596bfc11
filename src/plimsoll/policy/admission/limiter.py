"""A bound on requests in flight that finds itself, for servers whose service time nobody has learned.

After Netflix's concurrency-limits (its Vegas and gradient limits): the shortest round trip of late over the newest one
says whether requests queue. While they don't, with some tolerance, the limit grows by the square root of itself, the
queue that is allowed; where they do it shrinks by that gradient, at most by half. The shortest round trip is looked for
anew in each window of answers, which begins with half the limit so that a standing queue can't pass for the server's
own time. A failure that tells of overload shrinks the limit by a tenth.

A round trip is the mean of 32: where answers take 0.2 to 2 s each by their nature, the shortest single one says nothing
about the others, and a bound made of it would close on a server that is idle.
"""

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True)
class LimitSettings:
    initial: int = 256
    least: int = 4
    most: int = 10_000
    tolerance: float = 2.0  # the newest round trip may be this much longer than the shortest before the limit shrinks
    slack_s: float = 0.01  # what a round trip may be longer by at least: a millisecond's ripple is no queue
    answers: int = 32  # whose mean is one round trip
    window: int = 32  # round trips after which the shortest is looked for anew
    back_off: float = 0.9

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.initial <= self.most:
            raise ValueError(f"1 <= least <= initial <= most, not {self}")


class ConcurrencyLimit:
    """Ask `admits` before each request, `observe` each one's end."""

    __slots__ = ("_answers", "_base_s", "_limit", "_most", "_seen", "_shrunk", "_sum_s", "settings")

    def __init__(self, settings: LimitSettings | None = None) -> None:
        self.settings = settings or LimitSettings()
        self._limit = float(self.settings.initial)
        self._base_s = 0.0
        self._seen = 0  # round trips
        self._answers = self._most = 0  # of the one that is being taken: answers, and the most in flight
        self._sum_s = 0.0
        self._shrunk = float("-inf")

    @property
    def limit(self) -> int:
        return int(self._limit)

    def admits(self, in_flight: int) -> bool:
        """May one more go, with `in_flight` of them under way?"""
        return in_flight < int(self._limit)

    def observe(self, rtt_s: float, in_flight: int, ok: bool, now: float) -> None:
        """One ended after `rtt_s`; `in_flight` when it began, itself included. `ok`: False where it was refused for
        overload or timed out; an answer of any kind is ok. Nonsense (negative, not finite) is ignored."""
        if not 0.0 <= rtt_s < 1e9:
            return
        settings = self.settings
        if not ok:
            # Those in flight together fail together: once a round trip.
            if now - self._shrunk >= max(self._base_s, 0.001):
                self._shrunk = now
                self._limit = max(float(settings.least), self._limit * settings.back_off)
            return
        if rtt_s <= 0.0:
            return
        self._answers += 1
        self._sum_s += rtt_s
        self._most = max(self._most, in_flight)
        if self._answers >= settings.answers:
            self._judge(self._sum_s / self._answers, self._most)
            self._answers = self._most = 0
            self._sum_s = 0.0

    def _judge(self, rtt_s: float, in_flight: int) -> None:
        settings, limit = self.settings, self._limit
        least = float(settings.least)
        self._seen += 1
        if self._seen % settings.window == 0:
            self._base_s = rtt_s
            if in_flight >= limit / 2:
                self._limit = max(least, limit / 2)
            return
        if self._seen == 1 or rtt_s < self._base_s:
            self._base_s = rtt_s
        allowed_s = max(settings.tolerance * self._base_s, self._base_s + settings.slack_s)
        gradient = max(0.5, min(1.0, allowed_s / rtt_s))
        if gradient == 1.0 and in_flight < limit / 2:
            return  # the limit isn't what bounds it: nothing is learned about more
        self._limit = max(least, min(float(settings.most), limit * gradient + sqrt(limit)))
