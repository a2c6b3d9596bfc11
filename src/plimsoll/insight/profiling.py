"""From batches that were timed to a profile: the line t(b) = a + c·b, what lies beside it, and whether it fits.

Unlike the live model (`service_time`), which forgets, this looks at all batches at once. A replica is taken by a batch
for as long as the model computes, or, where decoding and encoding its requests on the same core take longer, for that:
a model of 50 us a batch, whose requests cost 30 us each to handle, does not do 20,000 batches of 64 a second. So two
lines are fitted, the model's and the replica's; plans use the second.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import NamedTuple

from plimsoll.insight.profile import LogNormal, Profile

MISFIT = 0.2  # of the measured time: beyond it a line says little about a size
_FEW = 3  # batches of one size that are too few to be held against the line, where others have more
TELLING = 200  # batches whose processor time says something of each: 10 ms are 0.05 ms of a batch
_TOP_DROPPED = 0.02  # of a size's slowest batches: a collection or another process, not the model
_UNBOUNDED = 10**6  # items: as good as any number
_Z95 = 1.6448536269514722
_Z90 = 1.2815515655446004  # the standard normal's 90th percentile
_Z99 = 2.3263478740408408
_LONG_TAIL = 0.3  # relative spread of single requests from which a lognormal says more than mean and spread


@dataclass(frozen=True, slots=True)
class Phase:
    """`callers` sent one request after the other for `wall_s`. `batches`: (items, seconds in the model) in their order;
    `cpu_s`: used by the replica's processes in that time; `latencies_s`: of requests, as their callers saw them."""

    callers: int
    wall_s: float
    cpu_s: float
    batches: Sequence[tuple[int, float]]
    latencies_s: Sequence[float]

    @property
    def items(self) -> int:
        return sum(size for size, _ in self.batches)


class Answer(NamedTuple):
    """Seconds: as who asked saw it, and of them in the replica's queue and in the model."""

    latency_s: float
    queue_s: float
    compute_s: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """One stretch at a steady, moderate rate through a gateway: answers, and batches as a phase has them."""

    answers: Sequence[Answer]
    batches: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class SizeRow:
    """One size: mean seconds that a batch takes of the replica, the line's, and the relative error of the line (0.1:
    10% above). `spread`: of such batches, relative."""

    size: int
    batches: int
    measured_s: float
    fitted_s: float
    spread: float = 0.0

    @property
    def error(self) -> float:
        return self.fitted_s / self.measured_s - 1.0 if self.measured_s > 0 else 0.0

    @property
    def misfit(self) -> bool:
        """Beyond MISFIT, and more than two standard errors of so few batches beyond it."""
        return abs(self.error) > MISFIT + 2 * self.spread / sqrt(self.batches)


@dataclass(frozen=True, slots=True)
class Fit:
    """`a_s`, `c_s`: seconds that a batch takes of the replica; `model_a_s`, `model_c_s`: of them in the model.
    `overhead_s`: what a lone request takes beside that. `spread`: relative standard deviation of a size's batches.
    `fits_up_to`: the largest size below which no error is beyond MISFIT; 0: not even one item's."""

    a_s: float
    c_s: float
    model_a_s: float
    model_c_s: float
    spread: float
    overhead_s: float
    cpu: float
    rows: tuple[SizeRow, ...]
    fits_up_to: int
    largest: int  # of all batches
    lognormal: LogNormal | None = None

    @property
    def worst(self) -> SizeRow | None:
        """The misfit with the largest error, else the row with it."""
        return max(self.rows, key=lambda row: (row.misfit, abs(row.error)), default=None)

    @property
    def misfit(self) -> bool:
        return any(row.misfit for row in self.rows)


def fit(phases: Sequence[Phase], *, cores: float = 1.0) -> Fit:
    """`cores`: that the replica may use. The first phase has one caller. Raises ValueError without any batch."""
    by_size = grouped(batch for phase in phases for batch in phase.batches)
    if not by_size:
        raise ValueError("no batch was timed")
    means = {size: _mean(kept(times)) for size, times in by_size.items()}
    counts = {size: len(times) for size, times in by_size.items()}
    enough = {size for size, count in counts.items() if count >= _FEW} or set(counts)
    model = line([(size, means[size], min(counts[size], 100)) for size in sorted(enough)])
    busy = [(phase.items / len(phase.batches), _busy(phase, cores)) for phase in phases if phase.batches]
    # What a batch takes of the replica is at least what it takes of the model.
    a_s, c_s = _whole([(size, max(seconds, _at(model, size))) for size, seconds in busy], model)
    beside = (a_s - model[0], c_s - model[1])
    groups = {size: [max(one + _at(beside, size), 0.0) for one in kept(by_size[size])] for size in enough}
    spread = relative_spread(list(groups.values()))
    rows = tuple(
        SizeRow(
            size,
            counts[size],
            means[size] + _at(beside, size),
            a_s + c_s * size,
            max(spread, relative_spread([groups[size]])),
        )
        for size in sorted(enough)
    )
    taken_s = sum((a_s + c_s * mean) * len(phase.batches) for phase, (mean, _) in zip(_used(phases), busy, strict=True))
    return Fit(
        a_s=a_s,
        c_s=c_s,
        model_a_s=model[0],
        model_c_s=model[1],
        spread=spread,
        overhead_s=_overhead(phases, a_s, c_s),
        cpu=min(sum(phase.cpu_s for phase in phases) / taken_s, max(cores, 1.0)) if taken_s > 0 else 1.0,
        rows=rows,
        fits_up_to=_fits_up_to(rows),
        largest=max(by_size),
        lognormal=lognormal(by_size[1]) if set(by_size) == {1} and spread > _LONG_TAIL else None,
    )


