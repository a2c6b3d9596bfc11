"""`plimsoll plan`: from files and options to scenarios, one a policy. What can be wrong is found here, before anything
is simulated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np

from plimsoll.app import plan_inputs as inputs
from plimsoll.app.plan_inputs import Subject
from plimsoll.core.errors import UserError
from plimsoll.core.units import format_duration
from plimsoll.insight.traffic import Trace
from plimsoll.policy.scaling import named
from plimsoll.sim.capacity import formula_rate
from plimsoll.sim.foreseen import Demand, foreseen
from plimsoll.sim.report import LATE_ALLOWED, Advice, Money
from plimsoll.sim.scenario import NodeClass, Scenario, Service, Traffic
from plimsoll.sim.traffic import Prepared
from plimsoll.sim.traffic import prepare as prepare_trace
from plimsoll.sim.traffic_slice import parse_slice
from plimsoll.sim.when import Times

ORACLE = "oracle"
OWN = "own"  # the scenario in which several services have policies of their own
DEFAULT_POLICIES = ("budget", "hpa-cpu", "hpa-rps", "kpa", "keda", "fixed", ORACLE)

_DRAWN_MOST = 20_000_000  # requests whose counts are drawn to look ahead; of more, the expected ones do
_STEPS_MOST = 200_000
_LASTS_MOST_S = 10 * 365 * 86400.0  # simulated
_FIRST_S = 10.0  # what replicas are there at the beginning for


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """As on the command line, in plain units. `slice`: `parse_slice`'s text. `mean_replicas`: the trace is scaled so
    that its mean needs so many. `jobs_total`: replicas of all services together."""

    files: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    speedup: float = 1.0
    scale: float = 1.0
    slice: str | None = None
    mean_replicas: float | None = None
    policies: str | None = None
    nodes: str | None = None
    profile: str | None = None
    service_time: str | None = None
    cold_start_s: float | None = None
    p99_s: float | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    replicas_total: int | None = None
    queue_cap: int | None = None
    price: float | None = None
    seed: int = 1
    fast: bool = False


@dataclass(frozen=True, slots=True)
class Variant:
    """One scenario: `texts`, each service's policy. `key` names it in progress and in rows."""

    key: str
    texts: Mapping[str, str]
    change: Callable[[Service], Service] | None = None

    def name_for(self, service: str) -> str:
        return OWN if self.key == OWN else self.texts[service]


@dataclass(frozen=True, slots=True)
class Planned:
    """One service, ready to be simulated under any policy."""

    subject: Subject
    service: Service
    prepared: Prepared
    demand: Demand
    slice_start_s: float = 0.0  # of the recording

    @property
    def name(self) -> str:
        return self.subject.name


@dataclass(frozen=True, slots=True)
class Study:
    """All of a plan. `early`: advice that needs no simulation."""

    options: PlanOptions
    planned: Sequence[Planned]
    variants: Sequence[Variant]
    oracle: bool
    nodes: Sequence[NodeClass]
    money: Money
    early: Sequence[Advice]
    facts: Sequence[str]
    notes: Sequence[str]
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return max(one.prepared.duration_s for one in self.planned)

    @property
    def requests(self) -> float:
        return sum(one.prepared.requests for one in self.planned)

    def scenario(self, variant: Variant, *, part: "tuple[float, float] | None" = None) -> Scenario:
        """`part`: these seconds of it alone."""
        services = [self._service(one, variant, part) for one in self.planned]
        return Scenario(
            services,
            nodes=tuple(self.nodes),
            seed=self.options.seed,
            most_replicas=self.options.replicas_total,
        )

    def _service(self, one: Planned, variant: Variant, part: "tuple[float, float] | None") -> Service:
        service = replace(one.service, policy=variant.texts[one.name])
        if service.policy.startswith("fixed:"):
            bounds = service.bounds
            service = replace(service, start_replicas=min(max(int(service.policy[6:]), bounds.least), bounds.most))
        if variant.change is not None:
            service = variant.change(service)
        if part is not None:
            cut = prepare_trace(one.prepared.trace, start_s=part[0], end_s=part[1], interpolate=False)
            service = replace(service, traffic=Traffic(cut.trace, service.traffic.seed))
            if not service.policy.startswith("fixed:"):
                count = _start_replicas(one.demand, service.bounds.least, service.bounds.most, part[0])
                service = replace(service, start_replicas=count)
        return service


