"""What `scaling.py` found as rows for the documents: the budget scaler beside the oracle, its peers and the bars."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from table import Row

MOST_MISSED, MOST_WORST, MOST_MEAN = 0.01, 1.2, 1.15  # of the list, at the shortest cold start
OF_PEERS = {8.0: 0.75, 60.0: 0.9}
OF_HINDSIGHT = 1.1
SLOW_MISSED, SLOW_WORST = 0.02, 1.3
FRONTIER = (0.005, 0.1)


class Outcome(Protocol):
    """`cold_s`: until a replica is useful. `ratio`: to the oracle at the same share missed (late or refused)."""

    @property
    def case(self) -> str: ...
    @property
    def policy(self) -> str: ...
    @property
    def cold_s(self) -> float: ...
    @property
    def missed(self) -> float: ...
    @property
    def ratio(self) -> float: ...
    @property
    def replica_hours(self) -> float: ...
    @property
    def acts(self) -> int: ...
    @property
    def fast(self) -> bool: ...


def rows_of(found: Mapping[str, Sequence[Outcome]]) -> list[Row]:
    """`found`: what each part of the benchmark found, by the part's name."""
    shared = found.get("list", ())
    rows: list[Row] = []
    for cold_s in sorted({one.cold_s for one in shared}):
        rows += _shared([one for one in shared if one.cold_s == cold_s], cold_s)
    rows += _hindsight(found.get("hindsight", ()))
    rows += _fixed(found.get("fixed", ()))
    rows += _slow(found.get("nodes", ()))
    rows += _frontier(found.get("frontier", ()))
    return rows + _noise(found.get("noise", ()))


def _is_budget(one: Outcome) -> bool:
    return one.policy.partition(":")[0] == "budget"


def _mean(some: Sequence[Outcome]) -> float:
    return sum(one.ratio for one in some) / len(some)


def _shared(some: Sequence[Outcome], cold_s: float) -> list[Row]:
    part, first = f"cold start {cold_s:g} s", cold_s == 8.0
    fluid = [one for one in some if one.fast]
    ours = [one for one in fluid if _is_budget(one)]
    rows = _worst(part, f"budget, {len(ours)} traces", ours, bars=first)
    slow = [one for one in some if not one.fast and _is_budget(one)]
    rows += _worst(part, f"the same request by request, {len(slow)} traces", slow, bars=first)
    for peer in dict.fromkeys(one.policy.partition(":")[0] for one in fluid if not _is_budget(one)):
        theirs = [one for one in fluid if one.policy.partition(":")[0] == peer]
        against = f"{theirs[0].policy}: {_mean(theirs):.2f}x"
        bar = f"≤ {OF_PEERS[cold_s]}" if cold_s in OF_PEERS else ""
        rows.append(
            Row(part, f"budget beside {peer}, mean", f"{_mean(ours):.2f}x", against, _mean(ours) / _mean(theirs), bar)
        )
    return rows


def _worst(part: str, who: str, some: Sequence[Outcome], *, bars: bool) -> list[Row]:
    if not some:
        return []
    late, dear, mean = max(some, key=lambda one: one.missed), max(some, key=lambda one: one.ratio), _mean(some)
    figures = (
        ("missed at worst", f"{late.missed:.2%}", f"1%; {late.case}", late.missed / MOST_MISSED, 1.0),
        ("cost at worst", f"{dear.ratio:.2f}x", f"oracle; {dear.case}", dear.ratio, MOST_WORST),
        ("cost, mean", f"{mean:.2f}x", "oracle", mean, MOST_MEAN),
    )
    return [
        Row(part, f"{who}: {what}", figure, against, ratio, _bar(bars, bar))
        for what, figure, against, ratio, bar in figures
    ]


def _bar(wanted: bool, value: float) -> str:
    return f"≤ {value}" if wanted else ""


def _hindsight(some: Sequence[Outcome]) -> list[Row]:
    """One default beside peers that were tuned for each trace, knowing it: the mean is held to the bar."""
    peers = {one.case: one for one in some if not _is_budget(one)}
    costs = {
        one.case: one.replica_hours / peers[one.case].replica_hours
        for one in some
        if _is_budget(one) and one.case in peers
    }
    if not costs:
        return []
    mean, worst = sum(costs.values()) / len(costs), max(costs, key=lambda case: costs[case])
    part, against = "cold start 8 s", "the cheapest peer for each trace by itself"
    return [
        Row(part, "budget's cost, mean", f"{mean:.2f}x", against, mean, f"≤ {OF_HINDSIGHT}"),
        Row(part, "budget's cost, worst", f"{costs[worst]:.2f}x", f"the same; {worst}", costs[worst]),
    ]


def _fixed(some: Sequence[Outcome]) -> list[Row]:
    """The fewest always on that keep 1%: where it costs little a trace proves nothing."""
    if not some:
        return []
    least, mean = min(some, key=lambda one: one.ratio), _mean(some)
    part, what = "cold start 8 s", "fixed, the fewest for each trace by itself"
    return [
        Row(part, f"{what}: cost, mean", f"{mean:.2f}x", "oracle", mean),
        Row(part, f"{what}: least", f"{least.ratio:.2f}x", f"oracle; {least.case}", least.ratio),
    ]


def _noise(some: Sequence[Outcome]) -> list[Row]:
    if not some:
        return []
    worst = max(some, key=lambda one: one.acts)
    what = f"{len(some)} rates from {some[0].case} to {some[-1].case}: changes of direction in 5 minutes, most"
    return [Row("steady load", what, str(worst.acts), "1", float(worst.acts), "≤ 1.0")]


def _slow(some: Iterable[Outcome]) -> list[Row]:
    rows: list[Row] = []
    for one in some:
        part, bars = "nodes of 180 s", one.case.endswith("x4")
        missed = one.missed / SLOW_MISSED
        rows.append(
            Row(part, f"{one.case}: missed", f"{one.missed:.2%}", f"{SLOW_MISSED:.0%}", missed, _bar(bars, 1.0))
        )
        rows.append(Row(part, f"{one.case}: cost", f"{one.ratio:.2f}x", "oracle", one.ratio, _bar(bars, SLOW_WORST)))
    return rows


def _frontier(some: Sequence[Outcome]) -> list[Row]:
    """Each setting of ours beside the cheapest of the others that misses no more."""
    rows: list[Row] = []
    for ours in sorted((one for one in some if _is_budget(one)), key=lambda one: one.missed):
        if FRONTIER[0] <= ours.missed <= FRONTIER[1]:
            others = [one for one in some if not _is_budget(one) and one.missed <= ours.missed]
            what, figure = f"{ours.policy}, {ours.missed:.2%} missed", f"{ours.replica_hours:.1f} replica-hours"
            if others:
                best = min(others, key=lambda one: one.replica_hours)
                against = f"{best.policy}, {best.missed:.2%}: {best.replica_hours:.1f}"
                rows.append(Row("azure_code", what, figure, against, ours.replica_hours / best.replica_hours, "≤ 1.0"))
            else:
                rows.append(Row("azure_code", what, figure, "nobody else misses as little"))
    return rows
