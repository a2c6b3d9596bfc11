"""One level of replicas at a time: when the k-th replica is on, as a two-state programme over the steps.

docs/oracle.md states why the levels may be taken apart and why what comes out is a bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS_MOST = 400  # above, requests are charged as if replicas could be had by the fraction and without a start
_ROWS = 1024  # steps whose levels' loads are held at once


@dataclass(frozen=True, slots=True)
class Levels:
    """What the programme knows. `loads`: requests of each step; `seconds`, `offered`: of the whole trace. `room`: what
    one replica serves of a step's requests, in the step and the `wait_s` after it; `start_s`: what a start is charged
    with; `least` are always on; `most` there can be; `ready`: on at the beginning, None: as many as one likes;
    `blind_s`: before, none of the others is ready."""

    loads: Floats
    step_s: float
    seconds: float
    offered: float
    room: float
    wait_s: float
    start_s: float
    least: int = 0
    most: int | None = None
    ready: int | None = None
    blind_s: float = 0.0

    @property
    def count(self) -> int:
        """Levels that are taken apart."""
        needed = int(np.ceil(self.loads.max(initial=0.0) / self.room))
        return max(self.least, min(needed, LEVELS_MOST if self.most is None else min(self.most, LEVELS_MOST)))

    @property
    def free(self) -> float:
        """Requests that being on at the very end of a step serves, in the wait after it."""
        return self.room * self.wait_s / (self.step_s + self.wait_s)

    def rows(self) -> Iterator[tuple[int, Floats, Floats]]:
        """(step, each free level's requests, what it costs to be on just for them), for each step."""
        floor = np.arange(self.least, self.count) * self.room
        for first in range(0, len(self.loads), _ROWS):
            part = self.loads[first : first + _ROWS, None]
            load = np.clip(part - floor, 0.0, self.room)
            edge = np.maximum(0.0, load / self.room * (self.step_s + self.wait_s) - self.wait_s)
            for row in range(len(load)):
                yield first + row, load[row], edge[row]

    def begin(self) -> tuple[Floats, Floats]:
        """The costs of being off and on before the first step."""
        free = self.count - self.least
        on = np.zeros(free)
        if self.ready is not None:
            on[max(0, self.ready - self.least) :] = np.inf
        return np.zeros(free), on

    def can_start(self, step: int) -> bool:
        return self.ready is None or (step + 1) * self.step_s > self.blind_s

    def above(self) -> tuple[Floats, float]:
        """Requests of each step above the levels that are taken apart, and above any that there may be (lost)."""
        rest = np.maximum(0.0, self.loads - self.count * self.room)
        if self.most is None:
            return rest, 0.0
        reachable = np.minimum(rest, max(0, self.most - self.count) * self.room)
        return reachable, float((rest - reachable).sum())


def values(levels: Levels, prices: Floats) -> Floats:
    """For each price of a request that is not served in time: the least of replica-seconds + price · such requests."""
    off, on = (np.tile(cost, (len(prices), 1)) for cost in levels.begin())
    price = prices[:, None]
    for step, load, edge in levels.rows():
        lost = price * load
        brief = np.minimum(edge, price * np.maximum(0.0, load - levels.free))
        begun = off + brief
        begun += levels.start_s if levels.can_start(step) else np.inf
        if levels.start_s < levels.step_s:  # off and on again inside the step
            kept = on + np.minimum(levels.step_s, brief + levels.start_s)
        else:
            kept = on + levels.step_s
        off = np.minimum(np.minimum(off + lost, on + brief), begun)
        on = np.minimum(kept, begun)
    total = np.minimum(off, on).sum(axis=1) + levels.least * levels.seconds
    return np.asarray(total + _above(levels, prices))


def _above(levels: Levels, prices: Floats) -> Floats:
    rest, lost = levels.above()
    dropped, whole = _charged(levels, rest[rest > 0])
    return np.asarray(np.minimum(prices[:, None] * dropped, whole).sum(axis=1) + prices * lost)


def _charged(levels: Levels, rest: Floats) -> tuple[Floats, Floats]:
    """Of requests above the levels: those lost where none is paid for, and what serving all of them is charged."""
    dropped = np.maximum(0.0, rest - levels.wait_s * levels.room / levels.step_s)
    return dropped, dropped * (levels.step_s / levels.room)


def plan(levels: Levels, price: float) -> tuple[float, float, NDArray[np.int64]]:
    """One best plan at this price: (replica-seconds, requests not served in time, replicas on in each step)."""
    off, on = levels.begin()
    free, steps = len(off), len(levels.loads)
    from_on = np.zeros((2, steps, free), dtype=np.bool_)  # [0]: it is off after the step, [1]: on
    starts = np.zeros((steps, free), dtype=np.bool_)  # from off to off: it is on for a part of the step
    for step, load, edge in levels.rows():
        lost = price * load
        brief = np.minimum(edge, price * np.maximum(0.0, load - levels.free))
        begun = off + brief + (levels.start_s if levels.can_start(step) else np.inf)
        kept = on + np.minimum(levels.step_s, brief + levels.start_s)
        idle, ended = np.minimum(off + lost, begun), on + brief
        starts[step] = begun < off + lost
        from_on[0, step], from_on[1, step] = ended <= idle, kept <= begun
        off, on = np.minimum(idle, ended), np.minimum(kept, begun)
    return _followed(levels, from_on, starts, on < off, price)


def _followed(
    levels: Levels, from_on: NDArray[np.bool_], starts: NDArray[np.bool_], state: NDArray[np.bool_], price: float
) -> tuple[float, float, NDArray[np.int64]]:
    """The plan from its end to its beginning."""
    found = np.full(len(levels.loads), levels.least, dtype=np.int64)
    cost, lost = float(levels.least * levels.seconds), 0.0
    each = np.arange(len(state))
    for step, load, edge in reversed(list(levels.rows())):
        came = from_on[state.astype(np.int64), step, each]
        left = np.maximum(0.0, load - levels.free)
        serves = edge <= price * left
        brief = np.where(serves, edge, price * left)
        whole = state & came & (levels.step_s <= brief + levels.start_s)
        begins = ~came & (state | starts[step]) | state & came & ~whole
        on = came | begins
        cost += float(np.where(whole, levels.step_s, edge * (on & serves)).sum()) + levels.start_s * int(begins.sum())
        lost += float(np.where(on, left * ~(whole | serves), load).sum())
        found[step] += int((whole | on & serves & (load > 0)).sum())
        state = came
    rest, never = levels.above()
    dropped, charged = _charged(levels, rest)
    cheap = charged <= price * dropped
    return cost + float(charged[cheap].sum()), lost + never + float(dropped[~cheap].sum()), found
