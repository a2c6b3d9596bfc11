"""`plimsoll plan`: how long it will take, the simulations, and what they tell: the oracle beside them, and advice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from plimsoll.app.plan_report import Extra
from plimsoll.app.plan_run import Done, Job, Watch, cores, run_jobs
from plimsoll.app.plan_study import Study, Variant
from plimsoll.core.units import format_duration
from plimsoll.sim.advice import changes
from plimsoll.sim.report import LATE_ALLOWED, millis, row_of, share
from plimsoll.sim.result import Result
from plimsoll.sim.scenario import Service

LONG_S = 300.0  # beyond it a shorter way is offered
_SAMPLE = 30_000  # requests that tell how fast this machine simulates
_SAMPLE_S = 600.0
_QUIET_LONG_S, _QUIET_S = 3600.0, 200.0  # from which length on a second without requests counts; how many tell its cost
_EXTRAS_S = 120.0  # beyond it nothing more is simulated than what was asked for
_COMPARED = 1_000_000  # requests that tell the fluid model's error
_FLUID_SAMPLE_S = 120.0  # simulated seconds that tell how fast the fluid model is


@dataclass(frozen=True, slots=True)
class Estimate:
    """`seconds` on this machine for all of it; `rate`: requests a second of one core. `slice_text`: the busiest stretch
    that takes a minute, as `--slice` writes it."""

    seconds: float
    rate: float
    requests: float
    policies: int
    workers: int
    slice_text: str

    @property
    def long(self) -> bool:
        return self.seconds > LONG_S


def estimate(study: Study) -> Estimate:
    """By simulating a moment of it: on this machine, these policies, this load."""
    workers = max(1, min(cores(), len(study.variants)))
    if study.options.fast:
        rounds = -(-len(study.variants) // workers)
        seconds = study.seconds * rounds * _fluid_cost(study)
        return Estimate(seconds, 0.0, study.requests, len(study.variants), workers, _minute_slice(study, seconds))
    each = study.requests / _measured(study) + study.seconds * _tick_cost(study)
    rounds = -(-len(study.variants) // workers)
    seconds, rate = each * rounds, study.requests / each
    return Estimate(seconds, rate, study.requests, len(study.variants), workers, _minute_slice(study, seconds))


def _measured(study: Study) -> float:
    """The slower of the busiest moment and an ordinary one: small batches take more time a request."""
    from plimsoll.sim.world import simulate

    rates = []
    counts, step_s = _counts(study), study.planned[0].demand.step_s
    for moment in (int(counts.argmax()), int(np.abs(counts - counts.mean()).argmin())):
        first, last = _around(study, moment, _SAMPLE / 2, _SAMPLE_S)
        if not counts[int(first / step_s) : max(1, ceil(last / step_s))].any():
            continue
        whole = (first, last) == (0.0, study.seconds)
        scenario = study.scenario(study.variants[0], part=None if whole else (first, last))
        began = perf_counter()
        requests = sum(one.offered for one in simulate(scenario).services)
        rates.append(max(requests, 1) / max(perf_counter() - began, 1e-6))
    return min(rates)


def _tick_cost(study: Study) -> float:
    """Of a simulated second in which nothing comes, where there are many: a recording may have gaps of weeks."""
    from plimsoll.sim.world import simulate

    if study.seconds < _QUIET_LONG_S:
        return 0.0
    walls = []
    scenario = study.scenario(study.variants[0], part=_around(study, int(_counts(study).argmax()), 1.0, 1.0))
    for more in (0.0, _QUIET_S):
        longest = max(one.traffic.trace.duration_s for one in scenario.services)
        began = perf_counter()
        simulate(replace(scenario, seconds=longest + more))
        walls.append(perf_counter() - began)
    return max(0.0, walls[1] - walls[0]) / _QUIET_S


def _counts(study: Study) -> NDArray[np.float64]:
    """Of all services, in each step."""
    counts = np.zeros(max(len(one.demand.counts) for one in study.planned))
    for one in study.planned:
        counts[: len(one.demand.counts)] += one.demand.counts
    return counts


def _fluid_cost(study: Study) -> float:
    """Seconds for each simulated one."""
    from plimsoll.sim.fluid import simulate_fluid

    part = 0.0, min(_FLUID_SAMPLE_S, study.seconds)
    scenario = study.scenario(study.variants[0], part=part)
    began = perf_counter()
    simulate_fluid(scenario)
    return (perf_counter() - began) / max(part[1], 1e-9)


def _busiest(study: Study, requests: float) -> tuple[float, float]:
    return _around(study, int(_counts(study).argmax()), requests)


def _around(study: Study, peak: int, requests: float, most_s: float = inf) -> tuple[float, float]:
    """(from, to) of the stretch around a step that has about so many requests, and lasts no longer than `most_s`."""
    demand = study.planned[0].demand
    counts = _counts(study)
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    if sums[-1] <= requests and study.seconds <= most_s:
        return 0.0, study.seconds
    low, high = 0, int(min(len(counts), max(2, most_s / demand.step_s / 2)))
    while high - low > 1:  # the longest stretch, as long before the peak as after it, that has no more
        middle = (low + high) // 2
        first, last = max(0, peak - middle), min(len(counts), peak + middle)
        low, high = (middle, high) if sums[last] - sums[first] <= requests else (low, middle)
    reach = max(low, 1)
    return max(0, peak - reach) * demand.step_s, min(len(counts), peak + reach) * demand.step_s


def _minute_slice(study: Study, seconds: float) -> str:
    if seconds <= 60:
        return ""
    part = 60 / seconds
    # The fluid model's time goes by simulated seconds, the other one's by requests.
    most = (inf, study.seconds * part) if study.options.fast else (study.requests * part, inf)
    begin, end = _around(study, int(_counts(study).argmax()), *most)
    speedup, first_s = study.options.speedup, study.planned[0].slice_start_s
    whole = [round((first_s + at * speedup) / 60) * 60 for at in (begin, end)]
    return f"{format_duration(whole[0])}/{format_duration(max(whole[1], whole[0] + 60))}"


def run(study: Study, watch: Watch, expected: Estimate) -> Done:
    """All policies. Ctrl-C ends it with what is done. Raises UserError."""
    jobs = [Job(one.key, study.scenario(one), study.options.fast) for one in study.variants]
    return run_jobs(jobs, watch, expected_s=expected.seconds * expected.workers)


# Beside the policies


def extras(study: Study, done: Done, expected: Estimate) -> list[Extra]:
    """Changes of the service's settings that are worth a simulation, once its own policy's result is there. For one
    service alone, of several each would have its own; and where it doesn't take long."""
    own = study.variants[0]
    if len(study.planned) > 1 or done.interrupted or own.key not in done.results or study.options.fast:
        return []
    if expected.seconds > _EXTRAS_S:
        return []
    one = study.planned[0]
    bounds, goals = one.service.bounds, one.subject.goals
    if goals.p99_s is None or own.texts[one.name].startswith("fixed"):
        return []
    mine = done.results[own.key].services[0]
    row = row_of(mine, own.key, goals, cost=None)
    enough = one.demand.fewest(LATE_ALLOWED)
    found = []
    for kind, value in changes(row, bounds.least, bounds.most, one.service.spares, enough):
        setting = f"minReplicas {value}" if kind == "minimum" else f"spares {value}"
        variant = Variant(f"{own.key} with {setting}", own.texts, _with(kind, value))
        found.append(Extra(kind, setting, variant))
    return found