def prepare(options: PlanOptions) -> Study:
    """Raises UserError, SpecErrors: everything that can be wrong but a policy's own fault."""
    subjects, nodes, money = _subjects(options)
    traces = inputs.read_traces(options.traces, [] if not options.files and options.service_time else list(subjects))
    if not subjects:
        subjects = {name: _from_options(options, name) for name in traces}
    planned = [_planned(subjects[name], traces[name], options, nodes, at) for at, name in enumerate(subjects)]
    if options.replicas_total is not None:
        planned = _fitted(planned, options.replicas_total)
    asked, oracle = _policies(options, planned)
    study = Study(
        options=options,
        planned=planned,
        variants=asked,
        oracle=oracle,
        nodes=nodes,
        money=money,
        early=[word for one in planned for word in foreseen(one.service, one.subject.goals, one.demand, money)],
        facts=_facts(options, planned, nodes),
        notes=[*(warning for one in planned for warning in one.subject.warnings), *_clipped(asked, planned)],
        own={one.name: asked[0].name_for(one.name) for one in planned},
    )
    _check_policies(study)
    return study


def _subjects(options: PlanOptions) -> tuple[dict[str, Subject], Sequence[NodeClass], Money]:
    """Of the files; none where `--service-time` describes what no file does."""
    learned = None if options.service_time is None else inputs.parse_service_time(options.service_time)
    if not options.files and learned is not None:
        platform = inputs.read_platform(options.nodes, None)
        nodes = inputs.node_classes(platform) if options.nodes else ()
        return {}, nodes, inputs.money_of(platform, [], options.price)
    documents = inputs.read_documents(options.files)
    platform = inputs.read_platform(options.nodes, documents)
    services = list(documents.services)
    if not services:
        raise UserError("there is no service in the files; expected a document with kind: ModelService")
    if options.profile is not None and len(services) > 1:
        raise UserError(
            f"--profile is of one service, and the files have {len(services)}; keep NAME.profile.json beside"
        )
    found = {
        service.name: _changed(inputs.from_file(service, platform, options.profile, learned), options)
        for service in services
    }
    nodes = inputs.node_classes(platform) if options.nodes else ()
    return found, nodes, inputs.money_of(platform, services, options.price)


def _from_options(options: PlanOptions, name: str) -> Subject:
    assert options.service_time is not None
    if options.p99_s is None:
        raise UserError("--service-time without a file needs a budget: --p99 100ms")
    learned = inputs.parse_service_time(options.service_time)
    most = options.max_replicas or options.replicas_total
    subject = inputs.from_options(name, learned, options.p99_s, most, one=learned.lognormal is not None)
    asked = [text for text in named.split(options.policies or "") if text not in {ORACLE, "fixed"}]
    return _changed(replace(subject, own=asked[0]) if asked else subject, options)


def _changed(subject: Subject, options: PlanOptions) -> Subject:
    """With what the command line overrides."""
    profile, bounds, goals = subject.profile, subject.bounds, subject.goals
    if options.cold_start_s is not None:
        profile = replace(profile, cold_s=options.cold_start_s, cold_p90_s=None)
    if options.p99_s is not None:
        bounds = replace(bounds, p99_s=options.p99_s, timeout_s=2 * options.p99_s)
        goals = replace(goals, p99_s=options.p99_s)
    least = bounds.least if options.min_replicas is None else options.min_replicas
    most = max(bounds.most, least) if options.max_replicas is None else options.max_replicas
    if most < least:
        raise UserError(f"{subject.name}: at most {most} replicas and at least {least}; mend --min- or --max-replicas")
    if options.price is not None:
        bounds = replace(bounds, price_per_hour=options.price)
    return replace(subject, profile=profile, goals=goals, bounds=replace(bounds, least=least, most=most))


