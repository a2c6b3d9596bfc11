"""When to ask an API server again. Decides; waits for nothing itself.

A server that is away is asked after about 0.4 s, then 0.8 s, then each 0.75 to 1.5 s: so whoever watches is back
within two seconds of it. One that refuses (no right, no such kind, too many requests) is asked later and later, for
that is mended by people, or needs us to be quiet. Nobody is at the server's door at once with the others: each wait is
drawn anew, so a thousand watchers of a server that died come back over the whole of the last wait.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

_LASTED_S = 5.0  # a watch that held for so long was a good one


class Why(Enum):
    ENDED = auto()  # in peace
    AWAY = auto()  # no answer, or that of a proxy without a server
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class PaceSettings:
    first_s: float = 0.4
    away_s: float = 1.5  # the longest wait for a server that is away
    refused_s: float = 15.0


class Pace:
    """`draw()`: 0 to 1, for the jitter."""

    def __init__(self, settings: PaceSettings, draw: Callable[[], float]) -> None:
        self._settings, self._draw = settings, draw
        self._step_s = settings.first_s
        self._last = Why.ENDED

    def wait_s(self, why: Why, took_s: float, *, held: bool) -> float:
        """`took_s`: how long the attempt took; `held`: whether it was a watch that was answered, else it was spent on
        waiting for an answer and counts as waited."""
        settings = self._settings
        lasted = held and took_s >= _LASTED_S
        if lasted or (why is not self._last and Why.ENDED not in (why, self._last)):
            self._step_s = settings.first_s
        self._last = why
        if lasted and why is Why.ENDED:
            return 0.0
        longest_s = settings.away_s if why is Why.AWAY else settings.refused_s
        # A server that ends each watch at once must not be asked all the time either.
        step_s = min(self._step_s, longest_s)
        self._step_s = min(step_s * 2, longest_s)
        # At first nearly nothing to the whole of it: all were thrown out in the same moment.
        least = 0.1 if step_s <= settings.first_s else 0.5
        wait_s = step_s * (least + (1 - least) * self._draw())
        return max(0.0, wait_s - took_s) if why is Why.AWAY and not held else wait_s
