"""Which headroom this traffic needs: every candidate lives through the recent past, and the cheapest sound one wins.

A candidate is a quantile of the forecast, a share added to it, and how long a count is kept after it was needed; or a
quantile of what came in the last hour, for traffic whose bursts no forecast sees but an hour's memory does. Each
runs along with the traffic in a fluid model of its own: what it would have wanted, what would have been ready a lead
time later, which requests that would have cost. Costs and misses fade over an hour and a half. The best is the one with
the least replica-time plus the price of its misses.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp

import numpy as np
from numpy.typing import NDArray

from plimsoll.policy.scaling.budget.tail import Tail

Floats = NDArray[np.float64]

KEEP_S = (5.0, 15.0, 30.0)
PAST_QUANTILES = (0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0)
_PAST = 3600  # looks of which those are
_NOTHING = np.zeros(1)
_PAST_LEAST = 300  # looks before they are believed: of a minute's, a burst of six seconds is every tenth
_PAST_EVERY = 16  # looks between two sortings of them: 200 us
_MEMORY_S = 5400.0
_PRIOR_S = 120.0  # of traffic: what is believed before anything was seen
_PRIOR_MISS = 0.03  # of it, for each 1.0 of quantile below
_PRIOR_AT = 0.9


@dataclass(frozen=True, slots=True)
class Candidate:
    """`past`: the quantile is of the last hour's rates, not of the forecast."""

    quantile: float
    more: float = 0.0
    keep_s: float = 0.0
    past: bool = False

    def __str__(self) -> str:
        more = f" + {self.more:.0%}" if self.more else ""
        if self.past:
            return f"q{self.quantile * 100:g} of the last hour{more}"
        return f"q{self.quantile * 100:g}{more}, kept {self.keep_s:g} s"


@lru_cache(64)
def _candidates(quantiles: tuple[float, ...], more: tuple[float, ...]) -> tuple[Candidate, ...]:
    """The same few sets for all services."""
    return tuple(
        Candidate(quantile, share, keep) for keep in KEEP_S for quantile in quantiles for share in more
    ) + tuple(Candidate(quantile, share, past=True) for quantile in PAST_QUANTILES for share in more)


class Backtest:
    """`lead_steps`: looks until what is wanted is ready. `price`: of a share of 1 missed, in shares of the cost of what
    the traffic needs. One look costs some 50 us for 50 candidates."""

    __slots__ = ("_cost", "_factors", "_fade", "_kept", "_last", "_median", "_missed", "_mores", "_need_at",
                 "_needs", "_past", "_past_needs", "_ready", "_remembers", "_step", "_traffic", "_wanted", "_wanted_at",
                 "candidates", "lead_steps", "price", "quantiles", "wants")  # fmt: skip

    def __init__(
        self,
        quantiles: tuple[float, ...],
        more: tuple[float, ...],
        lead_steps: int,
        price: float,
        step_s: float = 1.0,
    ) -> None:
        self.lead_steps, self.price, self.quantiles = lead_steps, price, quantiles
        kept = [max(1, round(keep / step_s)) for keep in KEEP_S]
        self.candidates = _candidates(quantiles, more)
        each = len(quantiles) * len(more)
        self._factors = np.array([1.0 + share for share in more])
        self._kept = kept
        self._remembers = np.array([candidate.past for candidate in self.candidates])
        self._mores = np.array([candidate.more for candidate in self.candidates])
        middle = min(range(len(quantiles)), key=lambda at: abs(quantiles[at] - 0.5))
        self._median = middle * len(more)
        self._needs = np.zeros((max(kept) + 1, each))
        self._past: NDArray[np.float32] | None = None  # a ring of rates; None: nothing has come yet
        self._past_needs = np.ones(len(PAST_QUANTILES) * len(more))
        self._wanted = np.zeros((lead_steps + 1, len(self.candidates)))
        self._need_at = self._wanted_at = self._step = 0
        self._cost = np.zeros(len(self.candidates))
        self._missed = np.zeros(len(self.candidates))
        self._traffic = 0.0
        self._fade = exp(-step_s / _MEMORY_S)
        self.wants = np.zeros(len(self.candidates))
        self._ready = self._last = np.zeros(len(self.candidates))

    def look(self, rate: float, rates: Floats, tail: Tail) -> None:
        """`rate`: what came since the last look, a second; `rates`: the forecast at each quantile, a lead time on."""
        needs = tail.needed_each(np.outer(rates, self._factors).ravel())
        if not self._step:
            self._needs[:] = needs
            self._wanted[:] = np.concatenate([np.tile(needs, len(KEEP_S)), np.full(len(self._past_needs), needs[-1])])
            self._traffic = _PRIOR_S * max(rate, 1.0)
            self._cost[:] = _PRIOR_S * max(rate, 1.0) / tail.per_replica
            lacking = [max(0.0, _PRIOR_AT - candidate.quantile) for candidate in self.candidates]
            self._missed[:] = _PRIOR_MISS * self._traffic * np.array(lacking)
        if rate and self._past is None:
            self._past = np.zeros(_PAST, dtype=np.float32)  # only now: of a thousand services most are asleep
        if self._past is not None:
            self._past[self._step % _PAST] = rate
        self._step += 1
        if self._step % _PAST_EVERY == 0 or self._step < _PAST_EVERY:
            known = _NOTHING if self._past is None else self._past[: self._step]
            past = np.quantile(known, PAST_QUANTILES).astype(np.float64)
            self._past_needs = tail.needed_each(np.outer(past, self._factors).ravel())
        fade = self._fade
        ready = self._ready = self._wanted.min(axis=0)
        last = self._last = self._wanted[self._wanted_at - 1].copy()
        self._cost = self._cost * fade + last
        self._missed = self._missed * fade + np.maximum(rate - ready * tail.per_replica, 0.0)
        self._traffic = self._traffic * fade + rate
        self._needs[self._need_at] = needs
        worst = [self._worst(keep) for keep in self._kept]
        ramp = worst[0][self._median : self._median + len(self._factors)]  # a memory sees none
        wants = np.concatenate([*worst, np.maximum(self._past_needs, np.tile(ramp, len(PAST_QUANTILES)))])
        self._need_at = (self._need_at + 1) % len(self._needs)
        self._wanted[self._wanted_at] = wants
        self._wanted_at = (self._wanted_at + 1) % len(self._wanted)
        self.wants = wants

    def _worst(self, keep: int) -> Floats:
        """The most that was needed in the last `keep` looks and now."""
        needs, at = self._needs, self._need_at
        first = at - keep
        worst: Floats = needs[max(first, 0) : at + 1].max(axis=0)
        return np.maximum(worst, needs[first:].max(axis=0)) if first < 0 else worst

    def best(self, tail: Tail, at_least: float = 0.0) -> int:
        """The index of the candidate to follow, of those that add a share of `at_least`."""
        scores = self._cost * tail.per_replica + self.price * self._missed
        allowed = self._mores >= at_least - 1e-9
        if self._step < _PAST_LEAST:
            allowed &= ~self._remembers
        return int(np.where(allowed, scores, np.inf).argmin())

    def lived(self, index: int) -> tuple[float, float]:
        """What this candidate had wanted when the last look's traffic came, and what was ready of it."""
        return float(self._last[index]), float(self._ready[index])

    def missed_share(self, index: int) -> float:
        """Of the recent traffic, what this candidate would have missed."""
        return float(self._missed[index]) / self._traffic if self._traffic > 0.0 else 0.0
