"""What to do, from what was simulated: the cheapest policy that keeps the budget, whether more replicas held ready
would pay and at which hours, and where latency and cost can't both hold. Pure: rows and timelines in, words out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from plimsoll.sim.foreseen import Demand, surges
from plimsoll.sim.report import LATE_ALLOWED, Advice, Goals, Money, Row, amount, price, share
from plimsoll.sim.result import ServiceResult
from plimsoll.sim.scenario import Service

_CONCENTRATED = 0.5  # the share of all misses that makes an hour worth naming
_SPAN = 1 / 24  # of the whole trace, where it is longer than a day is an hour
_NAMED = 3  # breaches in a line
_CLEAR = 0.05  # cheaper by less isn't worth a change
_EASY = 1.15  # a fixed count within this of the cheapest: the trace asks nothing of a scaler


@dataclass(frozen=True, slots=True)
class Tried:
    """A change of the service's settings, simulated under its own policy. `setting`: as in the file."""

    kind: str  # "minimum" | "spares"
    setting: str
    row: Row


def concluded(
    service: Service,
    own: Row | None,
    rows: Sequence[Row],
    tried: Sequence[Tried],
    result: ServiceResult | None,
    goals: Goals,
    demand: Demand,
    money: Money,
) -> list[Advice]:
    """`rows`: of one service, the oracle's too; `own`: under the file's own policy, with `result` its timelines."""
    found = [*cheapest(own, rows, money)]
    if own is not None and goals.p99_s is not None:
        if own.missed_share > LATE_ALLOWED and demand.lost_share(service.bounds.most) <= LATE_ALLOWED:
            found += surges(service, demand, money)
        found += pays(own, tried, money)
        if result is not None:
            found += hours(result, demand, money, service.bounds.most)
    return found + both(rows, goals, money)


def worth(row: Row) -> float:
    """What policies are compared by: money, or replica-hours where nothing has a price."""
    return row.replica_hours if row.cost is None else row.cost


def cheapest(own: Row | None, rows: Sequence[Row], money: Money) -> list[Advice]:
    """Which policy keeps the budget for least."""
    run = [row for row in rows if row.name != "oracle"]
    kept = sorted((row for row in run if row.keeps), key=worth)
    if not run:
        return []
    service = run[0].service
    if not kept:
        best = min(run, key=lambda row: row.missed_share)
        why = "; ".join(best.broken[:_NAMED])
        rest = f"; and {len(best.broken) - _NAMED} more" if len(best.broken) > _NAMED else ""
        text = f"none of these policies keeps the budget; nearest is {best.name}: {why}{rest}"
        return [Advice("broken", text, service, {"nearest": best.name})]
    best = kept[0]
    told = {"policy": best.name, "cost": best.cost, "replica_hours": best.replica_hours}
    if own is None or own.name == best.name:
        text = f"{best.name} is the cheapest that keeps the budget: {_worth(best, money)}"
        if len(kept) > 1 and worth(kept[1]) > worth(best) * (1 + _CLEAR):
            text += f"; next is {kept[1].name} with {_worth(kept[1], money)}"
    elif not own.keeps:
        text = f"{own.name} breaks the budget; {best.name} is the cheapest that keeps it: {_worth(best, money)}"
    elif worth(own) <= worth(best) * (1 + _CLEAR):
        text = f"{own.name} keeps the budget within {_CLEAR:.0%} of the cheapest, {best.name} ({_worth(best, money)})"
    else:
        more = worth(own) / worth(best) - 1 if worth(best) else 0.0
        takes = f"{own.name} takes {_worth(own, money)}, {more:.0%} more"
        text = f"{best.name} keeps the budget for {_worth(best, money)}; {takes}"
    found = [Advice("cheapest", text, service, told)]
    fixed = [row for row in kept if row.name.startswith("fixed") and worth(row) <= worth(best) * _EASY]
    if fixed and len(kept) > 1:
        text = f"{fixed[0].name} keeps it too, for {_worth(fixed[0], money)}: this traffic asks little of a scaler, " \
            "so it doesn't tell the others apart"  # fmt: skip
        found.append(Advice("easy", text, service, {"fixed": fixed[0].name}))
    return found


def pays(own: Row, tried: Sequence[Tried], money: Money) -> list[Advice]:
    """Of each kind of change the best, with what it brings and costs."""
    found = []
    for kind, name in (("minimum", "minimum replicas"), ("spares", "spares")):
        mine = [one for one in tried if one.kind == kind]
        if not mine:
            continue
        keeping = [one for one in mine if one.row.keeps]
        best = (
            min(keeping, key=lambda one: worth(one.row)) if keeping else min(mine, key=lambda one: len(one.row.broken))
        )
        fewer = 1 - best.row.missed_share / own.missed_share if own.missed_share else 0.0
        extra = worth(best.row) - worth(own)
        told = {"setting": best.setting, "missed_share": best.row.missed_share, "cost": best.row.cost,
                "replica_hours": best.row.replica_hours, "keeps_budget": best.row.keeps}  # fmt: skip
        change = f"{best.setting} (simulated): {share(best.row.missed_share)} late or refused instead of " \
            f"{share(own.missed_share)}, {_difference(best.row, own, money)}"  # fmt: skip
        if extra < -_CLEAR * worth(own) and best.row.keeps:
            text = f"{change}; it keeps the budget for less"
        elif best.row.keeps and not own.keeps:
            text = f"more {name} pay: {change}; the budget holds then"
        elif fewer >= 0.25 and not own.keeps:
            text = f"more {name} help, and don't suffice: {change}"
        elif own.keeps:
            text = f"more {name} don't pay: the budget holds without ({change})"
        else:
            text = f"more {name} don't pay: {change}"
        found.append(Advice(kind, text, own.service, told))
    return found


