"""The budget scaler's decision, once a second: a short list of steps, each of which may change the count."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, exp, inf, isfinite, sqrt

import numpy as np

from plimsoll.core.scaling import Bounds, Decision, LeadTime, Observation, ReplicaState
from plimsoll.policy.scaling.budget.backtest import Backtest
from plimsoll.policy.scaling.budget.mix import capacity_of, cheapest_mix
from plimsoll.policy.scaling.budget.sound import nonsense
from plimsoll.policy.scaling.budget.tail import Tail, tail_of
from plimsoll.policy.scaling.budget.warm import WarmPool

_SETTLE_S = 2.0  # the highest of the last seconds' counts stands: neighbours do not alternate
_LEAD_MEMORY_S = 900.0
_STANDING_S = 3600.0
_LEAD_CHANGE = 0.25  # a lead time that differs by less changes nothing
_QUICKER = 0.4  # of the pace that what is remembered began with: it began while nobody asked
_BURST_MEMORY_S = 60.0
_MOST_BURST = 64.0
_GONE_S = 10.0  # a gap in the looks beyond which nothing is learned from it
_FAILED_STARTS = 3
_SLOW_STEP, _QUICK_STEP = 0.0005, 0.02  # of the capacity, a second
_USUAL_LATE = 0.02  # of what came
_SURE_S = 5.0  # of misses in a row: fewer are a backlog's, or chance
_LEAST_EFFICIENCY = 0.4
_RIPPLE, _SMOOTHED_S = 4.0, 6.0
_MOST_RATE = 1e12
_MOST_STEPS = 3600  # of a lead time: what one candidate remembers
_PER_HOUR_S = 3600.0
_USUAL_SHARE = 0.01  # late or refused: what the settings were found for
_SUSTAINED_S = 30.0


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """`allowed`: the share that queueing alone may make late or refused. `price`: of a missed share of 1, in shares of
    what the traffic needs; rises by `price_per_lead_s`, for with a long start a miss lasts long. `margin_per_lead_s`:
    headroom for each second of lead beyond `free_lead_s`, up to `most_margin`, which stands for an hour and fades over
    the next: until a burst was seen nothing in the past tells of it. `spare_cost`: of a spare, in shares of what one
    costs that serves. docs/scaling.md says how these were found."""

    allowed: float = 0.01
    price: float = 20.0
    price_per_lead_s: float = 0.6
    most_price: float = 50.0
    free_lead_s: float = 10.0
    margin_per_lead_s: float = 0.015
    most_margin: float = 0.75
    spare_cost: float = 1.0


class BudgetScaling:
    """A `core.scaling.ScalingPolicy`."""

    name = "budget"

    def __init__(self, bounds: Bounds, settings: BudgetSettings | None = None) -> None:
        self.bounds = bounds
        self.settings = settings or BudgetSettings()
        # A stricter error budget makes each miss dearer by as much.
        strict = min(max(bounds.missed_share, 1e-5) / _USUAL_SHARE, 1.0)
        self._allowed = self.settings.allowed * strict
        self._backtest: Backtest | None = None
        self._warm = WarmPool(self.settings.spare_cost)
        self._lead_s = self._useful_s = self._margin = self._learned_s = 0.0
        self._step_s = 0.0  # seconds between two looks, when the backtest began
        self._burst = 1.0
        self._efficiency = 1.0
        self._surprised_s = 0.0
        self._idle_s: float | None = None  # seen without a request; None: nothing was seen yet
        self._before: float | None = None
        self._level = 0.0  # requests a second over the last hour
        self._given = (0, 0)  # replicas of the last decision, and what they do in replicas of speed 1
        self._since: float | None = None  # the clock has not jumped
        self._over_s: float | None = None  # the last look
        # Short lists: an empty deque takes 0.7 KB.
        self._recent: list[tuple[float, int]] = []  # counts that were wanted, falling
        self._lowest: list[tuple[float, float]] = []  # rates that came, rising

    def decide(self, seen: Observation) -> Decision:
        if seen.arrived is None:
            self._idle_s = 0.0  # requests may come that nobody tells of
            self._before = seen.now if isfinite(seen.now) else self._before
            return self._hold(seen.wanted, "no metrics arrive: the count stays as it is")
        if wrong := nonsense(seen):
            return self._hold(seen.wanted, f"the metrics make no sense ({wrong}): the count stays as it is")
        self._follow_clock(seen)
        if not seen.service_time.samples:
            return self._asleep(seen) or self._unlearned(seen)
        tail = self._tail(seen)
        if tail is None:
            return self._asleep(seen) or self._impossible(seen)
        before = self._capacity(seen)
        wanted, rate, headroom = self._forecast(seen, tail)
        wanted = max(wanted, self._steady(wanted, rate, before, tail), self._sustained(seen, tail))
        wanted = self._settled(wanted, seen.now)
        asleep = self._asleep(seen)
        if asleep is not None:
            return asleep
        count, notes = self._bounded(wanted, rate, seen, before)
        mix = cheapest_mix(count, seen.kinds, least=self._least(seen), most=self.bounds.most)
        given = max(sum(mix.values()), self.bounds.least) if mix else count
        self._given = (given, count)
        if wanted > count:
            missed = tail.missed(max(count, 1), rate)
            notes = f"; {wanted} are needed, at {count} {missed:.1%} would be late or refused{notes}"
        why = _reason(before, count, rate, tail, self._lead_s, self.bounds) + notes
        spares = self._spares(count, tail)
        return Decision(given, why, self._evidence(seen, tail, rate, wanted, headroom), spares, by_kind=mix)

    # --- the steps, in their order ------------------------------------------------------------------------------------

    def _follow_clock(self, seen: Observation) -> None:
        """Idle time is what was seen without a request: a clock that jumps adds nothing to it."""
        gap = None if self._before is None else seen.now - self._before
        self._before = seen.now
        self._since = seen.now if self._since is None else self._since
        self._idle_s = 0.0 if self._idle_s is None or _busy(seen) else self._idle_s + seen.over_s
        weight = 1.0 - exp(-seen.over_s / _PER_HOUR_S)
        rate = (seen.arrived or 0) / seen.over_s
        self._level = rate if gap is None else self._level + weight * (rate - self._level)
        if gap is not None and not 0.0 <= gap < _GONE_S:
            self._backtest = None  # the clock jumped, or the host slept: what was wanted meanwhile is not known
            self._recent.clear()
            self._lowest.clear()
            self._since = seen.now

    def _capacity(self, seen: Observation) -> int:
        """What was decided last, in replicas of speed 1."""
        return self._given[1] if seen.kinds and self._given[0] == seen.wanted else seen.wanted

    def _tail(self, seen: Observation) -> Tail | None:
        if seen.dispersion is not None and seen.arrived and isfinite(seen.dispersion):
            weight = 1.0 - exp(-seen.over_s / _BURST_MEMORY_S)
            self._burst += weight * (min(max(seen.dispersion, 1.0), _MOST_BURST) - self._burst)
        bounds = self.bounds
        tail = tail_of(seen.service_time, bounds.p99_s, bounds.max_batch, burst=self._burst, allowed=self._allowed)
        if tail is None:
            return None
        self._learn_efficiency(seen, tail)
        if self._efficiency == 1.0:
            return tail
        return Tail(tail.per_replica * self._efficiency, tail.wait_s, tail.own_s, tail.burst, tail.allowed)

    def _learn_efficiency(self, seen: Observation, tail: Tail) -> None:
        """Misses at a load that the replicas should carry say that they carry less than was learned: a neighbour on
        the machine, a model whose time depends on its inputs. The belief falls in seconds and comes back in minutes:
        each try is paid in misses."""
        speeds = {kind.name: kind.speed for kind in seen.kinds}
        ready = [replica for replica in seen.replicas if replica.state is ReplicaState.READY]
        arrived = seen.arrived or 0
        if not arrived or not ready:
            return
        rate, capacity = arrived / seen.over_s, sum(speeds.get(replica.kind, 1.0) for replica in ready)
        settled = len(ready) >= seen.wanted and all(
            replica.ready_at is None or seen.now - replica.ready_at > _SETTLE_S for replica in seen.replicas
        )
        surprising = settled and seen.late > _USUAL_LATE * arrived + 2.0
        if not surprising or rate >= self._efficiency * tail.takes(capacity):
            self._surprised_s = 0.0
            self._efficiency = min(1.0, self._efficiency + _SLOW_STEP * seen.over_s)
            return
        self._surprised_s += seen.over_s
        if self._surprised_s > _SURE_S:
            self._efficiency = max(_LEAST_EFFICIENCY, self._efficiency - _QUICK_STEP * min(seen.over_s, _SURE_S))

    def _forecast(self, seen: Observation, tail: Tail) -> tuple[int, float, str]:
        """Replicas for the forecast at the headroom that the backtest finds; the rate that they are for."""
        useful_s = min(max(1.0, useful_after_s(seen)), _MOST_STEPS * seen.over_s)
        # Room for a replica comes and goes by the second where nodes do.
        weight = 1.0 - exp(-seen.over_s / _LEAD_MEMORY_S) if seen.lead.node_s > 0.0 and self._useful_s else 1.0
        lead_s = self._useful_s = self._useful_s + weight * (useful_s - self._useful_s)
        self._learned_s += seen.over_s
        backtest, quantiles = self._backtest, tuple(seen.forecast.quantiles)
        if (
            backtest is None
            or quantiles != backtest.quantiles
            or abs(lead_s - self._lead_s) > _LEAD_CHANGE * self._lead_s
            or max(seen.over_s, self._over_s or seen.over_s) < _QUICKER * self._step_s
        ):
            backtest = self._backtest = self._made(seen, quantiles, lead_s)
        # One look that comes late is no new pace: a horizon of its own takes 15 ms to learn, which makes others late.
        ahead_s = self._lead_s + min(seen.over_s, self._over_s or seen.over_s)
        self._over_s = seen.over_s
        rates = np.nan_to_num(np.asarray(seen.forecast.rates(ahead_s), dtype=np.float64), nan=0.0)
        rates = np.clip(rates, 0.0, _MOST_RATE)
        backtest.look((seen.arrived or 0) / seen.over_s, rates, tail)
        best = backtest.best(tail, self._standing)
        self._warm.look((seen.arrived or 0) / seen.over_s, *backtest.lived(best), tail.per_replica, seen.over_s)
        candidate = backtest.candidates[best]
        wanted = int(min(backtest.wants[best], 1e9))
        if candidate.past:
            return wanted, tail.takes(wanted), backtest.told(best)
        rate = float(rates[quantiles.index(candidate.quantile)]) * (1.0 + candidate.more)
        return wanted, rate, backtest.told(best)

    @property
    def _standing(self) -> float:
        """The margin that stands whatever the past says: whole for the first hour, none after the second."""
        return self._margin * min(max(2.0 - self._learned_s / _STANDING_S, 0.0), 1.0)

    def _spares(self, count: int, tail: Tail) -> int:
        price = self._backtest.price if self._backtest is not None else self.settings.price
        return max(0, min(self._warm.best(price, tail.per_replica), self.bounds.most - count))

    def _made(self, seen: Observation, quantiles: tuple[float, ...], lead_s: float) -> Backtest:
        settings = self.settings
        step_s = self._step_s = min(max(seen.over_s, 0.1), 60.0)
        self._lead_s = lead_s
        margin = (lead_s - settings.free_lead_s) * settings.margin_per_lead_s
        margin = self._margin = min(max(margin, 0.0), settings.most_margin)
        more = (0.0, margin / 2, margin, margin + 0.1) if margin else (0.0, 0.1)
        price = min(settings.price + settings.price_per_lead_s * max(0.0, lead_s - 10.0), settings.most_price)
        price *= settings.allowed / self._allowed
        steps = min(max(1, round(lead_s / step_s)), _MOST_STEPS)
        return Backtest(quantiles, more, steps, price, step_s)

    def _steady(self, wanted: int, rate: float, before: int, tail: Tail) -> int:
        """Fewer than now only where the ripple of steady arrivals would not ask for them back: four deviations of a
        mean over 6 s, the least that a level is smoothed over (both ways of its 3 s)."""
        if wanted >= before:
            return wanted
        ripple = _RIPPLE * sqrt(tail.burst * rate / _SMOOTHED_S)
        return min(before, ceil(tail.needed(rate + ripple) - 1e-6))

    def _sustained(self, seen: Observation, tail: Tail) -> int:
        """What has come in each look of the last half minute is served, whatever is forecast: after a spike of a
        thousand times the load everything that learned from it is wrong for a quarter of an hour."""
        rate, lowest = (seen.arrived or 0) / seen.over_s, self._lowest
        while lowest and lowest[-1][1] >= rate:
            lowest.pop()
        lowest.append((seen.now, rate))
        while lowest[0][0] < seen.now - _SUSTAINED_S:
            del lowest[0]
        known = self._since is not None and seen.now - self._since >= _SUSTAINED_S
        return ceil(tail.needed(lowest[0][1]) - 1e-6) if known else 0

    def _settled(self, wanted: int, now: float) -> int:
        """The highest count of the last seconds, or of the window that the user set for going down."""
        window_s = self.bounds.down_window_s
        window_s = _SETTLE_S if window_s is None else max(window_s, _SETTLE_S)
        recent = self._recent
        recent.append((now, wanted))
        while recent[0][0] < now - window_s:
            del recent[0]
        while len(recent) > 1 and recent[-2][1] <= wanted:  # what a later and higher one outlives
            del recent[-2]
        return recent[0][1]

    def _bounded(self, wanted: int, rate: float, seen: Observation, before: int) -> tuple[int, str]:
        """Within what the user allows, and what kept it from more."""
        bounds, count, note = self.bounds, wanted, ""
        least = self._least(seen)
        most = max(int(capacity_of(seen.kinds, bounds.most)) if seen.kinds else bounds.most, least)
        affordable = self._affordable(rate)
        if affordable < most and wanted > affordable:
            if bounds.cap_at_cost:
                most = min(most, max(affordable, least, 1))
                note = f"; the cost budget pays for {affordable}"
            else:
                note = f"; over the cost budget, which pays for {affordable}"
        if seen.lead.failed >= _FAILED_STARTS and wanted > before:
            count = before
            note += f"; {seen.lead.failed} starts in a row failed: no more are added"
        return min(max(count, least), most), note

    def _least(self, seen: Observation) -> int:
        """One at least while there is work, or where the last one has not been idle for long enough."""
        bounds = self.bounds
        return min(max(bounds.least, 1 if seen.wanted or _busy(seen) else 0), max(bounds.most, bounds.least))

    def _affordable(self, rate: float) -> int:
        """What the cost budgets pay for: the hourly one by the hour, that of a million requests by the last hour's, or
        by what is forecast where that is more, since a rise must not wait until it has paid for itself."""
        bounds = self.bounds
        price, pays = bounds.price_per_hour, inf
        if price > 0.0 and bounds.cost_per_hour is not None:
            pays = bounds.cost_per_hour
        if price > 0.0 and bounds.cost_per_million is not None:
            pays = min(pays, bounds.cost_per_million * max(self._level, rate) * _PER_HOUR_S / 1e6)
        return int(min(pays / price + 1e-9, 1e9)) if pays < inf else 10**9

    # --- what is no forecast ------------------------------------------------------------------------------------------

    def _asleep(self, seen: Observation) -> Decision | None:
        """To zero, where that is allowed and nobody asked for so long. None: not now."""
        idle_s, before = self._idle_s or 0.0, seen.wanted
        if self.bounds.least > 0 or _busy(seen) or (before and idle_s < self.bounds.zero_after_s):
            return None
        change = f"{before} → 0" if before else "0"
        return Decision(0, f"{change}: no request for {_span(idle_s)}")

    def _unlearned(self, seen: Observation) -> Decision:
        """Before the first batches nothing is known of the model's time: one replica finds out."""
        return self._hold(max(seen.wanted, self._least(seen)), "nothing is known of the model's time yet")

    def _impossible(self, seen: Observation) -> Decision:
        alone, p99_s = seen.service_time.predict(1), self.bounds.p99_s or 0.0
        why = f"one request alone takes {_ms(alone)}, the p99 budget is {_ms(p99_s)}: no count of replicas keeps it"
        return self._hold(max(seen.wanted, self._least(seen)), why)

    def _hold(self, count: int, why: str) -> Decision:
        return Decision(
            min(max(count, self.bounds.least), max(self.bounds.most, self.bounds.least)), why, {"held": True}
        )

    def _evidence(self, seen: Observation, tail: Tail, rate: float, wanted: int, headroom: str) -> Mapping[str, object]:
        return {
            "forecast_per_s": round(rate, 2),
            "ahead_s": round(self._lead_s, 2),
            "headroom": headroom,
            "arriving_per_s": round((seen.arrived or 0) / seen.over_s, 2),
            "per_replica_per_s": round(tail.per_replica, 2),
            "needed": wanted,
            "ready": seen.count(ReplicaState.READY),
            "burstiness": round(tail.burst, 2),
            "efficiency": round(self._efficiency, 3),
        }


