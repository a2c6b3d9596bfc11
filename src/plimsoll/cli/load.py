"""`plimsoll load`: options, the live view, the report."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plimsoll.cli import completion
from plimsoll.cli.console import Console, err, out
from plimsoll.cli.services import Port

if TYPE_CHECKING:
    from plimsoll.app.load import LoadOptions, Plan
    from plimsoll.insight.traffic import Gaps
    from plimsoll.load import Progress, Record, Report

_LINE_EVERY_S = 5  # where nobody looks at a terminal

Target = Annotated[
    str,
    typer.Argument(
        help="A running service, or http(s)://HOST:PORT/PATH.",
        metavar="NAME|URL",
        autocompletion=completion.service_names,
    ),
]
Rate = Annotated[float | None, typer.Option(min=0, help="Requests a second. [default: 100]", show_default=False)]
Ramp = Annotated[
    str | None, typer.Option(metavar="FROM:TO", help="A rate that rises along a line: 10:2000.", show_default=False)
]
TraceFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Recorded traffic: CSV or JSON lines.", show_default=False)
]
Speedup = Annotated[float, typer.Option(help="Play a trace that much faster.")]
Scale = Annotated[float, typer.Option(help="That many times a trace's requests.")]
Duration = Annotated[
    str | None,
    typer.Option("--for", help="How long: 60s, 5m. [default: 30s, or all of a trace]", show_default=False),
]
Kind = Annotated[
    str | None,
    typer.Option(
        metavar="poisson|gamma:CV|uniform",
        help="How regular they come; gamma:4 in bursts. [default: poisson]",
        show_default=False,
    ),
]
Body = Annotated[
    str | None,
    typer.Option(metavar="FILE|-|JSON", help="What is sent. [default: the service's example]", show_default=False),
]
Headers = Annotated[list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A header; repeatable.")]
ApiKey = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Send the API key that stands in this file: as its tenant.", show_default=False),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        help="Name a tenant to a replica's own socket (--unix-socket). A gateway believes only keys.",
        show_default=False,
    ),
]
Priority = Annotated[int | None, typer.Option(help="Higher goes first, as far as the tenant may.", show_default=False)]
UnixSocket = Annotated[
    str | None, typer.Option(metavar="PATH", help="Connect there; the URL names host and path.", show_default=False)
]
Ca = Annotated[
    str | None,
    typer.Option(
        "--ca", metavar="FILE", help="Whose certificates to believe. [default: this machine's]", show_default=False
    ),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Believe any certificate.")]
Connections = Annotated[int, typer.Option(min=1, max=60_000, help="Open at most.")]
Timeout = Annotated[
    str | None,
    typer.Option(
        help="Without an answer for so long: hung. [default: the service's timeout + 5s; a URL's 30s]",
        show_default=False,
    ),
]
BudgetP99 = Annotated[
    str | None, typer.Option(help="A p99 to hold it against. [default: the service's]", show_default=False)
]
Seed = Annotated[int | None, typer.Option(help="Repeat a run's arrivals. [default: drawn]", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON on standard output.")]
Html = Annotated[
    str | None, typer.Option(metavar="FILE", help="The report as a page that opens offline.", show_default=False)
]
Requests = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A CSV line for each request: time, outcome, latency.", show_default=False),
]
FailOnBreach = Annotated[
    bool, typer.Option("--fail-on-breach", help="End with 1 where the budget was broken, or requests hung.")
]


def load(
    target: Target,
    rate: Rate = None,
    ramp: Ramp = None,
    trace: TraceFile = None,
    speedup: Speedup = 1.0,
    scale: Scale = 1.0,
    duration: Duration = None,
    arrivals: Kind = None,
    body: Body = None,
    header: Headers = None,
    api_key_file: ApiKey = None,
    tenant: Tenant = None,
    priority: Priority = None,
    unix_socket: UnixSocket = None,
    ca: Ca = None,
    insecure: Insecure = False,
    connections: Connections = 1024,
    timeout: Timeout = None,
    budget: BudgetP99 = None,
    seed: Seed = None,
    port: Port = None,
    as_json: AsJson = False,
    html: Html = None,
    requests: Requests = None,
    fail_on_breach: FailOnBreach = False,
) -> None:
    """Send requests at a rate of your own, whatever the answers do, and hold the answers against the budget.

    Latency counts from the moment a request should have been sent. Ctrl-C ends the run early, with its report.
    """
    from plimsoll.app.load import LoadOptions, plan_load, run

    if sum(one is not None for one in (rate, ramp, trace)) > 1:
        raise _mistake("--rate, --ramp and --trace exclude each other")
    if trace is None and (speedup != 1 or scale != 1):
        raise _mistake("--speedup and --scale are about a --trace")
    options = LoadOptions(
        target=target,
        port=port,
        rate=rate,
        ramp=_ramp(ramp),
        trace=trace,
        speedup=_positive("--speedup", speedup),
        scale=_positive("--scale", scale),
        duration_s=_seconds("--for", duration),
        gaps=_gaps(arrivals),
        body=_body(body),
        headers=(*(header or ()), *_identity(api_key_file, tenant, priority)),
        unix_socket=unix_socket,
        ca=Path(ca) if ca is not None else None,
        insecure=insecure,
        connections=connections,
        timeout_s=_seconds("--timeout", timeout),
        budget_s=_seconds("--budget", budget),
        seed=_drawn() if seed is None else seed,
    )
    plan = plan_load(options)
    page = _writable("--html", html)
    with _live(plan, options, None if as_json else out()) as watch, _recorded(requests) as record:
        report = run(plan, watch, record)
    _tell(report, as_json, page)
    if fail_on_breach and report.breached:
        raise typer.Exit(1)


def _tell(report: "Report", as_json: bool, page: Path | None) -> None:
    from plimsoll.load import made_json, render_html, report_line, verdict

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


# Options


def _mistake(text: str) -> Exception:
    from plimsoll.core.errors import UserError

    return UserError(text)


def _ramp(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        rates = float(first), float(last)
    except ValueError:
        rates = (-1.0, -1.0)
    if not colon or not all(0 <= rate < 1e7 for rate in rates):
        raise _mistake(f"--ramp {text!r}; write the first and the last rate: 10:2000")
    return rates


def _gaps(text: str | None) -> "Gaps | None":
    from plimsoll.insight.traffic import parse_gaps

    try:
        return None if text is None else parse_gaps(text)
    except ValueError as error:
        raise _mistake(f"--arrivals {error}") from None


def _seconds(option: str, text: str | None) -> float | None:
    from plimsoll.core.units import parse_duration

    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise _mistake(f"{option}: {error}") from None
    if seconds <= 0:
        raise _mistake(f"{option}: {text!r} is no time at all")
    return seconds


def _positive(option: str, value: float) -> float:
    if not 0 < value < 1e9:
        raise _mistake(f"{option} {value:g}; expected a number above 0")
    return value


def _body(text: str | None) -> bytes | None:
    if text is None:
        return None
    if text == "-":
        return sys.stdin.buffer.read()
    if text.lstrip()[:1] in {"{", "[", '"'}:
        return text.encode()
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise _mistake(f"--body {text}: {error.strerror}; name a file, - or JSON") from None


def _identity(key_file: str | None, tenant: str | None, priority: int | None) -> Iterator[str]:
    """Headers. A key comes from a file: what stands on a command line stands in the process list and the history."""
    if key_file is not None:
        try:
            key = Path(key_file).read_text(encoding="ascii").strip()
        except OSError as error:
            raise _mistake(f"--api-key-file {key_file}: {error.strerror}") from None
        except UnicodeDecodeError:
            key = ""
        if not key or not key.isprintable() or len(key.split()) != 1:
            raise _mistake(f"--api-key-file {key_file}: expected one key in one line, and nothing else")
        yield f"authorization: Bearer {key}"
    if tenant is not None:
        yield f"plimsoll-tenant: {tenant}"
    if priority is not None:
        yield f"plimsoll-priority: {priority}"


@contextmanager
def _recorded(path: str | None) -> "Iterator[Record | None]":
    """One line a request, in the order of their ends; 1.5 us each."""
    if path is None:
        yield None
        return
    _writable("--requests", path)
    with open(path, "w", encoding="utf-8", buffering=1 << 20) as file:
        file.write("at_s,outcome,latency_ms\n")
        write = file.write

        def record(at_s: float, outcome: str, latency_s: float | None) -> None:
            write(f"{at_s:.6f},{outcome},{'' if latency_s is None else f'{latency_s * 1000:.3f}'}\n")

        yield record


def _drawn() -> int:
    from random import SystemRandom

    return SystemRandom().getrandbits(31)


def _writable(option: str, path: str | None) -> Path | None:
    """Found out before the run, not after it."""
    if path is None:
        return None
    try:
        with open(path, "a", encoding="utf-8"):
            return Path(path)
    except OSError as error:
        raise _mistake(f"{option} {path}: {error.strerror}") from None