def _with(kind: str, value: int) -> Callable[[Service], Service]:
    def change(service: Service) -> Service:
        if kind == "spares":
            return replace(service, spares=value)
        start = max(service.start_replicas or 0, value)
        return replace(service, bounds=replace(service.bounds, least=value), start_replicas=start)

    return change


def run_extras(study: Study, found: Sequence[Extra], watch: Watch, expected: Estimate) -> Done:
    jobs = [Job(one.variant.key, study.scenario(one.variant)) for one in found]
    each = expected.seconds * expected.workers / max(1, len(study.variants))
    return run_jobs(jobs, watch, expected_s=each * len(jobs)) if jobs else Done()


def fluid_error(study: Study, watch: Watch) -> list[str]:
    """How far the fluid model is from requests one by one, under the first policy: both on the busiest stretch."""
    part = _busiest(study, _COMPARED)
    variant = study.variants[0]
    jobs = [Job(key, study.scenario(variant, part=part), key == "fluid") for key in ("fluid", "one by one")]
    done = run_jobs(jobs, watch, expected_s=_COMPARED / 100_000)
    if len(done.results) < len(jobs):
        why = "; ".join(done.failed.values()) or "ended early"
        return [f"--fast is a fluid model; its error was not measured: {why}"]
    times = study.planned[0].demand.times
    lasts = format_duration(round(part[1] - part[0]))
    where = lasts if part == (0.0, study.seconds) else f"{lasts} around the peak, {times.between(*part)}"
    told = _compared(done.results["fluid"], done.results["one by one"])
    return [f"--fast is a fluid model. Beside {variant.key} request by request ({where}): {told}"]


def _compared(fluid: Result, exact: Result) -> str:
    def of(result: Result) -> tuple[float, float, float]:
        offered = sum(one.offered for one in result.services) or 1
        missed = sum(one.late + one.refused for one in result.services)
        return (
            missed / offered,
            max(one.p99_s for one in result.services),
            sum(one.replica_s for one in result.services),
        )

    (missed, p99_s, used_s), (missed_exact, p99_exact_s, used_exact_s) = of(fluid), of(exact)
    off = used_s / used_exact_s - 1 if used_exact_s else 0.0
    return (
        f"late or refused {share(missed)} for {share(missed_exact)}, p99 {millis(p99_s)} for {millis(p99_exact_s)}, "
        f"replica-hours {off:+.1%}"
    )
