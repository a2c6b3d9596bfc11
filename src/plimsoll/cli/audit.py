"""`plimsoll audit verify`: whether an audit log is whole."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plimsoll.cli.console import out

if TYPE_CHECKING:
    from plimsoll.telemetry.audit_chain import Verdict

app = typer.Typer(name="audit", help="Check audit logs.", no_args_is_help=True, rich_markup_mode=None)


@app.command(
    epilog="\b\nExamples:\n  plimsoll audit verify audit/gateway-0.jsonl*\n  plimsoll audit verify LOG --head 4c…"
)
def verify(
    files: Annotated[
        list[str], typer.Argument(help="All files of one gateway's log, in any order.", metavar="FILE...")
    ],
    head: Annotated[
        str | None,
        typer.Option(
            metavar="HASH", help="The hash of a line, kept elsewhere, that must be there.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check that no line was changed, removed or added.

    Exit code 1, and the place, where the chain breaks. A log that was cut off at its end is whole in itself: only
    --head tells.
    """
    from plimsoll.telemetry import audit_chain

    verdict = audit_chain.verify([Path(file) for file in files], head.lower() if head else None)
    if as_json:
        print(json.dumps(_values(verdict)))
    else:
        _say(verdict)
    if verdict.broken:
        raise typer.Exit(1)


def _values(verdict: "Verdict") -> dict[str, object]:
    values = asdict(verdict)
    head = values.pop("head")
    return {"ok": not verdict.broken} | values | {"last_seq": head["seq"], "head": head["hash"]}


def _say(verdict: "Verdict") -> None:
    console = out()
    if verdict.broken:
        console.line(f"{console.paint('broken', 'red')}  {verdict.broken}")
        if verdict.records:
            console.line(f"        whole up to record {verdict.head.seq} ({verdict.last_time}), {verdict.head.hash}")
        return
    span = f"{verdict.first_time} to {verdict.last_time}"
    console.line(f"{console.paint('whole', 'green')}  {verdict.records} records, {verdict.requests} requests, {span}")
    console.line(f"       head {verdict.head.hash}, record {verdict.head.seq}")
    if not verdict.whole:
        console.line(
            f"       begins with record {verdict.first_seq}: what came before is not among these files", "yellow"
        )
    if verdict.lost:
        console.line(f"       {verdict.lost} requests have no record: the disk was full or too slow", "yellow")
    if verdict.torn:
        console.line(f"       {verdict.torn} torn ends, left by crashes, were cut off", "yellow")
    if verdict.unfinished:
        console.line("       the last line has no end yet: it is being written, or a crash cut it", "yellow")