def _busy(seen: Observation) -> bool:
    return bool(seen.arrived) or seen.waiting > 0 or seen.in_flight > 0


def useful_after_s(seen: Observation) -> float:
    """When a replica that is asked for now will be of use: nine in ten are by then. A node's time counts where there is
    no room left, and in part where there is little."""
    lead: LeadTime = seen.lead
    start_s = max(lead.start_s, lead.start_p90_s)
    node_s = max(lead.node_s, lead.node_p90_s)
    if node_s <= 0.0 or seen.spare_slots is None:
        return start_s
    room = min(max(seen.spare_slots, 0), max(seen.wanted, 1)) / max(1.0, 0.25 * seen.wanted)
    return start_s + node_s * max(0.0, 1.0 - min(room, 1.0))


def _reason(before: int, count: int, rate: float, tail: Tail, lead_s: float, bounds: Bounds) -> str:
    change = f"{before} → {count}" if count != before else f"{count} stay"
    text = f"{change}: {_rate(rate)} forecast in {_span(lead_s)}"
    fewer = count - 1
    if bounds.p99_s is None or fewer < 1:
        return f"{text}; a replica takes {_rate(tail.per_replica)}"
    if rate <= tail.takes(fewer):
        return f"{text}; {fewer} would do, if that lasts"
    p99_s, at = tail.p99_s(fewer, rate), f"at {fewer} replica{'s' if fewer > 1 else ''}"
    if bounds.p99_s < p99_s <= 10.0 * bounds.p99_s:
        return f"{text}; {at} p99 would be {_ms(p99_s)} > {_ms(bounds.p99_s)}"
    return f"{text}; {at} {tail.missed(fewer, rate):.1%} would be late or refused"


def _rate(per_s: float) -> str:
    return f"{per_s:.0f}/s" if per_s >= 10 else f"{per_s:.1f}/s"


def _ms(seconds: float) -> str:
    return f"{ceil(seconds * 1e3 - 1e-6)} ms"


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
