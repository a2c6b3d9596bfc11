"""Plimsoll itself on a cluster: install, upgrade, uninstall."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli.console import Console, err, out
from plimsoll.cli.preflight import Context, Sets, SystemNamespace, ValuesFile

if TYPE_CHECKING:
    from plimsoll.backends.kubernetes.install.upgrading import Upgrade

DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing.")]


def install(
    context: Context = None,
    values: ValuesFile = None,
    sets: Sets = None,
    namespace: SystemNamespace = None,
    only: Annotated[
        str | None, typer.Option(metavar="PART", help="crds, or system: all but those.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what --context would get, and change nothing.")
    ] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FORMAT", help="yaml or json: print.", show_default=False)
    ] = None,
) -> None:
    """Print Plimsoll's own objects, or with --context apply them.

    Definitions, operator, controller, gateway, roles and policies, in the order to apply them; the same values give the
    same bytes. `--dry-run` is for kubectl diff.
    """
    from plimsoll.app.cluster import on_cluster
    from plimsoll.app.install import apply_all, install_objects, read_values, refuse_foreign
    from plimsoll.core.errors import UserError

    if output not in (None, "yaml", "json"):
        raise UserError(f"--output {output}: expected yaml or json")
    objects = install_objects(read_values(values, sets or [], namespace), only)
    if context is None or dry_run or output is not None:
        if context is not None:
            on_cluster(context, None, lambda reach: refuse_foreign(reach, objects))
        _print(objects, output or "yaml")
        return
    on_cluster(context, None, lambda reach: apply_all(reach, objects, _teller(out())))


def _print(objects: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
        return
    from plimsoll.backends.kubernetes.objects import to_yaml

    print(to_yaml(objects), end="")


def _teller(console: Console) -> Any:
    def tell(name: str, what: str) -> None:
        console.line(f"  {name}   {what}", "dim" if what == "unchanged" else "")

    return tell


def upgrade(
    context: Context = None,
    values: ValuesFile = None,
    sets: Sets = None,
    namespace: SystemNamespace = None,
    dry_run: DryRun = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
    breaking: Annotated[
        bool, typer.Option("--breaking", help="Go on where services that are valid today would not be.")
    ] = False,
) -> None:
    """What this version changes on a cluster, and the change itself.

    Definitions that differ, versions that objects are stored in, what starts anew. Ends with 1, changing nothing, where
    what is valid today would no longer be.
    """
    from plimsoll.app.cluster import on_cluster
    from plimsoll.app.install import apply_all, install_objects, plan_upgrade, read_values, remove

    objects = install_objects(read_values(values, sets or [], namespace))
    plan = on_cluster(context, None, lambda reach: plan_upgrade(reach, objects))
    console = err() if as_json else out()
    if as_json:
        print(json.dumps(_as_json(plan)))
    else:
        _tell_plan(console, plan)
    if plan.breaking and not breaking:
        err().line("changes nothing: what is valid today would not be; --breaking goes on", "red")
        raise typer.Exit(1)
    if dry_run or plan.nothing:
        return
    tell = _teller(console)
    on_cluster(context, None, lambda reach: apply_all(reach, objects, tell))
    on_cluster(context, None, lambda reach: remove(reach, plan.removed, tell))


def _as_json(plan: "Upgrade") -> dict[str, Any]:
    from plimsoll.backends.kubernetes.install.upgrading import named

    return {
        "definitions": plan.definitions, "stored": plan.stored, "breaking": plan.breaking, "created": plan.created,
        "changed": plan.changed, "removed": [named(key) for key in plan.removed], "restarts": plan.restarts,
    }  # fmt: skip


def _tell_plan(console: Console, plan: "Upgrade") -> None:
    told = _as_json(plan)
    styles = {"breaking": "red", "stored": "yellow", "restarts": "yellow", "removed": "yellow"}
    nothing = True
    for part, lines in told.items():
        for line in lines:
            nothing = False
            console.line(f"{console.paint(f'{part:<12}', styles.get(part, 'dim'))} {line}")
    if nothing:
        console.line("nothing differs")


def uninstall(
    context: Context = None,
    keep_services: Annotated[
        bool, typer.Option("--keep-services", help="Models go on serving, as plain Deployments behind their Services.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Take Plimsoll off a cluster.

    Without --keep-services every service on it ends.
    """
    from plimsoll.app.cluster import on_cluster
    from plimsoll.app.install import installed_objects
    from plimsoll.app.uninstall import services_of, uninstall
    from plimsoll.backends.kubernetes.install.upgrading import named

    async def found(reach: Any) -> tuple[list[Any], list[Any]]:
        return await services_of(reach), await installed_objects(reach)

    services, mine = on_cluster(context, None, found)
    console = out()
    mine = [one for one in mine if one["kind"] != "Namespace"]  # it stays
    if not services and not mine:
        console.line("Plimsoll isn't installed there")
        return
    names = ", ".join(f"{one['metadata'].get('namespace')}/{one['metadata']['name']}" for one in services) or "none"
    fate = "go on without Plimsoll" if keep_services else "end"
    goes = fate if len(services) != 1 else "goes on without Plimsoll" if keep_services else "ends"
    console.line(f"{len(services)} service{'s' * (len(services) != 1)} {goes}: {names}")
    if dry_run:
        for obj in mine:
            console.line(f"  {named(obj)}", "dim")
        return
    if not yes and not typer.confirm(f"Delete Plimsoll's {len(mine)} objects?"):
        raise typer.Exit(1)
    tell = _teller(console)
    for note in on_cluster(context, None, lambda reach: uninstall(reach, keep_services=keep_services, told=tell)):
        console.line(f"  note: {note}", "yellow")