def hours(result: ServiceResult, demand: Demand, money: Money, most: int) -> list[Advice]:
    """Where misses come together in time: the fewest replicas that would have been enough then, and what they cost. An
    estimate from the timeline: a step's misses count as mended where so many replicas would have answered its load."""
    line = result.timeline
    missed, ready = np.asarray(line.missed), np.asarray(line.ready)
    total = int(missed.sum())
    if not total or result.missed_share <= LATE_ALLOWED / 4:
        return []
    per = max(1, round(_span_s(demand) / line.step_s))
    groups = np.add.reduceat(missed, np.arange(0, len(missed), per))
    worst = int(groups.argmax())
    if groups[worst] < _CONCENTRATED * total or len(groups) < 3:
        return []
    begin, end = worst * per, min((worst + 1) * per, len(missed))
    needed = np.ceil(np.asarray(line.offered[begin:end]) / (demand.rate * line.step_s)).astype(np.int64)
    lacking = needed[(missed[begin:end] > 0) & (needed > ready[begin:end])]
    if not len(lacking):
        return []
    least = min(most, ceil(float(np.quantile(lacking, 0.9))))
    mended = int(missed[begin:end][needed <= least].sum())
    if mended < 0.25 * total or least <= int(ready[begin:end].min()):
        return []
    extra_hours = float(np.maximum(least - np.asarray(line.wanted[begin:end]), 0).sum()) * line.step_s / 3600
    cost = (
        f"{extra_hours:.2f} more replica-hours"
        if money.replica_hour is None
        else f"{price(extra_hours * money.replica_hour, money.currency)} more"
    )
    when = demand.times.between(begin * line.step_s, end * line.step_s)
    text = (
        f"minReplicas {least} {when} removes about {mended / total:.0%} of the late and refused for {cost} "
        "(estimated from the timeline)"
    )
    evidence = {"least": least, "from_s": begin * line.step_s, "to_s": end * line.step_s, "removes": mended / total,
                "replica_hours": extra_hours}  # fmt: skip
    return [Advice("hours", text, result.service, evidence)]


def _span_s(demand: Demand) -> float:
    """Simulated seconds of the stretches that are compared: an hour of the recording, less where it is short."""
    return min(3600.0 / demand.times.speedup, demand.seconds * _SPAN)


def both(rows: Sequence[Row], goals: Goals, money: Money) -> list[Advice]:
    """Where even the oracle's replicas cost more than the budget for cost allows."""
    oracle = next((row for row in rows if row.name == "oracle" and row.cost is not None), None)
    if oracle is None or goals.cost_per_million is None or not oracle.offered or oracle.cost is None:
        return []
    per_million = oracle.cost / oracle.offered * 1e6
    if per_million <= goals.cost_per_million:
        return []
    pays, allows = price(per_million, money.currency), price(goals.cost_per_million, money.currency)
    text = (
        f"latency and cost can't both hold on this traffic: even the oracle pays {pays} for a million requests, the "
        f"budget allows {allows}. budget.cost.whenExceeded says which one gives: Warn keeps latency, CapReplicas cost"
    )
    return [Advice("cost", text, oracle.service, {"oracle_per_million": per_million})]


def changes(own: Row, least: int, most: int, spares: int | None, enough: int) -> list[tuple[str, int]]:
    """(kind, value) of the changes worth simulating: more held ready where the budget breaks or nearly does, less where
    it holds easily. `enough`: the fewest replicas always on that could keep the budget alone."""
    if not own.keeps or own.missed_share > LATE_ALLOWED / 2:
        minima = sorted({(least + enough + 1) // 2, enough} & set(range(least + 1, most + 1)))
        return [*(("minimum", one) for one in minima), *([("spares", (spares or 0) + 1)] if least < most else [])]
    return [*([("minimum", least - 1)] if least > 1 else []), *([("spares", 0)] if spares else [])]


def _worth(row: Row, money: Money) -> str:
    return f"{amount(row.replica_hours)} replica-hours" if row.cost is None else price(row.cost, money.currency)


def _difference(row: Row, own: Row, money: Money) -> str:
    extra = worth(row) - worth(own)
    sign, word = ("+", "more") if extra >= 0 else ("", "less")
    share_of = f"{sign}{extra / worth(own):.0%}" if worth(own) else word
    return f"{_worth(row, money)} instead of {_worth(own, money)} ({share_of})"