def _planned(subject: Subject, trace: Trace, options: PlanOptions, nodes: Sequence[NodeClass], place: int) -> Planned:
    bounds, profile = subject.bounds, subject.profile
    rate = formula_rate(profile, bounds.p99_s, bounds.max_batch, one=subject.max_batch_one)
    start_s, end_s = (None, None) if options.slice is None else parse_slice(options.slice, trace)
    prepared = prepare_trace(
        trace,
        speedup=options.speedup,
        scale=options.scale,
        start_s=start_s,
        end_s=end_s,
        mean_rate=None if options.mean_replicas is None else options.mean_replicas * rate,
        seed=options.seed + place,
    )
    if prepared.duration_s > _LASTS_MOST_S:
        raise UserError(
            f"--trace of {subject.name}: it lasts {_rough(prepared.duration_s / 86400)} days; times are seconds (are "
            "these milliseconds?), and --slice takes a part"
        )
    node_s = min((one.provisioning_s for one in nodes), default=0.0)
    times = Times(prepared.trace.start, options.speedup, prepared.duration_s)
    counts, step_s = _counts(prepared)
    demand = Demand(counts, step_s, rate, profile.cold_s + node_s, times)
    service = Service(
        name=subject.name,
        traffic=prepared.traffic,
        profile=profile,
        bounds=bounds,
        policy=subject.own,
        start_replicas=_start_replicas(demand, bounds.least, bounds.most, 0.0),
        linger_s=subject.linger_s,
        hold_s=subject.hold_s,
        needs=dict(subject.needs or {"cpu": 1.0, "replicas": 1.0}),
        priority=subject.priority,
        spares=subject.spares,
        queue_cap=options.queue_cap,
        max_batch_one=subject.max_batch_one,
    )
    return Planned(subject, service, prepared, demand, start_s or 0.0)


def _counts(prepared: Prepared) -> tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", float]:
    """(requests in each step, the step): a second, more where the trace is long."""
    step_s = max(1.0, float(ceil(prepared.duration_s / _STEPS_MOST)))
    rates = prepared.trace.rates
    if rates is None or prepared.requests <= _DRAWN_MOST:
        return prepared.counts(step_s), step_s
    steps = max(1, ceil(prepared.duration_s / step_s))
    edges = np.array([(one.start_s, one.end_s, one.rate, one.end_rate) for one in rates.segments])
    times = np.concatenate([edges[:, 0], edges[-1:, 1]])
    sums = np.concatenate([[0.0], np.cumsum((edges[:, 1] - edges[:, 0]) * (edges[:, 2] + edges[:, 3]) / 2)])
    at = np.interp(np.arange(steps + 1) * step_s, times, sums)
    return np.diff(at).round().astype(np.int64), step_s


def _start_replicas(demand: Demand, least: int, most: int, at_s: float) -> int:
    """What the first seconds need: the world begins in the middle of a day, not with an empty cluster."""
    first = int(at_s / demand.step_s)
    steps = max(1, round(_FIRST_S / demand.step_s))
    part = demand.counts[first : first + steps]
    needed = ceil(float(part.sum()) / (len(part) * demand.step_s * demand.rate)) if len(part) else 0
    return min(max(needed, least), most)


def _fitted(planned: Sequence[Planned], total: int) -> list[Planned]:
    """With no more replicas at the beginning than there are: those with the most give first, none below its fewest."""
    counts = [one.service.start_replicas or 0 for one in planned]
    fewest = [one.service.bounds.least for one in planned]
    if sum(fewest) > total:
        raise UserError(f"--replicas-total {total}: the services need {sum(fewest)} at least (minReplicas)")
    while sum(counts) > total:
        at = max(range(len(counts)), key=lambda place: counts[place] - fewest[place])
        counts[at] -= 1
    return [
        replace(one, service=replace(one.service, start_replicas=count))
        for one, count in zip(planned, counts, strict=True)
    ]


# Policies


