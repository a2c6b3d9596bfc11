"""`plimsoll status`: one row a service, and below it what a reader would ask next.

`rows` and `notes` are plain text from one ServiceStatus of the admin API; only `render` knows rich.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plimsoll.core.outcome import CLIENTS_DOING, ERRORS
from plimsoll.core.units import format_bytes
from plimsoll.telemetry.logs import parse, readable

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = (
    "SERVICE", "REVISION", "READY", "REQ/S", "P50 (BUDGET)", "P95 (BUDGET)", "P99 (BUDGET)", "ERRORS (BUDGET)", "PHASE",
)  # fmt: skip
_PHASE_STYLES = {"Ready": "green", "Progressing": "cyan", "Degraded": "yellow", "Failed": "red"}
LOG_LINES = 5


def milliseconds(seconds: float | None) -> str:
    """Three figures at most: `0.62ms`, `18ms`, `1.2s`; `-` for what nobody measured yet."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    if 0 < value < 0.01:
        return "<0.01ms"
    if value >= 1000:
        return f"{seconds:.2g}s" if seconds < 10 else f"{seconds:.0f}s"
    return f"{value:.0f}ms" if value >= 10 else f"{value:.1f}ms" if value >= 1 else f"{value:.2f}ms"


def share(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 100:.3g}%"


def error_share(outcomes: Mapping[str, int]) -> float | None:
    """Errors over everything but what the client got wrong; None before the first request."""
    counted = sum(count for outcome, count in outcomes.items() if outcome not in CLIENTS_DOING)
    if not counted:
        return None
    return sum(count for outcome, count in outcomes.items() if outcome in ERRORS) / counted


