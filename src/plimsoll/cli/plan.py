"""`plimsoll plan`: the command, its progress, its table."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import typer

from plimsoll.cli import plan_options as given
from plimsoll.cli.console import Console, err, out
from plimsoll.cli.load_options import mistake, positive, seconds_of, writable

if TYPE_CHECKING:
    from plimsoll.app.plan import Estimate
    from plimsoll.app.plan_study import Study
    from plimsoll.sim.report import Report

_LINE_EVERY_S = 10.0  # where nobody looks at a terminal
_INTERRUPTED = 130


def plan(
    files: given.Files = None,
    trace: given.Trace = None,
    speedup: given.Speedup = 1.0,
    scale: given.Scale = 1.0,
    slice_: given.Slice = None,
    mean_replicas: given.MeanReplicas = None,
    policies: given.Policies = None,
    nodes: given.Nodes = None,
    profile: given.Profile = None,
    service_time: given.ServiceTime = None,
    cold_start: given.ColdStart = None,
    p99: given.BudgetP99 = None,
    min_replicas: given.MinReplicas = None,
    max_replicas: given.MaxReplicas = None,
    replicas_total: given.ReplicasTotal = None,
    queue_cap: given.QueueCap = None,
    price: given.Price = None,
    seed: given.Seed = 1,
    fast: given.Fast = False,
    as_json: given.AsJson = False,
    html: given.Html = None,
    fail_on_breach: given.FailOnBreach = False,
) -> None:
    """Simulate a service on recorded or made-up traffic, under its own scaling policy and others.

    One row a policy: what was late or refused, what it cost, and how far that is from the least possible. The policies
    are those that run live. Ctrl-C ends it early, with what is done.
    """
    from plimsoll.app.plan_study import PlanOptions, prepare

    if not trace:
        raise mistake("--trace is missing; name recorded traffic, or synthetic:… (docs/plan.md)")
    options = PlanOptions(
        files=tuple(files or (() if service_time is not None else (".",))),
        traces=tuple(trace),
        speedup=positive("--speedup", speedup),
        scale=positive("--scale", scale),
        slice=slice_,
        mean_replicas=None if mean_replicas is None else positive("--mean-replicas", mean_replicas),
        policies=policies,
        nodes=nodes,
        profile=profile,
        service_time=service_time,
        cold_start_s=seconds_of("--cold-start", cold_start),
        p99_s=seconds_of("--p99", p99),
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        replicas_total=replicas_total,
        queue_cap=queue_cap,
        price=price,
        seed=seed,
        fast=fast,
    )
    page = writable("--html", html)
    study = prepare(options)
    report = _simulated(study, err() if as_json else out())
    _tell(report, study, as_json, page)
    if report.about.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if fail_on_breach and report.breached:
        raise typer.Exit(1)


def _simulated(study: "Study", console: Console) -> "Report":
    from time import perf_counter

    from plimsoll.app import plan as work
    from plimsoll.app.plan_report import make_report

    began = perf_counter()
    for line in study.facts:
        console.line(f"  {line}", "dim")
    for one in study.early:
        name = f"{one.service}: " if len(study.planned) > 1 else ""
        console.line(f"  {console.paint(one.kind, 'yellow')}: {name}{one.text}")
    expected = work.estimate(study)
    console.line(f"  {_expected(expected, study)}", "dim")
    if expected.long:
        _offer(expected, study, console)
    with _progress(console) as watch:
        done = work.run(study, watch, expected)
    extras = work.extras(study, done, expected)
    if extras:
        with _progress(console, "for advice: ") as watch:
            done.add(work.run_extras(study, extras, watch, expected))
    notes: list[str] = []
    if study.options.fast and not done.interrupted:
        with _progress(console, "the fluid model's error: ") as watch:
            notes = work.fluid_error(study, watch)
    with _progress(console, "the oracle: ") as watch:
        return make_report(study, done, extras, notes, began, watch)


def _expected(expected: "Estimate", study: "Study") -> str:
    many = f"{expected.policies} policies" if expected.policies != 1 else "one policy"
    takes = _lasts(expected.seconds)
    if study.options.fast:
        return f"{many} by the fluid model: {takes}; seed {study.options.seed}"
    cores = f" on {expected.workers} cores" if expected.workers > 1 else ""
    work = f"{expected.requests:,.0f} requests x {many} at {expected.rate:,.0f}/s{cores}"
    return f"{work}: {takes}; seed {study.options.seed}"


def _lasts(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    return f"about {seconds:.0f} s" if seconds < 120 else f"about {seconds / 60:.0f} min"


def _offer(expected: "Estimate", study: "Study", console: Console) -> None:
    ways = [] if study.options.fast else ["--fast (a fluid model, its error printed)"]
    if expected.slice_text:
        ways.append(f"--slice {expected.slice_text} (the busiest part, a minute)")
    console.line(f"  That is long. Shorter: {', or '.join(ways)}. Ctrl-C ends it with what is done.", "yellow")
    if sys.stdin.isatty() and console.stream.isatty() and not typer.confirm("  Go on?", default=True):
        raise typer.Exit


@contextmanager
def _progress(console: Console, about: str = "") -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A bar that changes twice a second on a terminal; else a line each ten seconds, on standard error."""
    began = said = monotonic()

    def text(shares: Mapping[str, float], bar: bool) -> str:
        share = sum(shares.values()) / max(1, len(shares))
        spent = monotonic() - began
        left = f", {_lasts(spent / share - spent)} left" if share > 0.02 else ""
        running = "  ".join(f"{key} {one:.0%}" for key, one in shares.items() if 0 < one < 1)[:80]
        done = round(share * 30)
        drawn = f"{'━' * done}{console.paint('━' * (30 - done), 'dim')} " if bar else ""
        return f"  {about}{drawn}{share:.0%}{left}   {running}"

    if not console.stream.isatty():
        lines = err()

        def say(shares: Mapping[str, float]) -> None:
            nonlocal said
            if monotonic() - said >= _LINE_EVERY_S:
                said = monotonic()
                lines.line(text(shares, bar=False))

        yield say
        return
    from rich.console import Console as RichConsole
    from rich.live import Live
    from rich.text import Text

    with Live(Text(""), console=RichConsole(highlight=False), auto_refresh=False, transient=True) as live:
        yield lambda shares: live.update(Text.from_ansi(text(shares, bar=console.fancy)), refresh=True)


def _tell(report: "Report", study: "Study", as_json: bool, page: Path | None) -> None:
    from plimsoll.cli.plan_table import print_report
    from plimsoll.sim.html import render_html
    from plimsoll.sim.report import made_json

    if page is not None:
        page.write_text(render_html(report), encoding="utf-8")
    if as_json:
        print(json.dumps(made_json(report)))
    else:
        print_report(report, out(), page, said=study.early)
