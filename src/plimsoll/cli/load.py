"""`plimsoll load`: options, the live view, the report."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from plimsoll.cli import load_options as given
from plimsoll.cli.console import Console, err, out
from plimsoll.cli.services import Port

if TYPE_CHECKING:
    from plimsoll.app.load import LoadOptions, Plan
    from plimsoll.load import Progress, Report

_LINE_EVERY_S = 5  # where nobody looks at a terminal


def load(
    target: given.Target,
    rate: given.Rate = None,
    ramp: given.Ramp = None,
    trace: given.TraceFile = None,
    speedup: given.Speedup = 1.0,
    scale: given.Scale = 1.0,
    duration: given.Duration = None,
    arrivals: given.Kind = None,
    body: given.Body = None,
    header: given.Headers = None,
    api_key_file: given.ApiKey = None,
    tenant: given.Tenant = None,
    priority: given.Priority = None,
    unix_socket: given.UnixSocket = None,
    ca: given.Ca = None,
    insecure: given.Insecure = False,
    connections: given.Connections = 1024,
    timeout: given.Timeout = None,
    budget: given.BudgetP99 = None,
    seed: given.Seed = None,
    port: Port = None,
    as_json: given.AsJson = False,
    html: given.Html = None,
    requests: given.Requests = None,
    fail_on_breach: given.FailOnBreach = False,
) -> None:
    """Send requests at a rate of your own, whatever the answers do, and hold the answers against the budget.

    Latency counts from the moment a request should have been sent. Ctrl-C ends the run early, with its report.
    """
    from plimsoll.app.load import LoadOptions, plan_load, run

    if sum(one is not None for one in (rate, ramp, trace)) > 1:
        raise given.mistake("--rate, --ramp and --trace exclude each other")
    if trace is None and (speedup != 1 or scale != 1):
        raise given.mistake("--speedup and --scale are about a --trace")
    options = LoadOptions(
        target=target,
        port=port,
        rate=rate,
        ramp=given.ramp_of(ramp),
        trace=trace,
        speedup=given.positive("--speedup", speedup),
        scale=given.positive("--scale", scale),
        duration_s=given.seconds_of("--for", duration),
        gaps=given.gaps_of(arrivals),
        body=given.body_of(body),
        headers=(*(header or ()), *given.identity(api_key_file, tenant, priority)),
        unix_socket=unix_socket,
        ca=Path(ca) if ca is not None else None,
        insecure=insecure,
        connections=connections,
        timeout_s=given.seconds_of("--timeout", timeout),
        budget_s=given.seconds_of("--budget", budget),
        seed=given.drawn() if seed is None else seed,
    )
    plan = plan_load(options)
    page = given.writable("--html", html)
    with _live(plan, options, None if as_json else out()) as watch, given.recorded(requests) as record:
        report = run(plan, watch, record)
    _tell(report, as_json, page)
    if fail_on_breach and report.breached:
        raise typer.Exit(1)


def _tell(report: "Report", as_json: bool, page: Path | None) -> None:
    from plimsoll.load import apart_lines, beside_line, made_json, render_html, report_line, verdict

    written = ""
    if page is not None:
        page.write_text(render_html(report), encoding="utf-8")
        written = f". Report: {page}"
    if as_json:
        print(json.dumps(made_json(report)))
        return
    console = out()
    console.line(f"  {report_line(report, console.paint)}")
    share = f"{report.in_time / report.offered:.2%}" if report.offered else "-"
    ended = f" (ended early, after {report.duration_s:.1f} s)" if report.interrupted else ""
    console.line(f"  {report.in_time:,} of {report.offered:,} offered answered in time: {share}{ended}", "dim")
    console.line(f"  {beside_line(report)}", "dim")
    for line in apart_lines(report):
        console.line(f"  {line}", "dim")
    for outcome, answer in list((report.refusals or {}).items())[:3]:
        console.line(f"  {outcome}: {' '.join(answer.split())[:140]}", "dim")
    if report.last_failure:
        console.line(f"  connections: {report.last_failure}", "dim")
    word = console.paint("VERDICT", "red" if report.breached else "green")
    console.line(f"  {word}  {verdict(report)}{written}")


@contextmanager
def _live(plan: "Plan", options: "LoadOptions", console: Console | None) -> Iterator[Callable[["Progress"], None]]:
    """On a terminal a few lines that change each second, else one line each five. A change costs the loop that sends
    0.3 ms: text is made here, rich only puts it in place."""
    if console is None:
        err().line(f"seed {plan.traffic.seed}")
        yield lambda progress: None
        return
    about = f"  {options.target}   {plan.traffic.name} for {plan.traffic.duration_s:g} s   seed {plan.traffic.seed}"
    console.line(about + (f"   {plan.note}" if plan.note else ""))
    if not console.stream.isatty():
        seconds = 0

        def say(progress: "Progress") -> None:
            nonlocal seconds
            seconds += 1
            if seconds % _LINE_EVERY_S == 0:
                console.line(f"  {_line(progress, plan, console)}")

        yield say
        return
    from rich.console import Console as RichConsole
    from rich.live import Live
    from rich.text import Text

    with Live(Text(""), console=RichConsole(highlight=False), auto_refresh=False, transient=True) as live:
        yield lambda progress: live.update(Text.from_ansi(_view(progress, plan, console)), refresh=True)


def _line(progress: "Progress", plan: "Plan", console: Console) -> str:
    from plimsoll.load import line_of

    return line_of(
        progress.offered_per_s,
        progress.outcomes_per_s,
        progress.latency_ms,
        progress.queue_ms,
        progress.compute_ms,
        budget=plan.budget,
        replicas="" if progress.replicas is None else str(progress.replicas),
        paint=console.paint,
    )


def _view(progress: "Progress", plan: "Plan", console: Console) -> str:
    share = min(progress.elapsed_s / plan.traffic.duration_s, 1.0) if plan.traffic.duration_s else 1.0
    done = round(share * 30)
    bar = f"{'━' * done}{console.paint('━' * (30 - done), 'dim')}" if console.fancy else f"{share:.0%}"
    state = f"in flight {progress.in_flight:,}"
    if progress.waiting:
        state += console.paint(f"   waiting for a connection {progress.waiting:,}", "yellow")
    if progress.lag_ms is not None and progress.lag_ms > 5:
        state += console.paint(f"   this client is late: p99 {progress.lag_ms:.0f} ms", "yellow")
    return (
        f"  {bar} {progress.elapsed_s:.0f} of {plan.traffic.duration_s:.0f} s   {state}\n"
        f"  {_line(progress, plan, console)}"
    )
