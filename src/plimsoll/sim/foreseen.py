"""What traffic, profile and budget tell by themselves: budgets that no number of replicas keeps, and why.

`foreseen` is said before anything is simulated: each of its checks is a bound. `surges` explains a budget that a
simulation saw broken.
"""

from dataclasses import dataclass, replace
from math import ceil, exp

import numpy as np
from numpy.typing import NDArray

from plimsoll.insight.profile import Profile
from plimsoll.sim.report import LATE_ALLOWED, Advice, Goals, Money, millis, price, share
from plimsoll.sim.scenario import Service
from plimsoll.sim.when import Times

_SURE = 1.1  # the formula may be so far off
_WINDOW_S = 60.0  # whoever scales up looks back at least so far
_Z = {"p50": 0.0, "p95": 1.645, "p99": 2.326}  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests in each step of the simulated time. `rate`: what one replica answers a second inside the budget.
    `lead_s`: from wanting a replica to having it, a node's time included where one must come first."""

    counts: NDArray[np.int64]
    step_s: float
    rate: float
    lead_s: float
    times: Times

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def seconds(self) -> float:
        return len(self.counts) * self.step_s

    @property
    def needed(self) -> NDArray[np.int64]:
        """Replicas that answer each step's requests in the step."""
        return np.ceil(self.counts / (self.rate * self.step_s)).astype(np.int64)

    def lost_share(self, replicas: int) -> float:
        """Of all requests, those beyond what so many replicas answer in the second they come."""
        over = np.maximum(self.counts - replicas * self.rate * self.step_s, 0.0)
        return float(over.sum()) / self.total if self.total else 0.0

    def fewest(self, allowed: float) -> int:
        """Replicas that leave at most a share `allowed` of requests beyond them, always on."""
        low, high = 0, int(self.needed.max(initial=1))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.lost_share(middle) <= allowed else (middle, high)
        return max(1, high)


def foreseen(service: Service, goals: Goals, demand: Demand, money: Money) -> list[Advice]:
    """In the order in which to read them; what makes the rest pointless first."""
    found = alone(service, goals)
    if found:
        return found
    if goals.p99_s is None:
        return dear(service, goals, demand, money)
    short = too_few(service, demand)
    if service.bounds.least == service.bounds.most and not short:
        return [_alike(service), *dear(service, goals, demand, money)]
    return [*short, *idle(service, goals, demand), *dear(service, goals, demand, money)]


def idle_latency_s(profile: Profile, network_s: float, quantile: str) -> float:
    """A request that finds an idle replica: its batch of one at this quantile, and the way there and back."""
    z = _Z[quantile]
    if profile.lognormal is not None:
        law = profile.lognormal
        computed = law.loc_s + law.scale_s * exp(law.shape * z)
    else:
        computed = (profile.a_s + profile.c_s) * (1 + z * profile.spread)
    return computed + profile.beside_s(network_s)


def alone(service: Service, goals: Goals) -> list[Advice]:
    """A budget below what a single request takes on an idle replica: nothing that scales can help."""
    for quantile, allowed in (("p99", goals.p99_s), ("p95", goals.p95_s), ("p50", goals.p50_s)):
        if allowed is None:
            continue
        takes = idle_latency_s(service.profile, service.network_s, quantile)
        if takes > allowed:
            text = (
                f"{quantile} {millis(allowed)} is impossible: on an idle replica a single request takes "
                f"{millis(takes)} ({quantile} of a batch of one), so no number of replicas keeps it. Make the model "
                f"faster, or allow {millis(takes * 1.5)} or more"
            )
            evidence = {"quantile": quantile, "idle_ms": takes * 1000, "budget_ms": allowed * 1000}
            return [Advice("impossible", text, service.name, evidence)]
    return []


def _alike(service: Service) -> Advice:
    most = service.bounds.most
    text = f"at least and at most {most}: nothing scales, and every policy is the same; raise scaling.maxReplicas"
    return Advice("alike", text, service.name)


def too_few(service: Service, demand: Demand) -> list[Advice]:
    """What a maximum that is too low must miss, however well it is used."""
    most = service.bounds.most
    if replace(demand, rate=demand.rate * _SURE).lost_share(most) <= LATE_ALLOWED:
        return []
    lost = demand.lost_share(most)
    peak = int(demand.counts.argmax())
    enough = demand.fewest(LATE_ALLOWED)
    text = (
        f"maxReplicas {most} is too low: {most} answer {most * demand.rate:,.0f}/s inside the budget, the trace "
        f"reaches {demand.counts[peak] / demand.step_s:,.0f}/s at {demand.times.at(peak * demand.step_s)}; about "
        f"{share(lost)} of the requests will be late or refused. With {enough} it could be 1%"
    )
    evidence = {"max_replicas": most, "lost_share": lost, "enough": enough}
    return [Advice("short", text, service.name, evidence)]


