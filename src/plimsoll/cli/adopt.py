"""`plimsoll adopt`: a ModelService in the place of what a tutorial made."""

from typing import Annotated

import typer

from plimsoll.cli import completion
from plimsoll.cli.console import err, out
from plimsoll.cli.preflight import Context


def adopt(
    objects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KIND/NAME",
            help="deployment/NAME; hpa/NAME and service/NAME where they aren't found by it.",
            autocompletion=completion.deployments,
        ),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="From YAML files, without a cluster.", show_default=False),
    ] = None,
    context: Context = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            metavar="NAME",
            help="Where they are.",
            show_default=False,
            autocompletion=completion.namespaces,
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py", help="The app's source: the model class is written around it.", show_default=False
        ),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the service is called.", show_default=False)] = "",
    to: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Write all files here, instead of printing the service.", show_default=False),
    ] = None,
) -> None:
    """A ModelService from a Deployment, its Service and its autoscaler.

    Nothing in the cluster is changed: what is there goes on until you delete it. What needs a person is said, and
    stands as comments in the file.
    """
    from pathlib import Path

    from plimsoll.app import adopt as work
    from plimsoll.app.cluster import on_cluster
    from plimsoll.backends.kubernetes.install.adopting.writing import whole_text

    source = work.read_app(Path(app)) if app is not None else None
    classes: dict[str, str] = {}
    if files:
        found = work.from_files([Path(file) for file in files], objects or [])
    else:
        found, classes = on_cluster(context, namespace, lambda reach: work.from_cluster(reach, objects or []))
    adopted = work.convert(found, name=name, app=source, classes=classes)
    if to is None:
        print(whole_text(adopted), end="")
        if source is None:
            err().line(
                "the model class is still to be written: --to DIR writes its frame, --app FILE.py all of it", "dim"
            )
        return
    made = work.write(adopted, Path(to), source)
    console = out()
    console.line(f"created {to}/  ({len(made)} files).  Next: cd {to} && plimsoll validate")
    for file in made:
        console.line(f"  {file}", "dim")
    for note in adopted.notes:
        console.line(f"{console.paint('note:', 'yellow')} {note}")
