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

from plimsoll.core.small_floats import SmallFloats, packed, packed_one, unpacked
from plimsoll.policy.scaling.budget.ring import CountRing
from plimsoll.policy.scaling.budget.tail import Tail

Floats = NDArray[np.float64]

KEEP_S = (5.0, 15.0, 30.0)
PAST_QUANTILES = (0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0)
_PAST_AT = np.array(PAST_QUANTILES)
_PAST = 3600  # looks of which those are
_NOTHING = np.zeros(1)
_PAST_LEAST = 300  # looks before they are believed: of a minute's, a burst of six seconds is every tenth
_PAST_EVERY = 16  # looks between two sortings of them: 30 us
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


@dataclass(frozen=True, slots=True)
class _Candidates:
    """All there are, and what of them is an array."""

    each: tuple[Candidate, ...]
    texts: tuple[str, ...]
    factors: Floats  # of the shares that are added
    mores: Floats  # those of each
    past: NDArray[np.bool_]
    lacking: Floats  # of each one's quantile, up to where no miss is expected


@lru_cache(64)
def _candidates(quantiles: tuple[float, ...], more: tuple[float, ...]) -> _Candidates:
    """The same few sets for all services."""
    each = tuple(Candidate(quantile, share, keep) for keep in KEEP_S for quantile in quantiles for share in more)
    each += tuple(Candidate(quantile, share, past=True) for quantile in PAST_QUANTILES for share in more)
    return _Candidates(
        each,
        tuple(str(candidate) for candidate in each),
        np.array([1.0 + share for share in more]),
        np.array([candidate.more for candidate in each]),
        np.array([candidate.past for candidate in each]),
        np.array([max(0.0, _PRIOR_AT - candidate.quantile) for candidate in each]),
    )


def _past_quantiles(rates: NDArray[np.floating]) -> Floats:
    """What `numpy.quantile` gives, in a sixth of its time, and without the 1.5 MB of masked arrays that it imports."""
    ordered = np.sort(rates).astype(np.float64)
    places = _PAST_AT * (len(ordered) - 1)
    low = places.astype(np.intp)
    high = np.minimum(low + 1, len(ordered) - 1)
    found: Floats = ordered[low] + (places - low) * (ordered[high] - ordered[low])
    return found


