"""`plimsoll profile`: what a model takes, measured; progress, a table, and the profile as a file."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli.console import Console, err, out

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.app.profile import Profiled
    from plimsoll.spec import ModelService

_ROWS = 10  # sizes of the table: more are measured than anybody reads


def profile(
    file: Annotated[
        str, typer.Argument(help="A service file, or a folder with one; left out: this folder.", metavar="FILE|DIR")
    ] = ".",
    name: Annotated[
        str | None,
        typer.Argument(help="Which service, where the file holds several.", metavar="NAME", show_default=False),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="FILE", help="[default: NAME.profile.json beside the service file]", show_default=False
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=3600, metavar="N", help="How long batches are timed, cold starts apart.")
    ] = 10.0,
    starts: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many cold starts.")] = 3,
    start_method: Annotated[
        str,
        typer.Option(metavar="fork|spawn", help="As for up. [default: fork, on macOS spawn]", show_default=False),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
) -> None:
    """Run the real model and learn what it takes: batches of each size, a cold start, memory.

    Writes a profile for plan and scaling. Nothing else should keep this machine busy meanwhile.
    """
    from pathlib import Path

    from plimsoll.app.profile import Options, run_profile
    from plimsoll.core.errors import UserError

    if start_method not in {"", "fork", "spawn"}:
        raise UserError(f"--start-method is {start_method!r}; expected fork or spawn")
    service = _service(file, name)
    target = Path(to) if to is not None else service.directory / f"{service.name}.profile.json"
    if not target.parent.is_dir():
        raise UserError(f"--out {target}: there is no folder {target.parent}")
    method = start_method or ("spawn" if sys.platform == "darwin" else "fork")
    console = out()
    try:
        with _progress(None if as_json else console, service.name) as say:
            found = run_profile(service, Options(seconds, starts, method), say)
    except KeyboardInterrupt:
        err().line("stopped; nothing was written")
        raise typer.Exit(130) from None
    try:
        target.write_text(found.profile.to_json(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {target}: cannot be written: {error.strerror}") from None
    if as_json:
        print(json.dumps(_as_json(found, target)))
    else:
        _tell(console, found, target)


def _service(file: str, name: str | None) -> "ModelService":
    from pathlib import Path

    from plimsoll.app.sources import choose_services, named, service_files
    from plimsoll.core.errors import UserError
    from plimsoll.spec import load_files

    chosen = choose_services(load_files([named(one) for one in service_files([Path(file)])]), name)
    if len(chosen) > 1:
        names = ", ".join(one.name for one in chosen)
        raise UserError(f"{file} holds {len(chosen)} services; choose one: plimsoll profile {file} NAME ({names})")
    return chosen[0]


@contextmanager
def _progress(console: Console | None, name: str) -> Iterator[Callable[[str, float], None]]:
    """On a terminal one line that changes, else a line a step."""
    if console is None:
        yield lambda what, share: None
        return
    if not console.stream.isatty():
        yield lambda what, share: console.line(f"  {name}   {what}")
        return
    from rich.console import Console as RichConsole
    from rich.live import Live
    from rich.text import Text

    with Live(Text(""), console=RichConsole(highlight=False), auto_refresh=False, transient=True) as live:

        def say(what: str, share: float) -> None:
            done = round(share * 30)
            bar = f"{'━' * done}{console.paint('━' * (30 - done), 'dim')}" if console.fancy else f"{share:.0%}"
            live.update(Text.from_ansi(f"  {name}   {bar} {what}"), refresh=True)

        yield say


def _tell(console: Console, found: "Profiled", target: "Path") -> None:
    from plimsoll.core.units import format_bytes

    profile, fit = found.profile, found.fit
    name = console.paint(profile.name, "bold")
    starts = ", ".join(_ms(one) for one in found.starts_s)
    console.line(
        f"  {name}   cold start {_ms(profile.cold_s)} (p90 {_ms(profile.cold_p90_s or profile.cold_s)}; {starts})"
        f"   memory {format_bytes(profile.memory_bytes)}"
    )
    console.line(
        f"  t(b) = {_ms(fit.model_a_s)} + {_ms(fit.model_c_s)} x b in the model, spread {fit.spread:.0%}; "
        f"with its requests {_ms(profile.a_s)} + {_ms(profile.c_s)} x b"
    )
    through = "" if profile.gateway_s is None else f", {_ms(profile.gateway_s)} more through a gateway"
    high = ""
    if profile.beside_p90_s is not None and profile.beside_p99_s is not None:
        high = f" (together p90 {_ms(profile.beside_p90_s)}, p99 {_ms(profile.beside_p99_s)})"
    wake = f", {_ms(profile.wake_s)} more for a batch after a rest" if profile.wake_s else ""
    console.line(
        f"  beside a batch: {_ms(profile.overhead_s)} a request{through}{high}{wake}; "
        f"{profile.cpu:.2f} cores while one runs"
    )
    console.line(f"  {'batch':>7} {'measured':>10} {'fitted':>10} {'error':>7} {'batches':>8}", "dim")
    for row in _few(list(fit.rows)):
        style = "yellow" if row.misfit else ""
        line = f"  {row.size:7,} {_ms(row.measured_s):>10} {_ms(row.fitted_s):>10} {row.error:>+7.0%} {row.batches:8,}"
        console.line(line, style)
    console.line(f"  {_capacity(found)}")
    for line in warnings(found):
        console.line(f"  {console.paint('note:', 'yellow')} {line}")
    console.line(f"  written to {target}")


def _capacity(found: "Profiled") -> str:
    if found.p99_s is None:
        return (
            f"a replica does {found.capacity_per_s:,.0f} items/s in batches of {found.capacity_batch:,}; "
            "there is no p99 budget"
        )
    if not found.capacity_batch:
        return f"no replica keeps the p99 budget of {_ms(found.p99_s)}: one item alone takes longer"
    return (
        f"a replica does {found.capacity_per_s:,.0f} items/s inside the p99 budget of {_ms(found.p99_s)}, "
        f"in batches of {found.capacity_batch:,}"
    )


def warnings(found: "Profiled") -> list[str]:
    """What a user should know before a plan is made of it, with what to do about it."""
    fit, profile, lines = found.fit, found.profile, []
    worst = fit.worst
    if found.busy > 1:
        lines.append(
            f"this machine was busy before ({found.busy:.1f} processes a core): times may be too long; run it on a "
            "quiet one"
        )
    if fit.misfit and worst is not None:
        lines.append(
            f"t(b) is no line: batches of {worst.size:,} take {_ms(worst.measured_s)}, {_ms(worst.fitted_s)} fitted "
            f"({worst.error:+.0%}). A plan will be as wrong where such batches are common"
        )
        if fit.fits_up_to:
            lines.append(f"it fits up to {fit.fits_up_to}; keep to that: batching: {{maxSize: {fit.fits_up_to}}}")
        else:
            lines.append("run it again on a quiet machine and longer (--seconds 60), or with inputs that are alike")
    if fit.spread > 0.5 and fit.lognormal is None:
        lines.append(
            f"batches of one size differ by {fit.spread:.0%}: their inputs do, or the machine is busy; "
            "more examples in request.json make the mix a real one"
        )
    if not found.capacity_batch and found.p99_s is not None:
        lines.append(f"raise budget.latency.p99 above {_ms(profile.a_s + profile.c_s + profile.overhead_s)}")
    if 2 * fit.largest < (profile.max_batch or 0):
        lines.append(
            f"no batch had more than {fit.largest:,} items, since larger ones bring little; what is said of up "
            f"to {profile.max_batch:,} is extrapolated"
        )
    return lines


def _as_json(found: "Profiled", target: "Path") -> dict[str, Any]:
    fit = found.fit
    return {
        "file": str(target),
        "profile": json.loads(found.profile.to_json()),
        "starts_s": list(found.starts_s),
        "model": {"a_s": fit.model_a_s, "c_s": fit.model_c_s},
        "sizes": [
            {
                "size": row.size,
                "batches": row.batches,
                "measured_s": row.measured_s,
                "fitted_s": row.fitted_s,
                "error": row.error,
            }
            for row in fit.rows
        ],
        "callers": [
            {
                "callers": phase.callers,
                "per_s": phase.items / phase.wall_s,
                "mean_batch": phase.items / len(phase.batches),
                "cores": phase.cpu_s / phase.wall_s,
            }
            for phase in found.phases
        ],
        "capacity_per_s": found.capacity_per_s,
        "capacity_batch": found.capacity_batch,
        "p99_s": found.p99_s,
        "misfit": fit.misfit,
        "notes": warnings(found),
        "sent": found.note,
    }


def _few(rows: list[Any]) -> list[Any]:
    """The smallest, the largest, the worst, and some between, evenly by their logarithm."""
    if len(rows) <= _ROWS:
        return rows
    worst = max(rows, key=lambda row: abs(row.error))
    chosen = {rows[0].size, rows[-1].size, worst.size}
    ratio = (rows[-1].size / rows[0].size) ** (1 / (_ROWS - 2))
    for step in range(1, _ROWS - 2):
        wanted = rows[0].size * ratio**step
        chosen.add(min(rows, key=lambda row: abs(row.size - wanted)).size)
    return [row for row in rows if row.size in chosen]


def _ms(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"
