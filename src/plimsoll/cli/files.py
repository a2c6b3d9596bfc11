"""Commands about files, without a running instance: init, validate, schema, test."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli.console import Console, out

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.core.errors import SpecError
    from plimsoll.models.examples import ExampleResult
    from plimsoll.spec import Documents, ModelService, Platform, Tenant

Paths = Annotated[
    list[str] | None,
    typer.Argument(help="Service files, or folders of them; left out: this folder's.", metavar="FILE|DIR"),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
KINDS = ("python", "onnx", "sklearn")


def init(
    kind: Annotated[
        str, typer.Argument(help=f"One of {', '.join(KINDS)}.", metavar="KIND", autocompletion=lambda: list(KINDS))
    ],
    name: Annotated[
        str, typer.Argument(help="The service's name; its files go into a new folder of that name.", metavar="NAME")
    ],
) -> None:
    """Write a service to start from."""
    from pathlib import Path

    from plimsoll.app.init import init_service, next_step

    made = init_service(kind, name, Path())
    console = out()
    console.line(f"created {name}/  ({len(made)} files).  Next: {next_step(kind, name)}")
    for file in made:
        console.line(f"  {file}", "dim")


def validate(paths: Paths = None, as_json: AsJson = False) -> None:
    """Check service files.

    Prints every error with its line, and what this machine can't honour.
    """
    from plimsoll.core.errors import SpecErrors
    from plimsoll.spec import Documents, load_all_file, not_honoured

    together = Documents()
    problems: list[SpecError] = []
    report: list[dict[str, Any]] = []
    served: list[tuple[dict[str, Any], ModelService]] = []
    for file in _files(paths):
        entry: dict[str, Any] = {"file": file, "services": [], "others": [], "errors": [], "not_honoured": []}
        report.append(entry)
        try:
            found = load_all_file(file)
        except SpecErrors as errors:
            problems += errors.errors
            entry["errors"] = [_error(error) for error in errors.errors]
            continue
        together = together.joined(found)
        others: list[Tenant | Platform] = [*found.tenants, *found.platforms]
        for other in others:
            named = f"{type(other).__name__.lower()}/{other.metadata.name}"
            entry["others"].append(named)
            entry["not_honoured"] += [f"{named}: {line}" for line in not_honoured(other)]
        for service in found.services:
            entry["services"].append(service.name)
            served.append((entry, service))
            missing = _missing_model(service)
            if missing is not None:
                problems.append(missing)
                entry["errors"].append(_error(missing))
    for entry, service in served:  # the platform may stand in the last file
        lines = [*not_honoured(service, platform=together.platform), *_of_one_name(service, together)]
        entry["not_honoured"] += [f"{service.name}: {line}" for line in lines]
    between = _between(together, problems)
    if between:
        problems += between
        told = [_error(error) for error in between]
        report.append({"file": "", "services": [], "others": [], "errors": told, "not_honoured": []})
    if as_json:
        print(json.dumps({"ok": not problems, "files": report}))
    else:
        _print_report(report)
    if problems:
        raise typer.Exit(2)


def _of_one_name(service: "ModelService", together: "Documents") -> list[str]:
    """A cluster tells them apart by their namespaces."""
    others = [one for one in together.services if one.name == service.name and one.namespace != service.namespace]
    if not others:
        return []
    spaces = ", ".join(sorted(one.namespace or "none" for one in others))
    return [f"metadata.name: also in namespace {spaces}; up takes one of them alone"]


def _between(together: "Documents", problems: "list[SpecError]") -> "list[SpecError]":
    """What is wrong between files. Where one is broken, what it holds is not known: no word about references then."""
    from plimsoll.core.errors import SpecErrors
    from plimsoll.spec import check_together
    from plimsoll.spec.together import clashes

    known = {str(problem) for problem in problems}  # load_all_file told of clashes within one file already
    if problems:
        return [error for error in clashes(together) if str(error) not in known]
    try:
        check_together(together)
    except SpecErrors as errors:
        return list(errors.errors)
    return []


def _print_report(report: list[dict[str, Any]]) -> None:
    console, trouble = out(), sys.stderr
    for entry in report:
        for error in entry["errors"]:
            print(error["text"], file=trouble)
        names = [*entry["services"], *entry["others"]]
        if not entry["errors"] and names:
            console.line(f"{console.paint('ok', 'green')}    {entry['file']}  {', '.join(names)}")
        for line in entry["not_honoured"]:
            console.line(f"      not honoured here: {line}", "dim")


def _error(error: "SpecError") -> dict[str, Any]:
    return {"text": str(error), "file": error.file, "line": error.line, "key": error.key, "message": error.message}


def _missing_model(service: "ModelService") -> "SpecError | None":
    """The SpecError for a model file that isn't there; None where it is, or where the path names a class to import."""
    from plimsoll.models.source import is_reference

    path = service.spec.model.path
    if path is None or service.in_image:
        return None
    if is_reference(path) or (service.directory / path).exists():
        return None
    return service.problem("spec.model.path", f"{path} does not exist")


def _files(paths: list[str] | None) -> list[str]:
    """As the user would name them: relative to this folder where they lie below it."""
    from pathlib import Path

    from plimsoll.app.sources import service_files

    return [_shown(file) for file in service_files([Path(path) for path in paths or []])]


def _shown(file: "Path") -> str:
    from pathlib import Path

    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def schema() -> None:
    """Print the JSON schema of the service file, for editors.

    Save it, and give each service file this as its first line:

    \b
      # yaml-language-server: $schema=plimsoll.schema.json
    """
    from plimsoll.spec import editor_schema_text

    print(editor_schema_text().rstrip("\n"))


def run_examples(
    paths: Paths = None,
    service: Annotated[str | None, typer.Option(metavar="NAME", help="This service alone.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Run the model's own examples, without a server."""
    from plimsoll.app.examples import HOW_TO, run_service
    from plimsoll.app.sources import choose_services
    from plimsoll.spec import load_files

    console = out()
    rows: list[dict[str, Any]] = []
    passed = True
    for one in choose_services(load_files(_files(paths)), service):
        count = 0
        for result in run_service(one):
            count += 1
            passed = passed and result.ok
            rows.append(_row(one.name, result))
            if not as_json:
                _print_result(console, one.name, result)
        if count == 0:
            passed = False
            rows.append({"service": one.name, "name": "", "ok": False, "error": HOW_TO})
            if not as_json:
                console.line(f"  {one.name}   {HOW_TO}", "yellow")
    if as_json:
        print(json.dumps({"ok": passed, "examples": rows}))
    if not passed:
        raise typer.Exit(1)


def _row(service: str, result: "ExampleResult") -> dict[str, Any]:
    told = {"ok": result.ok, "error": result.error, "seconds": result.seconds, "got": result.got}
    return {"service": service, "name": result.name, **told}


def _print_result(console: Console, name: str, result: "ExampleResult") -> None:
    from plimsoll.cli.table import milliseconds

    mark = console.paint(console.symbol("✓"), "green") if result.ok else console.paint(console.symbol("✗"), "red")
    line = f"  {mark} {name}   {result.name}   {console.paint(milliseconds(result.seconds), 'dim')}"
    console.line(line if result.ok else f"{line}   {result.error}")
