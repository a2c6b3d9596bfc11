"""From simulated results to the rows of a plan: the oracle beside each, what it costs, and advice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from plimsoll import __version__
from plimsoll.app.plan_run import Done, Watch
from plimsoll.app.plan_study import Planned, Study, Variant
from plimsoll.sim.advice import Tried, cheapest, concluded
from plimsoll.sim.capacity import capacity_for
from plimsoll.sim.oracle import oracle
from plimsoll.sim.report import ALL, LATE_ALLOWED, About, Advice, Report, Row, oracle_row, row_of, sum_row
from plimsoll.sim.result import Result, ServiceResult

HOUR_S = 3600.0


class Bound:
    """The oracle's replica-seconds, by service and share late or refused; None without a latency budget, or where
    nobody asked for it: measuring what a replica can do takes seconds."""

    def __init__(self, *, asked: bool, total: int, watch: Watch) -> None:
        self._found: dict[tuple[str, float], float] = {}
        self.asked, self._total, self._watch = asked, total, watch
        self.interrupted = False

    def least_s(self, one: Planned, late_share: float) -> float | None:
        bounds = one.service.bounds
        if bounds.p99_s is None or not self.asked:
            return None
        key = one.name, float(f"{late_share:.3g}")
        if key not in self._found:
            try:
                self._found[key] = _least_s(one, key[1])
            except KeyboardInterrupt:
                self.asked, self.interrupted = False, True
                return None
            self._watch({"": min(len(self._found) / self._total, 1.0)})
        return self._found[key]


def _least_s(one: Planned, late_share: float) -> float:
    bounds = one.service.bounds
    return oracle(
        one.demand.counts,
        one.demand.step_s,
        capacity=capacity_for(one.service, late_share),
        cold_s=one.service.profile.cold_s,
        late_share=late_share,
        least=bounds.least,
        most=bounds.most,
        wait_s=bounds.p99_s or 0.0,
    ).replica_s


@dataclass(slots=True)
class Extra:
    """A change of the settings, simulated beside the policies: see `sim.advice.Tried`."""

    kind: str
    setting: str
    variant: Variant


def make_report(
    study: Study, done: Done, extras: Sequence[Extra], notes: Sequence[str], began: float, watch: Watch
) -> Report:
    """`done`: of the study's variants and of the extras'. `began`: as of `perf_counter`. `watch`: of the oracle."""
    total = (len(study.variants) + len(extras) + 1) * len(study.planned)
    bound = Bound(asked=study.oracle and not done.interrupted, total=total, watch=watch)
    rows: list[Row] = []
    for variant in study.variants:
        if variant.key in done.results:
            rows += _rows(study, variant, done.results[variant.key], bound)
    if study.oracle:
        rows += _oracle_rows(study, bound)
    tried = [
        Tried(
            extra.kind,
            extra.setting,
            _row(study, study.planned[0], extra.variant, done.results[extra.variant.key], bound),
        )
        for extra in extras
        if extra.variant.key in done.results
    ]
    measured = _measured(study, bound)
    advice = [*study.early, *_advice(study, rows, tried, done)]
    about = About(
        version=__version__,
        seed=study.options.seed,
        requests=sum(one.demand.total for one in study.planned),
        seconds=study.seconds,
        facts=study.facts,
        own=study.own,
        goals={one.name: one.subject.goals for one in study.planned},
        money=study.money,
        measured=measured,
        notes=[*study.notes, *notes, *(f"{key} failed: {why}" for key, why in done.failed.items())],
        fast=study.options.fast,
        wall_s=perf_counter() - began,
        interrupted=done.interrupted or bound.interrupted,
    )
    return Report(about, rows, advice, {key: done.results[key] for key in _keys(study) if key in done.results})


def _measured(study: Study, bound: Bound) -> list[str]:
    """What a replica can do, as the simulator measured it for the oracle, beside the formula's."""
    if not bound.asked:
        return []
    found: dict[str, str] = {}
    for one in study.planned:
        if one.service.bounds.p99_s is not None:
            rate = capacity_for(one.service, LATE_ALLOWED)
            text = f"{rate:,.3g}/s at 1% late or refused as simulated, {one.demand.rate:,.3g}/s by formula"
            found.setdefault(text, one.name)
    return [
        f"the oracle's replica{f' of {name}' if len(found) > 1 else ''} answers {text}" for text, name in found.items()
    ]


def _keys(study: Study) -> list[str]:
    return [variant.key for variant in study.variants]


def _rows(study: Study, variant: Variant, result: Result, bound: Bound) -> list[Row]:
    found = [_row(study, one, variant, result, bound) for one in study.planned]
    if len(found) == 1:
        return found
    parts = [bound.least_s(one, mine.missed_share) for one, mine in zip(study.planned, result.services, strict=True)]
    least_s = sum(part for part in parts if part is not None) if None not in parts else None
    costs = [row.cost for row in found]
    cost = result.cost if study.nodes else sum(one for one in costs if one is not None) if None not in costs else None
    return [*found, sum_row(variant.key, result, found, least_s, cost)]


def _row(study: Study, one: Planned, variant: Variant, result: Result, bound: Bound) -> Row:
    mine = _of(result, one.name)
    single = len(study.planned) == 1
    node_hours = sum(result.node_s.values()) / HOUR_S if study.nodes and single else None
    return row_of(
        mine,
        variant.name_for(one.name),
        one.subject.goals,
        cost=_cost(study, one, result, mine),
        node_hours=node_hours,
        oracle_s=bound.least_s(one, mine.missed_share),
    )


def _of(result: Result, service: str) -> ServiceResult:
    return next(one for one in result.services if one.service == service)


def _cost(study: Study, one: Planned, result: Result, mine: ServiceResult) -> float | None:
    """With nodes what they cost, which several services share; else replicas by their price, spares too."""
    if study.nodes:
        return result.cost if len(study.planned) == 1 else None
    price = one.service.bounds.price_per_hour
    return mine.replica_s / HOUR_S * price if price else None


def _oracle_rows(study: Study, bound: Bound) -> list[Row]:
    found = []
    for one in study.planned:
        least_s = bound.least_s(one, LATE_ALLOWED)
        if least_s is not None:
            price = one.service.bounds.price_per_hour
            cost = least_s / HOUR_S * price if price and not study.nodes else None
            found.append(oracle_row(one.name, one.demand.total, least_s, LATE_ALLOWED, cost))
    return found


def _advice(study: Study, rows: Sequence[Row], tried: Sequence[Tried], done: Done) -> list[Advice]:
    if done.interrupted:
        return []
    found: list[Advice] = []
    own_key = study.variants[0].key
    together = [row for row in rows if row.service == ALL]
    if together:
        found += cheapest(next((row for row in together if row.name == own_key), None), together, study.money)
    for one in study.planned:
        mine = [row for row in rows if row.service == one.name]
        own = next((row for row in mine if row.name == study.own[one.name]), None)
        result = _of(done.results[own_key], one.name) if own_key in done.results else None
        price = one.service.bounds.price_per_hour or None
        money = replace(study.money, replica_hour=price)
        told = concluded(one.service, own, mine, tried, result, one.subject.goals, one.demand, money)
        # Of several services one policy decides: what is cheapest is said of them together.
        found += [word for word in told if not together or word.kind not in {"cheapest", "broken", "easy"}]
    return found
