"""The command `render`: services as Kubernetes objects."""

import sys
from typing import Annotated

import typer

from plimsoll.cli.console import err
from plimsoll.cli.files import Paths


def render(
    paths: Paths = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="For services that name none.", show_default=False)
    ] = "",
    mode: Annotated[
        str, typer.Option(metavar="MODE", help="plain: works on its own. operator: what the operator would apply.")
    ] = "plain",
    kubernetes: Annotated[
        str, typer.Option(metavar="1.N", help="The cluster's version; left out: what works on all supported ones.")
    ] = "",
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Of replicas whose service names none.", show_default=False)
    ] = None,
    api: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP/VERSION",
            help="Installed in the cluster beside Kubernetes; several times. Left out: all that render knows.",
            show_default=False,
        ),
    ] = None,
    pull_secret: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A secret to pull images with.", show_default=False)
    ] = None,
    pack: Annotated[bool, typer.Option("--pack", help="Put small local models into ConfigMaps.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FORM", help="yaml or json.")] = "yaml",
) -> None:
    """Print services as Kubernetes objects.

    The same files and options give the same bytes. What can't be honoured is said on standard error.
    """
    from pathlib import Path

    from plimsoll.app.render import RenderRequest, cluster_options, render_files, text_of
    from plimsoll.app.sources import named, service_files
    from plimsoll.backends.kubernetes.options import OLDEST_MINOR

    options = cluster_options(
        mode=mode,
        kubernetes=kubernetes or f"1.{OLDEST_MINOR}",
        image=image,
        apis=api or [],
        pull_secrets=pull_secret or [],
    )
    files = [named(file) for file in service_files([Path(path) for path in paths or []])]
    rendered = render_files(files, RenderRequest(options, namespace, pack))
    sys.stdout.write(text_of(rendered, output))
    sys.stdout.flush()
    console = err()
    for note in rendered.notes:
        console.line(f"{console.paint('note:', 'yellow')} {note}")