def capacity(profile: Profile, p99_s: float | None) -> tuple[int, float]:
    """(batch, items a second) at the largest batch that keeps the budget. Who just missed a batch waits for it and then
    for its own, so two of them and the overhead must fit; one alone where not even two of one item do. (0, 0): nothing
    does. Without a budget: at `max_batch`."""
    found = profile.service_time
    most = profile.max_batch or _UNBOUNDED
    if p99_s is None:
        return most, found.capacity(most)
    room = p99_s - profile.overhead_s
    batch = min(max(found.largest_within(room / 2), min(found.largest_within(room), 1)), most)
    return (batch, found.capacity(batch)) if batch > 0 else (0, 0.0)


def waking(rest: Phase, alone: Phase, *, cores: float = 1.0) -> float:
    """What a batch takes longer of a replica that was at rest: `rest`, of requests each of which found it so, beside
    `alone`, of one caller without a pause. Processor time is told in steps of 10 ms, so of few requests only the
    model's is compared."""
    if not rest.batches or not alone.batches:
        return 0.0
    if len(rest.batches) >= TELLING:
        return max(_busy(rest, cores) - _busy(alone, cores), 0.0)
    means = [_mean(kept([seconds for _, seconds in phase.batches])) for phase in (rest, alone)]
    return max(means[0] - means[1], 0.0)


def beside(profile: Profile, latencies_s: Sequence[float]) -> tuple[float, float, float]:
    """(gateway_s, beside_p90_s, beside_p99_s) of lone requests through a gateway: what their median and their high
    percentiles have beyond a batch of one. Of those the batch's own spread is taken away, as variances add up."""
    law = profile.lognormal
    batch_s = profile.wake_s + (profile.a_s + profile.c_s if law is None else law.loc_s + law.scale_s)
    spread_s = profile.spread * batch_s if law is None else law.scale_s * (exp(_Z90 * law.shape) - 1) / _Z90
    middle = quantile(latencies_s, 0.5)
    gateway_s = max(middle - batch_s - profile.overhead_s, 0.0)

    def high(share: float, z: float) -> float:
        more = quantile(latencies_s, share) - middle
        return profile.overhead_s + gateway_s + sqrt(max(more**2 - (z * spread_s) ** 2, 0.0))

    p90_s = high(0.9, _Z90)
    return gateway_s, p90_s, max(high(0.99, _Z99), p90_s)


def under_load(profile: Profile, found: Fit, loaded: Loaded) -> Profile:
    """With what only shows when others are there: how long batches take and how they vary, and what a request spends
    beside its own, while replicas, the gateway and whoever asks share the machine. Of fewer than 200 answers nothing is
    learned."""
    answers = loaded.answers
    if len(answers) < TELLING:
        return profile
    # What the replica's handling takes counts as its batch (`fit`), though the model's clock doesn't see it.
    handling_s = max(profile.a_s + profile.c_s - found.model_a_s - found.model_c_s, 0.0)
    profile = _crowded(profile, found, loaded.batches)
    handling_s += profile.wake_s
    beside = [max(one.latency_s - one.queue_s - one.compute_s - handling_s, 0.0) for one in answers]
    middle, p90_s, p99_s = (quantile(beside, share) for share in (0.5, 0.9, 0.99))
    gateway_s = max(middle - profile.overhead_s, 0.0)
    least_s = profile.overhead_s + gateway_s
    return replace(
        profile,
        spread=max(profile.spread, _spread_by_tail(grouped(loaded.batches))),
        gateway_s=gateway_s,
        beside_p90_s=max(p90_s, least_s),
        beside_p99_s=max(p99_s, p90_s, least_s),
    )


def _crowded(profile: Profile, found: Fit, batches: Sequence[tuple[int, float]]) -> Profile:
    """Its batches take as much longer as the model did, which is part of what they take after a rest. The batches of a
    moderate rate are small: of what an item of a large one takes they say nothing, so this is each batch's own."""
    line = (found.model_a_s, found.model_c_s)
    longer = kept([seconds - _at(line, size) for size, seconds in batches if seconds > 0])
    longer_s = _mean(longer) if longer else 0.0
    if longer_s <= 0.0 or profile.lognormal is not None:
        return profile
    return replace(profile, a_s=profile.a_s + longer_s, wake_s=max(profile.wake_s - longer_s, 0.0))


