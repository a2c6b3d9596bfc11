"""The report as one page that opens offline: inline SVG and CSS, no scripts, nothing fetched."""

from collections.abc import Callable
from html import escape

from plimsoll.drawing.page import comment, page, table, tiles
from plimsoll.load.charts import distribution, timeline
from plimsoll.load.report import Report, figure, line_of, made_json, ordered, rate, verdict, where_time_went
from plimsoll.load.tally import ms


def render_html(report: Report) -> str:
    bad = " bad" if report.breached else ""
    body = (
        f'<h1>Load on <code>{escape(report.url)}</code></h1>\n<div class="soft">{escape(_facts(report))}</div>\n'
        f'<div class="verdict{bad}">{escape(verdict(report))}</div>\n'
        f"{_tiles(report)}\n<h2>Over time</h2>\n{timeline(report)}\n"
        f"<h2>Latency of accepted requests</h2>\n{distribution(report)}\n"
        f'<div class="columns">{_outcomes(report)}{_latencies(report)}</div>\n{_refusals(report)}'
        f'<p class="soft">{escape(_method(report))}</p>\n{comment(made_json(report))}'
    )
    return page(f"plimsoll load: {report.url}", body)


def report_line(report: Report, paint: Callable[[str, str], str] = lambda text, style: text) -> str:
    """The report's figures as one line, as in the live view; rates are means over the run."""
    seconds = report.duration_s or 1.0
    sketches = report.sketches
    quantile = sketches.latency.quantile
    return line_of(
        report.offered_per_s,
        {outcome: count / seconds for outcome, count in report.outcomes.items()},
        {"p50": ms(quantile(0.5)), "p95": ms(quantile(0.95)), "p99": ms(quantile(0.99))},
        ms(sketches.queue.quantile(0.99)),
        ms(sketches.compute.quantile(0.99)),
        budget=report.budget,
        replicas=replicas_text(report.replicas),
        paint=paint,
    )


def replicas_text(replicas: tuple[int, int] | None) -> str:
    if replicas is None:
        return ""
    first, last = replicas
    return f"{first}" if first == last else f"{first} -> {last}"


def _facts(report: Report) -> str:
    facts = f"{report.offered:,} requests in {report.duration_s:.3g} s, {report.arrivals}, seed {report.seed}"
    if report.replicas is not None:
        facts += f", replicas {replicas_text(report.replicas)}"
    went = where_time_went(report)
    facts += f", time: {went}" if went else ""
    return facts + (", ended early" if report.interrupted else "")


def _method(report: Report) -> str:
    lag = figure(ms(report.sketches.lag.quantile(0.99)))
    return (
        "Open loop: requests are sent when the schedule says, whatever the answers do, and latency counts from that "
        f"moment. Goodput: accepted within {report.deadline_s:g} s. No answer within {report.timeout_s:g} s: hung. "
        f"The client's own lag: p99 {lag} ms. Quantiles are right to 2.5%."
    )


def _tiles(report: Report) -> str:
    share = f"{report.in_time / report.offered:.1%}" if report.offered else "-"
    allowed = f" of {figure(ms(report.budget.p99_s))} ms" if report.budget.p99_s is not None else ""
    pairs = (
        (f"{rate(report.offered_per_s)}/s", "offered"),
        (f"{rate(report.goodput_per_s)}/s", "goodput"),
        (share, "of offered answered in time"),
        (_milliseconds(report.sketches.latency.quantile(0.99)), f"p99{allowed}"),
        (_milliseconds(report.sketches.refusal.quantile(0.99)), "p99 of refusals"),
        (f"{report.hung:,}", "hung"),
    )
    return tiles(pairs)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{figure(ms(seconds))} ms"


def _outcomes(report: Report) -> str:
    rows = [(name, f"{count:,}", f"{count / report.offered:.2%}") for name, count in ordered(report.outcomes).items()]
    return f"<div><h2>Outcomes</h2>{table(('outcome', 'requests', 'share'), rows)}</div>"


def _latencies(report: Report) -> str:
    sketches = report.sketches
    shares = (0.5, 0.9, 0.95, 0.99, 0.999)
    rows = [
        (name, *(figure(ms(sketch.quantile(share))) for share in shares))
        for name, sketch in (
            ("accepted", sketches.latency),
            *((f"of them {outcome}", sketch) for outcome, sketch in sorted(report.apart.items())),
            ("queue", sketches.queue),
            ("compute", sketches.compute),
            ("refused", sketches.refusal),
            ("client's lag", sketches.lag),
        )
        if sketch.count
    ]
    return f"<div><h2>Milliseconds</h2>{table(('', *(f'p{share * 100:g}' for share in shares)), rows)}</div>"


def _refusals(report: Report) -> str:
    told = dict(report.refusals or {})
    if report.last_failure:
        told["a failed connection"] = report.last_failure
    if not told:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td><code>{escape(text)}</code></td></tr>" for name, text in told.items()
    )
    return f"<h2>One answer of each other kind</h2>\n<table>{rows}</table>\n"
