"""The command `build`: a Dockerfile and build context for a service."""

import json
import sys
from typing import Annotated

import typer

from plimsoll.cli.console import err
from plimsoll.cli.files import AsJson, Paths


def build(
    paths: Paths = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Gets one folder a service.")] = "build",
    tag: Annotated[
        str, typer.Option(metavar="IMAGE", help="The image's name; left out: SERVICE:DIGEST.", show_default=False)
    ] = "",
    base: Annotated[
        str, typer.Option(metavar="IMAGE", help="What to build on; left out: python:3.N-slim.", show_default=False)
    ] = "",
    platform: Annotated[
        str, typer.Option(metavar="OS/ARCH", help="linux/amd64 or linux/arm64; left out: as here.", show_default=False)
    ] = "",
    no_model: Annotated[
        bool, typer.Option("--no-model", help="Packages alone; plimsoll pack brings the model.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Copy this although it looks like a secret.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a Dockerfile and its build context, and print the files that name the image.

    The image runs as a user without rights, with every package at the version that runs here. Nothing is built or
    pushed: the command to do so is said on standard error.
    """
    from pathlib import Path

    from plimsoll.app.build import BuildRequest, build_files
    from plimsoll.app.sources import named, service_files

    files = [named(file) for file in service_files([Path(path) for path in paths or []])]
    request = BuildRequest(Path(output), tag, base, platform, not no_model, tuple(allow or ()))
    builds = build_files(files, request)
    if as_json:
        told = [
            {"service": one.service, "folder": str(one.folder), "image": one.image, "command": one.command}
            for one in builds.built
        ]
        print(json.dumps({"images": told, "notes": builds.notes, "objects": builds.objects}, indent=2))
    else:
        sys.stdout.write(builds.to_yaml())
        sys.stdout.flush()
    console = err()
    for one in builds.built:
        console.line(f"{console.paint('wrote', 'green')} {one.folder}/   build it: {one.command}")
    for note in builds.notes:
        console.line(f"{console.paint('note:', 'yellow')} {note}")
