"""The options of `plimsoll plan`: what each is called."""

from pathlib import Path
from typing import Annotated

import typer

POLICIES = ("budget", "hpa-cpu", "hpa-rps", "kpa", "keda", "fixed", "schedule:", "oracle")


def _policies(incomplete: str) -> list[str]:
    """Of a list, the last one: `budget,kp` becomes `budget,kpa`."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in POLICIES if name.startswith(last)]


def _traces(incomplete: str) -> list[str]:
    """Files, and the word that isn't one."""
    return [*(["synthetic:"] if "synthetic:".startswith(incomplete) else []), *_files(incomplete)]


def _files(incomplete: str) -> list[str]:
    """Folders end in a slash, so that a shell goes on."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    before = "" if str(folder) == "." and not incomplete.startswith("./") else f"{str(folder).rstrip('/')}/"
    last = incomplete.rpartition("/")[2]
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    names = [f"{before}{path.name}{'/' if path.is_dir() else ''}" for path in found if path.name.startswith(last)]
    return [name for name in names if last or not name.rpartition("/")[2].startswith(".")]


Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Service files, or folders of them; left out: this folder's.", metavar="FILE|DIR", autocompletion=_files
    ),
]
Trace = Annotated[
    list[str] | None,
    typer.Option(
        "--trace",
        metavar="[NAME=]FILE|synthetic:...",
        help="The traffic: arrival times, rates or counts. Of several services: NAME=FILE for each, one for all, or a "
        "CSV of counts a minute with a column for each.",
        show_default=False,
        autocompletion=_traces,
    ),
]
Speedup = Annotated[float, typer.Option(help="Play it that much faster.")]
Scale = Annotated[float, typer.Option(help="That many times its requests.")]
Slice = Annotated[
    str | None,
    typer.Option(
        "--slice", metavar="DAY|FROM/TO", help="A part: 1998-06-30, day:3, 2h/3h, 2023-11-16T18:00/19:00.",
        show_default=False,
    ),
]  # fmt: skip
MeanReplicas = Annotated[
    float | None,
    typer.Option(help="Scale it so that its mean needs so many replicas.", metavar="N", show_default=False),
]
Policies = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Beside the file's own: budget, hpa-cpu, hpa-rps, kpa, keda, fixed:8, schedule:..., oracle; settings "
        "behind a colon: kpa:concurrency=10. [default: one of each]",
        show_default=False,
        autocompletion=_policies,
    ),
]
Nodes = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A Platform with nodeClasses: replicas then need nodes, which take time and money.",
        show_default=False,
        autocompletion=_files,
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="What `plimsoll profile` learned. [default: NAME.profile.json beside the file]",
        show_default=False,
        autocompletion=_files,
    ),
]
ServiceTime = Annotated[
    str | None,
    typer.Option(
        metavar="CALL+ITEM|lognorm:...",
        help="Instead of a profile: what a batch and each item of it take, 4ms+1.5ms; or lognorm:SHAPE,LOC,SCALE.",
        show_default=False,
    ),
]
ColdStart = Annotated[
    str | None, typer.Option(help="Until a new replica answers. [default: the profile's]", show_default=False)
]
BudgetP99 = Annotated[str | None, typer.Option("--p99", help="A p99 budget instead of the file's.", show_default=False)]
MinReplicas = Annotated[int | None, typer.Option(min=0, help="Instead of the file's.", show_default=False)]
MaxReplicas = Annotated[int | None, typer.Option(min=1, help="Instead of the file's.", show_default=False)]
ReplicasTotal = Annotated[
    int | None,
    typer.Option(min=1, help="For all services together, shared by what their budgets lose.", show_default=False),
]
QueueCap = Annotated[
    int | None, typer.Option(min=1, help="At most so many wait at a replica; more are shed.", show_default=False)
]
Price = Annotated[
    float | None,
    typer.Option(min=0, help="Of a replica's hour. [default: by the platform's node classes]", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Another draw of arrivals and batch times.")]
Fast = Annotated[bool, typer.Option("--fast", help="A fluid model instead of each request; its error is printed.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
Html = Annotated[
    str | None, typer.Option(metavar="FILE", help="The plan as a page that opens offline.", show_default=False)
]
FailOnBreach = Annotated[
    bool, typer.Option("--fail-on-breach", help="End with 1 where the file's own policy breaks its budget.")
]