def rate(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _against(text: str, budget: str, over: bool) -> tuple[str, bool]:
    return (f"{text} ({budget})" if budget != "-" else text) + ("!" if over else ""), over


def cells(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row: (text, style) by column. A figure over its budget ends in `!`, also where there are no colours."""
    budget, latency = status.get("budget") or {}, status.get("latency") or {}
    row = [
        (str(status["name"]), "bold"),
        (revision(status), ""),
        (ready(status), ""),
        (rate(status.get("requests_per_s")), ""),
    ]
    for key in ("p50_s", "p95_s", "p99_s"):
        seen, allowed = latency.get(key), budget.get(key)
        over = seen is not None and allowed is not None and seen > allowed
        text, over = _against(milliseconds(seen), milliseconds(allowed), over)
        row.append((text, "red" if over else ""))
    errors, allowed = error_share(status.get("outcomes") or {}), budget.get("error_rate")
    if errors is None:
        errors = status.get("error_share")  # a cluster counts for itself
    over = errors is not None and allowed is not None and errors > allowed
    text, over = _against(share(errors), share(allowed), over)
    row.append((text, "red" if over else ""))
    phase = str(status.get("phase", ""))
    row.append((phase, _PHASE_STYLES.get(phase, "")))
    return row


def revision(status: Mapping[str, Any]) -> str:
    """`3 mood-7c9e41a`; on a cluster, where revisions have no number here, the name alone."""
    number, name = status.get("revision_number"), str(status.get("revision") or "")
    return name if number == "" and name else f"{number or '-'} {name}".rstrip()


def counts(status: Mapping[str, Any]) -> str:
    """`2/3`: ready of wanted."""
    replicas = status.get("replicas") or {}
    return f"{replicas.get('ready', 0)}/{replicas.get('wanted', 0)}"


def ready(status: Mapping[str, Any]) -> str:
    """`2/3 (1-8)`: with the bounds, where something scales between them."""
    scaling = status.get("scaling") or {}
    least, most = scaling.get("min_replicas"), scaling.get("max_replicas")
    return counts(status) + (f" ({least}-{most})" if least != most else "")


def lasting(seconds: float) -> str:
    """`42s`, `12m`, `1h 5m`: as exact as anybody asks."""
    if seconds < 99.5:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if minutes else f"{hours}h"


def notes(status: Mapping[str, Any], now: float = 0.0) -> list[tuple[str, str]]:
    """(text, style) lines below the table: what went wrong, what to change, what this place can't honour. `now`: unix
    seconds."""
    lines: list[tuple[str, str]] = []
    if status.get("message") and status.get("phase") != "Ready":
        lines.append((str(status["message"]), _PHASE_STYLES.get(str(status.get("phase")), "")))
    for instance in status.get("instances") or []:
        again = instance.get("phase") == "starting" and instance.get("reason")  # it has failed before
        if instance.get("phase") not in {"failed", "backing_off"} and not again:
            continue
        reason = instance.get("reason") or "ended without a word"
        if reason not in str(status.get("message") or ""):
            lines.append((f"{instance['id']}: {reason}", "red"))
        lines += [(f"  | {line}", "dim") for line in readable_log(instance.get("log_tail") or [])[-LOG_LINES:]]
    wrong = errors_told(status)
    if wrong:
        lines.append((wrong, "yellow"))
    lines += scaling_told(status, now)
    lines += [(text, "dim") for text in answered_otherwise(status)]
    lines += [(f"hint: {hint}", "yellow") for hint in status.get("hints") or []]
    lines += [(f"not honoured here: {key}", "dim") for key in status.get("not_honoured") or []]
    return lines


def scaling_told(status: Mapping[str, Any], now: float) -> list[tuple[str, str]]:
    """Who decides the count, what was decided last and why, and what keeps it from happening."""
    scaling = status.get("scaling") or {}
    lines: list[tuple[str, str]] = []
    by_hand, left_s = scaling.get("by_hand"), scaling.get("left_s")
    scales = scaling.get("min_replicas") != scaling.get("max_replicas")
    if by_hand is not None and (scales or left_s is not None):
        until = f"for {lasting(left_s)} more, or until" if left_s is not None else "until"
        what = f"plimsoll scale {status['name']} auto" if left_s is not None else "`replicas` leaves its file"
        lines.append((f"held at {by_hand} by hand, {until}: {what}", "yellow"))
    if scaling.get("holding"):
        lines.append((str(scaling["holding"]), "yellow"))
    if scaling.get("reason"):
        lines.append((f"{scaling['policy']}: {scaling['reason']}", "dim"))
    if scaling.get("change"):
        ago = f"{lasting(max(0.0, now - scaling['changed_at']))} ago" if now else "last"
        lines.append((f"{ago}: {scaling['change']}", "dim"))
    if scaling.get("trimmed"):
        lines.append((str(scaling["trimmed"]), "yellow"))
    if scaling.get("spares"):
        spare = sum(instance.get("phase") == "spare" for instance in status.get("instances") or [])
        lines.append((f"spares: {spare}/{scaling['spares']} ready", "dim"))
    return lines


def errors_told(status: Mapping[str, Any]) -> str:
    """Which errors, where there are more than the budget allows, and where to look; else nothing."""
    outcomes, budget = status.get("outcomes") or {}, status.get("budget") or {}
    errors, allowed = error_share(outcomes), budget.get("error_rate")
    if errors is None or errors <= (allowed or 0):
        return ""
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count and outcome in ERRORS)
    return f"errors: {told}; more: plimsoll logs {status['name']}"


def answered_otherwise(status: Mapping[str, Any]) -> list[str]:
    """How much did not come from the model: answers of its cache, and those of its fallbacks."""
    outcomes, cache = status.get("outcomes") or {}, status.get("cache")
    lines = []
    if cache and cache.get("hit_share") is not None:
        cached = outcomes.get("cached", 0)
        lines.append(f"cache ({cache['backend']}): {share(cache['hit_share'])} of answers came from it, {cached:,}")
    if outcomes.get("degraded"):
        told = ", else ".join(status.get("fallback") or []) or "a fallback"
        lines.append(f"degraded: {outcomes['degraded']:,} answers came from {told}")
    return lines


# What `logs` and `status` say beside a line anyway.
_KNOWN = frozenset({"service", "revision", "replica"})


def readable_log(lines: Iterable[str]) -> list[str]:
    """Our own JSON lines as plain ones; what a model printed as it is."""
    found: list[str] = []
    for line in lines:
        record = parse(line)
        found += [line] if record is None else readable(record, hide=_KNOWN)
    return found


def instance_cells(instance: Mapping[str, Any]) -> list[str]:
    """One replica's row of `status NAME`."""
    lag, rss = instance.get("loop_lag_p99_s"), instance.get("rss_bytes")
    return [
        str(instance.get("id", "")),
        str(instance.get("phase", "")),
        str(instance.get("pid") or "-"),
        str(instance.get("restarts", 0)),
        str(instance.get("in_flight", 0) or 0),
        str(instance.get("queued", 0) or 0),
        format_bytes(rss) if rss else "-",
        milliseconds(lag),
        service_time(instance.get("service_time")),
    ]


INSTANCE_COLUMNS = (
    "REPLICA",
    "PHASE",
    "PID",
    "RESTARTS",
    "IN FLIGHT",
    "QUEUED",
    "MEMORY",
    "LOOP LAG",
    "BATCH OF n TAKES",
)


def service_time(learned: Mapping[str, Any] | None) -> str:
    if not learned or not learned.get("samples"):
        return "-"
    return f"{milliseconds(learned.get('a_s'))} + n x {milliseconds(learned.get('c_s'))}"


def render(
    statuses: Iterable[Mapping[str, Any]], *, instances: bool = False, width: int = 240, now: float = 0.0
) -> "RenderableType":
    """`instances` adds a row a replica. What `width` columns can't hold is left out, the least needed first. `now`:
    unix seconds, for how long ago things were; 0.0: they don't say."""
    from rich.console import Group
    from rich.text import Text

    statuses = list(statuses)
    parts: list[RenderableType] = [grid(COLUMNS, [cells(status) for status in statuses], width, _SPARE)]
    for status in statuses:
        lines = notes(status, now)
        if lines:
            parts.append(Text())
        for number, (text, style) in enumerate(lines):
            name = f"{status['name']}  " if number == 0 else " " * (len(status["name"]) + 2)
            parts.append(Text(name, "bold") + Text(text, style))
        if instances and status.get("instances"):
            rows = [[(text, "") for text in instance_cells(instance)] for instance in status["instances"]]
            parts += [Text(), grid(INSTANCE_COLUMNS, rows, width, _INSTANCE_SPARE)]
    return Group(*parts)


# In the order in which a narrow terminal does without them.
_SPARE = ("P50", "P95", "REVISION", "REQ/S", "ERRORS")
_INSTANCE_SPARE = ("LOOP LAG", "BATCH OF n TAKES", "MEMORY", "QUEUED", "RESTARTS", "IN FLIGHT")
_GAP = 2


def fitting(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, spare: Sequence[str]) -> list[int]:
    """The indexes of the columns to show. One that holds a breach (`!`) is the last to go."""
    shown = list(range(len(columns)))
    breached = {columns[at] for at in shown if any(row[at].endswith("!") for row in rows)}
    for column in sorted(spare, key=lambda column: column in breached):
        if _needed(columns, rows, shown) <= width:
            break
        shown.remove(columns.index(column))
    return shown


def _needed(columns: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[int]) -> int:
    widths = (max(len(columns[at]), *(len(row[at]) for row in rows), 0) for at in shown)
    return sum(widths) + _GAP * (len(shown) - 1)


def grid(
    columns: Sequence[str], rows: list[list[tuple[str, str]]], width: int, spare: Sequence[str]
) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    texts = [[text for text, _ in row] for row in rows]
    if _needed(columns, texts, range(len(columns))) > width:
        columns = [column.removesuffix(" (BUDGET)") for column in columns]
    shown = fitting(columns, texts, width, spare)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim", show_edge=False)
    for at in shown:
        table.add_column(columns[at], no_wrap=True)
    for row in rows:
        table.add_row(*(Text(*row[at]) for at in shown))
    return table
