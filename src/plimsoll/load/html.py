"""The report as one page that opens offline: inline SVG and CSS, no scripts, nothing fetched."""

from collections.abc import Callable
from html import escape

from plimsoll.load.charts import distribution, timeline
from plimsoll.load.report import Report, figure, line_of, made_json, ordered, rate, verdict, where_time_went
from plimsoll.load.tally import ms

_STYLE = """
:root { --ink:#1c2733; --soft:#5d6b7a; --line:#d9dfe6; --paper:#fff; --blue:#1f6feb; --green:#1a9c5b; --amber:#d9822b;
  --red:#d1343c; --bar:#8fb7ee; }
@media (prefers-color-scheme: dark) { :root { --ink:#e3e8ee; --soft:#94a1b0; --line:#333d49; --paper:#14191f;
  --blue:#5b9cff; --green:#3fc380; --amber:#f0a04b; --red:#ff6b70; --bar:#3a5f93; } }
* { box-sizing:border-box } body { margin:0 auto; padding:28px; max-width:1020px; color:var(--ink);
  background:var(--paper); font:15px/1.5 system-ui,sans-serif }
h1 { font-size:20px; margin:0 } h2 { font-size:15px; margin:28px 0 6px } .soft { color:var(--soft) }
.verdict { margin:14px 0 18px; padding:10px 14px; border-left:4px solid var(--green); background:color-mix(in srgb,
  var(--line) 35%, transparent); font-weight:600 } .verdict.bad { border-color:var(--red) }
.tiles { display:flex; flex-wrap:wrap; gap:10px } .tile { flex:1 1 120px; border:1px solid var(--line);
  border-radius:6px; padding:8px 12px } .tile b { display:block; font-size:20px }
table { border-collapse:collapse } td,th { text-align:right; padding:2px 14px 2px 0; font-variant-numeric:tabular-nums }
td:first-child,th:first-child { text-align:left } th { color:var(--soft); font-weight:400 }
.columns { display:flex; flex-wrap:wrap; gap:12px 56px } svg { width:100%; height:auto; display:block }
svg text { fill:var(--soft); font:11px system-ui,sans-serif } code { font-size:13px; overflow-wrap:anywhere }
"""


def render_html(report: Report) -> str:
    told = made_json(report)
    bad = " bad" if report.breached else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>plimsoll load: {escape(report.url)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>Load on <code>{escape(report.url)}</code></h1>\n<div class="soft">{escape(_facts(report))}</div>\n'
        f'<div class="verdict{bad}">{escape(verdict(report))}</div>\n'
        f"{_tiles(report)}\n<h2>Over time</h2>\n{timeline(report)}\n"
        f"<h2>Latency of accepted requests</h2>\n{distribution(report)}\n"
        f'<div class="columns">{_outcomes(report)}{_latencies(report)}</div>\n{_refusals(report)}'
        f'<p class="soft">{escape(_method(report))}</p>\n'
        f"<!-- {escape(str(told)).replace('--', '- -')} -->\n</body>\n</html>\n"
    )


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
    tiles = (
        (f"{rate(report.offered_per_s)}/s", "offered"),
        (f"{rate(report.goodput_per_s)}/s", "goodput"),
        (share, "of offered answered in time"),
        (_milliseconds(report.sketches.latency.quantile(0.99)), f"p99{allowed}"),
        (_milliseconds(report.sketches.refusal.quantile(0.99)), "p99 of refusals"),
        (f"{report.hung:,}", "hung"),
    )
    cells = "".join(f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>' for value, name in tiles)
    return f'<div class="tiles">{cells}</div>'


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{figure(ms(seconds))} ms"


def _outcomes(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{count:,}</td><td>{count / report.offered:.2%}</td></tr>"
        for name, count in ordered(report.outcomes).items()
    )
    return f"<div><h2>Outcomes</h2><table><tr><th>outcome</th><th>requests</th><th>share</th></tr>{rows}</table></div>"


def _latencies(report: Report) -> str:
    sketches = report.sketches
    shares = (0.5, 0.9, 0.95, 0.99, 0.999)
    rows = "".join(
        f"<tr><td>{name}</td>" + "".join(f"<td>{figure(ms(sketch.quantile(share)))}</td>" for share in shares) + "</tr>"
        for name, sketch in (
            ("accepted", sketches.latency),
            *((f"of them {outcome}", sketch) for outcome, sketch in sorted(report.apart.items())),
            ("queue", sketches.queue),
            ("compute", sketches.compute),
            ("refused", sketches.refusal),
            ("client's lag", sketches.lag),
        )
        if sketch.count
    )
    heads = "".join(f"<th>p{share * 100:g}</th>" for share in shares)
    return f"<div><h2>Milliseconds</h2><table><tr><th></th>{heads}</tr>{rows}</table></div>"


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