class Backtest:
    """`lead_steps`: looks until what is wanted is ready. `price`: of a share of 1 missed, in shares of the cost of what
    the traffic needs. One look costs some 50 us for 50 candidates."""

    __slots__ = ("_all", "_cost", "_fade", "_kept", "_median", "_missed", "_need_at",
                 "_needs", "_past", "_past_needs", "_ready", "_step", "_traffic", "_wanted", "_wanted_at",
                 "lead_steps", "price", "quantiles")  # fmt: skip

    def __init__(
        self,
        quantiles: tuple[float, ...],
        more: tuple[float, ...],
        lead_steps: int,
        price: float,
        step_s: float = 1.0,
    ) -> None:
        self.lead_steps, self.price, self.quantiles = lead_steps, price, quantiles
        self._kept = [max(1, round(keep / step_s)) for keep in KEEP_S]
        self._all = _candidates(quantiles, more)
        middle = min(range(len(quantiles)), key=lambda at: abs(quantiles[at] - 0.5))
        self._median = middle * len(more)
        self._needs: CountRing | None = None  # None: before the first look
        self._wanted: CountRing | None = None
        self._past: SmallFloats | None = None  # a ring of rates; None: nothing has come yet
        self._past_needs = np.ones(len(PAST_QUANTILES) * len(more))
        self._need_at = self._wanted_at = self._step = 0
        self._cost = self._missed = np.zeros(len(self._all.each))
        self._ready: NDArray[np.generic] = self._cost
        self._traffic = 0.0
        self._fade = exp(-step_s / _MEMORY_S)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return self._all.each

    def told(self, index: int) -> str:
        return self._all.texts[index]

    @property
    def wants(self) -> Floats:
        """Of each candidate, the replicas it wants now; 0 before the first look."""
        return np.zeros(len(self._all.each)) if self._wanted is None else self._looked(1)

    def _looked(self, ago: int) -> Floats:
        """What each wanted at the last look but so many."""
        assert self._wanted is not None
        found: Floats = self._wanted.rows[self._wanted_at - ago].astype(np.float64)
        return found

    def look(self, rate: float, rates: Floats, tail: Tail) -> None:
        """`rate`: what came since the last look, a second; `rates`: the forecast at each quantile, a lead time on."""
        factors = self._all.factors
        needs = tail.needed_each(np.outer(rates, factors).ravel())
        if self._needs is None or self._wanted is None:
            self._needs, self._wanted = self._begin(rate, needs, tail)
        if rate and self._past is None:
            self._past = packed(np.zeros(_PAST))  # only now: of a thousand services most are asleep
        if self._past is not None:
            self._past[self._step % _PAST] = packed_one(rate)
        self._step += 1
        if self._step % _PAST_EVERY == 0 or self._step < _PAST_EVERY:
            known = _NOTHING if self._past is None else unpacked(self._past[: self._step])
            self._past_needs = tail.needed_each(np.outer(_past_quantiles(known), factors).ravel())
        fade, wanted = self._fade, self._wanted
        ready = self._ready = wanted.rows.min(axis=0)
        self._cost *= fade
        self._cost += wanted.rows[self._wanted_at - 1]
        self._missed *= fade
        self._missed += np.maximum(rate - ready.astype(np.float64) * tail.per_replica, 0.0)
        self._traffic = self._traffic * fade + rate
        self._needs.put(self._need_at, needs)
        worst = [self._worst(self._needs.rows, keep) for keep in self._kept]
        ramp = worst[0][self._median : self._median + len(factors)]  # a memory sees none
        wants = np.concatenate([*worst, np.maximum(self._past_needs.reshape(-1, len(factors)), ramp).ravel()])
        self._need_at = (self._need_at + 1) % len(self._needs)
        wanted.put(self._wanted_at, wants)
        self._wanted_at = (self._wanted_at + 1) % len(wanted)

    def _begin(self, rate: float, needs: Floats, tail: Tail) -> tuple[CountRing, CountRing]:
        """What is believed before anything was seen: the rings of needs and of wants, all of them as now."""
        self._traffic = _PRIOR_S * max(rate, 1.0)
        self._cost = np.full(len(self._all.each), self._traffic / tail.per_replica)
        self._missed = _PRIOR_MISS * self._traffic * self._all.lacking
        wants = np.concatenate([np.tile(needs, len(KEEP_S)), np.full(len(self._past_needs), needs[-1])])
        return CountRing(max(self._kept) + 1, needs), CountRing(self.lead_steps + 1, wants)

    def _worst(self, needs: NDArray[np.generic], keep: int) -> NDArray[np.generic]:
        """The most that was needed in the last `keep` looks and now."""
        at = self._need_at
        first = at - keep
        worst: NDArray[np.generic] = needs[max(first, 0) : at + 1].max(axis=0)
        return np.maximum(worst, needs[first:].max(axis=0)) if first < 0 else worst

    def best(self, tail: Tail, at_least: float = 0.0) -> int:
        """The index of the candidate to follow, of those that add a share of `at_least`."""
        scores = self._cost * tail.per_replica + self.price * self._missed
        allowed = self._all.mores >= at_least - 1e-9
        if self._step < _PAST_LEAST:
            allowed &= ~self._all.past
        return int(np.where(allowed, scores, np.inf).argmin())

    def lived(self, index: int) -> tuple[float, float]:
        """What this candidate had wanted when the last look's traffic came, and what was ready of it."""
        return float(self._looked(2)[index]), float(self._ready[index])

    def missed_share(self, index: int) -> float:
        """Of the recent traffic, what this candidate would have missed."""
        return float(self._missed[index]) / self._traffic if self._traffic > 0.0 else 0.0