def _policies(options: PlanOptions, planned: Sequence[Planned]) -> tuple[list[Variant], bool]:
    """The services' own first; whether the oracle is asked for."""
    own = {one.name: one.subject.own for one in planned}
    alike = len(set(own.values())) == 1
    variants = [Variant(next(iter(own.values())) if alike else OWN, own)]
    asked = list(DEFAULT_POLICIES) if options.policies is None else named.split(options.policies)
    if not asked:
        raise UserError("--policies names none")
    for text in asked:
        if text == ORACLE:
            continue
        texts = {one.name: _fewest(one) if text == "fixed" else text for one in planned}
        key = next(iter(texts.values())) if len(set(texts.values())) == 1 else text
        # What the file already says under another name isn't run twice: its own `hpa-cpu:target=80%` for `hpa-cpu`.
        same = key == variants[0].key or (options.policies is None and text == variants[0].key.partition(":")[0])
        if not same and key not in {variant.key for variant in variants}:
            variants.append(Variant(key, texts))
    return variants, ORACLE in asked


def _fewest(one: Planned) -> str:
    bounds = one.service.bounds
    return f"fixed:{min(max(one.demand.fewest(LATE_ALLOWED), bounds.least), bounds.most)}"


def _clipped(variants: Sequence[Variant], planned: Sequence[Planned]) -> list[str]:
    """What `fixed:N` outside a service's bounds really is."""
    found = []
    for variant in variants:
        for one in planned:
            name, _, count = variant.texts[one.name].partition(":")
            bounds = one.service.bounds
            if name == "fixed" and count.isdecimal() and not bounds.least <= int(count) <= bounds.most:
                held = min(max(int(count), bounds.least), bounds.most)
                found.append(
                    f"fixed:{count} is {held} replicas of {one.name}: it has {bounds.least} to {bounds.most}"
                    " (--min-replicas, --max-replicas)"
                )
    return found


def _check_policies(study: Study) -> None:
    for variant in study.variants:
        for one in study.planned:
            try:
                named.make(variant.texts[one.name], one.service.bounds)
            except ValueError as error:
                raise UserError(f"--policies: {error}") from None


# What people should know of it


def _facts(options: PlanOptions, planned: Sequence[Planned], nodes: Sequence[NodeClass]) -> list[str]:
    factors = (("faster", options.speedup), ("scaled", options.scale))
    changes = [f"{value:g}x {name}" for name, value in factors if value != 1]
    if options.mean_replicas is not None:
        changes.append(f"scaled to a mean of {options.mean_replicas:g} replicas")
    if options.slice is not None:
        changes.insert(0, f"slice {options.slice}")
    source = ", ".join([*(text.rpartition("/")[2] for text in options.traces), *changes])
    several = len(planned) > 1
    found = []
    if several:
        room = f"; {options.replicas_total} replicas for all" if options.replicas_total is not None else ""
        total = sum(one.demand.total for one in planned)
        found.append(f"{source}: {len(planned)} services, {total:,} requests{room}")
    found += [f"{one.name if several else source}: {_traffic(one)}" for one in planned]
    abilities = [_ability(one) for one in planned]
    if len(set(abilities)) == 1:
        found.append(f"{'each' if several else planned[0].name}: {abilities[0]}")
    else:
        found += [f"{one.name}: {ability}" for one, ability in zip(planned, abilities, strict=True)]
    if nodes:
        found.append("nodes: " + ", ".join(f"{one.name} in {format_duration(one.provisioning_s)}" for one in nodes))
    return found


def _traffic(one: Planned) -> str:
    demand = one.demand
    peak = int(demand.counts.max(initial=0)) / demand.step_s
    return (
        f"{demand.total:,} requests in {format_duration(round(one.prepared.duration_s))}, mean "
        f"{_rate(demand.total / max(demand.seconds, 1e-9))}, peak {_rate(peak)}"
    )


def _ability(one: Planned) -> str:
    bounds = one.service.bounds
    within = f" within {format_duration(bounds.p99_s)}" if bounds.p99_s is not None else ""
    return (
        f"{inputs.told(one.service.profile)}; a replica answers about {_rate(one.demand.rate)}{within}; {bounds.least} "
        f"to {bounds.most} replicas"
    )


def _rough(value: float) -> str:
    return f"{value:,.0f}" if value < 1e9 else f"{value:.3g}"


def _rate(value: float) -> str:
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.3g}/s"