def surge_share(demand: Demand, least: int) -> tuple[float, int]:
    """(share of all requests above what the replicas could be that anyone would have wanted a lead time earlier; the
    worst step). Wanted are those for the busiest step of the minute before, or for where its trend leads, whichever is
    more. `least`: replicas that are there in any case."""
    if not demand.total:
        return 0.0, 0
    lead = max(1, ceil(demand.lead_s / demand.step_s))
    window = max(1, round(_WINDOW_S / demand.step_s))
    full = demand.rate * demand.step_s
    ahead = np.ceil(_extrapolated(demand.counts, lead, max(1, window // 6), max(1, window // 2)) / full).astype(
        np.int64
    )
    known = np.maximum(np.maximum(_rolling_max(demand.needed, window), ahead), least)
    before = np.concatenate([np.full(min(lead, len(known)), max(least, int(known[0]))), known])[: len(known)]
    over = np.maximum(demand.counts - before * full, 0.0)
    return float(over.sum()) / demand.total, int(over.argmax())


def _extrapolated(counts: NDArray[np.int64], lead: int, smooth: int, apart: int) -> NDArray[np.float64]:
    """Along the line through the means of the last `smooth` steps and of those `apart` steps before."""
    sums = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    at = np.arange(1, len(counts) + 1)
    begin = np.maximum(at - smooth, 0)
    level = (sums[at] - sums[begin]) / (at - begin)
    earlier = np.concatenate([np.full(min(apart, len(level)), level[0]), level])[: len(level)]
    return np.asarray(level + (level - earlier) / apart * (lead + smooth / 2))


def surges(service: Service, demand: Demand, money: Money) -> list[Advice]:
    """Rises steeper than a cold start: who only looks back comes too late for them."""
    least = max(1, service.bounds.least)  # what waking up from zero costs is told apart
    lost, worst = surge_share(demand, least)
    if lost <= LATE_ALLOWED:
        return []
    standing = next(
        (n for n in _rising(least + 1, service.bounds.most) if surge_share(demand, n)[0] <= LATE_ALLOWED), 0
    )
    before = max(0, worst - ceil(demand.lead_s / demand.step_s))
    text = (
        f"{share(lost)} of the requests come in rises that a replica's start of {demand.lead_s:g} s can't follow "
        f"(at {demand.times.at(worst * demand.step_s)} from {demand.counts[before] / demand.step_s:,.0f} to "
        f"{demand.counts[worst] / demand.step_s:,.0f}/s), nor the minute before tells: only replicas that stand ready "
        "keep 1% then"
    )
    if standing:
        text += f"; minReplicas {standing} would carry them{_costs(standing - least, demand.seconds, money)}"
    return [Advice("ramp", text, service.name, {"surge_share": lost, "standing": standing or None})]


def idle(service: Service, goals: Goals, demand: Demand) -> list[Advice]:
    """With zero as the fewest, each wake-up waits for a start."""
    if service.bounds.least > 0 or goals.p99_s is None or demand.lead_s <= goals.p99_s:
        return []
    quiet = max(1, round(service.bounds.zero_after_s / demand.step_s))
    busy = np.flatnonzero(demand.counts)
    if not len(busy):
        return []
    wakes = busy[1:][np.diff(busy) > quiet]
    asleep = not service.start_replicas or int(busy[0]) > quiet
    starts = [*([int(busy[0])] if asleep else []), *wakes.tolist()]
    if not starts:
        return []
    lead = max(1, ceil(demand.lead_s / demand.step_s))
    held = sum(int(demand.counts[at : at + lead].sum()) for at in starts)
    times = "once" if len(starts) == 1 else f"{len(starts)} times"
    waits = "1 request waits" if held == 1 else f"{held:,} requests wait"
    text = (
        f"minReplicas 0 wakes up {times}; {waits} ({share(held / demand.total)} of all) for a start of "
        f"{demand.lead_s:g} s then, beyond p99 {millis(goals.p99_s)}; minReplicas 1 answers them in time"
    )
    return [Advice("zero", text, service.name, {"wakes": len(starts), "held": held})]


def dear(service: Service, goals: Goals, demand: Demand, money: Money) -> list[Advice]:
    """A cost budget below what a replica costs that never idles."""
    if money.replica_hour is None or goals.cost_per_million is None:
        return []
    least = money.replica_hour / (demand.rate * 3600) * 1e6
    if least <= goals.cost_per_million:
        return []
    text = (
        f"{price(goals.cost_per_million, money.currency)} for a million requests is impossible: a replica that never "
        f"idles answers {demand.rate:,.0f}/s inside the latency budget, which is {price(least, money.currency)} for a "
        "million. Latency and cost can't both hold: budget.cost.whenExceeded says which one gives"
    )
    return [Advice("impossible", text, service.name, {"per_million": least})]


def _costs(replicas: int, seconds: float, money: Money) -> str:
    hours = replicas * seconds / 3600
    if money.replica_hour is None:
        return f", for at most {hours:.1f} more replica-hours"
    return f", for at most {price(hours * money.replica_hour, money.currency)} more"


def _rising(first: int, last: int) -> list[int]:
    """Counts to try: each up to 32, then 5% apart."""
    found: list[int] = []
    while first <= last and len(found) < 200:
        found.append(first)
        first = max(first + 1, int(first * 1.05))
    return found


def _rolling_max(values: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Of the last `window` values at each place, by doubling: log2(window) passes."""
    found = values.copy()
    span = 1
    while span < window:
        move = min(span, window - span)
        shifted = np.concatenate([np.zeros(min(move, len(found)), dtype=found.dtype), found])[: len(found)]
        found = np.maximum(found, shifted)
        span += move
    return found
