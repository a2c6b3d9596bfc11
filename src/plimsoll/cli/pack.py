"""The command `pack`: local models as artifacts that a cluster can fetch."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli.console import err
from plimsoll.cli.files import AsJson, Paths

if TYPE_CHECKING:
    from plimsoll.app.pack import Packed

_LEFT_OUT_SHOWN = 5


def pack(
    paths: Paths = None,
    registry: Annotated[
        str,
        typer.Option(metavar="HOST/PATH", help="Where models larger than a ConfigMap are pushed.", show_default=False),
    ] = "",
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="The repository below it; left out: the service's name.", show_default=False),
    ] = "",
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of printing.", show_default=False)
    ] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Pack this although it looks like a secret.", show_default=False),
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Fetch what a uri without a digest names, and pin it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn local models into artifacts, and print the files for kubectl apply.

    A small model becomes an immutable ConfigMap, a larger one goes to a registry. What is printed names them by their
    digest; everything else is as it was written. What was packed is said on standard error.
    """
    from pathlib import Path

    from plimsoll.app.pack import PackRequest, pack_files
    from plimsoll.app.sources import named, service_files

    files = [named(file) for file in service_files([Path(path) for path in paths or []])]
    packed = pack_files(files, PackRequest(registry, name, tuple(allow or ()), pin))
    text = json.dumps(_as_json(packed), indent=2) + "\n" if as_json else packed.to_yaml()
    if output:
        Path(output).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    _tell(packed)


def _tell(packed: "Packed") -> None:
    from plimsoll.app.pack import line_of

    console = err()
    for model in packed.models:
        console.line(f"{console.paint('packed', 'green')} {line_of(model)}")
        if model.left_out:
            more = ", …" if len(model.left_out) > _LEFT_OUT_SHOWN else ""
            console.line(f"       left out: {', '.join(model.left_out[:_LEFT_OUT_SHOWN])}{more}", "dim")
    for note in packed.notes:
        console.line(f"{console.paint('note:', 'yellow')} {note}")


def _as_json(packed: "Packed") -> dict[str, Any]:
    models = [
        {
            "service": model.service,
            "uri": model.uri,
            "digest": model.digest,
            "size_bytes": model.size_bytes,
            "sent_bytes": model.sent_bytes,
            "files": list(model.files),
            "left_out": list(model.left_out),
        }
        for model in packed.models
    ]
    return {"models": models, "notes": packed.notes, "objects": packed.objects}