def _spread_by_tail(groups: Mapping[int, Sequence[float]]) -> float:
    """Of the lognormal through a size's median and 95th percentile, over sizes by their batches. Few batches in a
    hundred that another process held up make a deviation of any size; they are in the 95th percentile only when they
    are the rule."""
    told = {size: times for size, times in groups.items() if len(times) >= TELLING}
    count = sum(map(len, told.values()))
    if not count:
        return 0.0
    shape = (
        sum(len(times) * log(quantile(times, 0.95) / quantile(times, 0.5)) for times in told.values()) / count / _Z95
    )
    return sqrt(exp(shape * shape) - 1.0)


def line(points: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """(a, c) of y = a + c·x, neither below 0, from (x, y, weight) with y > 0: least squares of *relative* errors, since
    a percent of one item's time matters as much as a percent of 64 items'."""
    if not points:
        return 0.0, 0.0
    weighted = [(x, y, weight / y**2) for x, y, weight in points]
    sw = sum(w for _, _, w in weighted)
    sx = sum(w * x for x, _, w in weighted)
    sy = sum(w * y for _, y, w in weighted)
    sxx = sum(w * x * x for x, _, w in weighted)
    sxy = sum(w * x * y for x, y, w in weighted)
    under = sw * sxx - sx * sx
    if under > 1e-9 * sw * sxx:
        a, c = (sy * sxx - sx * sxy) / under, (sw * sxy - sx * sy) / under
        if a >= 0 and c >= 0:
            return a, c
        if c < 0:
            return sy / sw, 0.0
    return 0.0, sxy / sxx  # one size alone: each item takes as long as the others


def grouped(batches: Iterable[tuple[int, float]]) -> dict[int, list[float]]:
    """Seconds by size; nonsense (no items, no time at all) left out."""
    found: dict[int, list[float]] = {}
    for size, seconds in batches:
        if size >= 1 and seconds > 0:
            found.setdefault(size, []).append(seconds)
    return found


def kept(times: Sequence[float]) -> list[float]:
    """Without the slowest 2%: of 50 batches and more."""
    return sorted(times)[: len(times) - int(len(times) * _TOP_DROPPED)]


def relative_spread(groups: Sequence[Sequence[float]]) -> float:
    """The standard deviation around each size's own mean, as a share of that mean, over all batches."""
    total = count = 0.0
    for times in groups:
        if len(times) > 1:
            mean = _mean(times)
            total += sum((one / mean - 1.0) ** 2 for one in times) * len(times) / (len(times) - 1)
            count += len(times)
    return sqrt(total / count) if count else 0.0


def lognormal(times: Sequence[float]) -> LogNormal:
    """By the moments of the logarithm, above zero."""
    logs = [log(one) for one in times]
    mean = _mean(logs)
    return LogNormal(sqrt(_mean([(one - mean) ** 2 for one in logs])), 0.0, exp(mean))


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between neighbours, as numpy's default. Raises ValueError on nothing."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def _whole(points: Sequence[tuple[float, float]], model: tuple[float, float]) -> tuple[float, float]:
    """The replica's line from mean sizes and seconds. Where the sizes hardly differ, no slope can be told from the
    machine's mood: then what comes on top of the model is taken as each request's own."""
    sizes = [size for size, _ in points]
    if max(sizes) >= 2 * min(sizes):
        return line([(size, seconds, 1) for size, seconds in points])
    beside = sum(seconds - _at(model, size) for size, seconds in points) / sum(sizes)
    return model[0], model[1] + max(beside, 0.0)


def _busy(phase: Phase, cores: float) -> float:
    """Seconds of the replica that a batch takes: in the model, or, where that is more, of all its cores' time."""
    count = len(phase.batches)
    in_model = sum(kept([seconds for _, seconds in phase.batches])) / max(len(kept([s for _, s in phase.batches])), 1)
    return max(in_model, min(phase.cpu_s / max(cores, 1.0), phase.wall_s) / count)


def _used(phases: Sequence[Phase]) -> list[Phase]:
    return [phase for phase in phases if phase.batches]


def _overhead(phases: Sequence[Phase], a_s: float, c_s: float) -> float:
    alone = next((phase for phase in _used(phases) if phase.callers == 1 and phase.latencies_s), None)
    if alone is None:
        return 0.0
    return max(quantile(alone.latencies_s, 0.5) - (a_s + c_s * alone.items / len(alone.batches)), 0.0)


def _fits_up_to(rows: Sequence[SizeRow]) -> int:
    found = 0
    for row in rows:
        if row.misfit:
            break
        found = row.size
    return found


def _at(found: tuple[float, float], size: float) -> float:
    return found[0] + found[1] * size


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
