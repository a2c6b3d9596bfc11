"""The commands about what runs, where --context or --namespace says that it is a cluster's."""

import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli import completion
from plimsoll.cli.console import Console, err, out

if TYPE_CHECKING:
    from plimsoll.app.cluster_services import Applied

Context = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="NAME", help="On a cluster: a context of the kubeconfig.", show_default=False,
        autocompletion=completion.contexts,
    ),
]  # fmt: skip
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="On a cluster: the namespace. [default: the context's]",
                 show_default=False, autocompletion=completion.namespaces),
]  # fmt: skip
LogsNamespace = Annotated[  # there -n are lines
    str | None,
    typer.Option("--namespace", metavar="NAME", help="On a cluster: the namespace. [default: the context's]",
                 show_default=False, autocompletion=completion.namespaces),
]  # fmt: skip
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="On a cluster: of all namespaces.")]


def meant(context: str | None, namespace: str | None, everywhere: bool = False) -> bool:
    """Whether a command is about a cluster."""
    return context is not None or namespace is not None or everywhere


def apply(
    paths: list[str], context: str | None, namespace: str | None, *, timeout_s: float, wait: bool, force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Ends with 1 where a service isn't ready, with all its replicas, in time."""
    from plimsoll.app import cluster_services as work
    from plimsoll.app.cluster import on_cluster
    from plimsoll.app.cluster_waiting import await_ready

    console = err() if as_json else out()

    def told(one: "Applied") -> None:
        where = f"{one.namespace}/" if one.namespace else ""
        name = where + one.name if one.kind == "ModelService" else f"{one.kind.lower()}/{where}{one.name}"
        console.line(f"  {name}   {one.change}")

    def changed(one: "Applied", phase: str, message: str) -> None:
        style = {"Failed": "red", "Ready": "green"}.get(phase, "")
        where = err() if phase == "Progressing" else console  # what becomes of it is the answer
        where.line(f"  {one.namespace}/{one.name}   {where.paint(phase, style)}   {message}".rstrip())

    async def run(reach: Any) -> tuple[list["Applied"], bool]:
        applied = await work.apply(reach, paths, told, force=force, no_other=namespace is not None)
        return applied, not wait or await await_ready(reach, applied, timeout_s, changed)

    applied, well = on_cluster(context, namespace, run)
    if as_json:
        keys = ("kind", "name", "namespace", "change", "failed", "url")
        print(json.dumps({"applied": [{key: getattr(one, key) for key in keys} for one in applied]}))
    if not well:
        raise typer.Exit(1)


def status(
    name: str | None, context: str | None, namespace: str | None, *, everywhere: bool, watch: bool, as_json: bool
) -> None:
    from plimsoll.app import cluster_services as work
    from plimsoll.app.cluster import on_cluster
    from plimsoll.app.cluster_notes import notes

    async def asked(reach: Any) -> tuple[list[dict[str, Any]], list[str]]:
        return await work.statuses(reach, name, everywhere=everywhere), await notes(reach, time.time())

    if as_json:
        services, said = on_cluster(context, namespace, asked)
        print(json.dumps({"services": services, "notes": said}))
        return
    from rich.console import Console as RichConsole
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from plimsoll.cli.table import render

    tty = sys.stdout.isatty()
    console = RichConsole(highlight=False, width=None if tty else 240)

    def page() -> Group:
        found, said = on_cluster(context, namespace, asked)
        table = render(found, instances=name is not None, width=console.width, now=time.time())
        alike = Counter(one["url"] for one in found)
        urls = [Text(f"{one['name']}  {_place(one, alike)}", "dim") for one in found if one["url"]]
        where = "" if everywhere or not namespace else f" in namespace {namespace}"
        empty = Text(f"no services{where}; add one with: plimsoll apply FILE --context …")
        return Group(table if found else empty, *urls, *(Text(line, "yellow") for line in said))

    if not watch:
        console.print(page())
        return
    with Live(page(), console=console, auto_refresh=False, screen=tty, transient=False) as live:
        while True:
            time.sleep(2.0)
            live.update(page(), refresh=True)


def _place(service: dict[str, Any], alike: Counter[str]) -> str:
    """Where two namespaces have one path at the gateway, the host says whose it is."""
    url, name = str(service["url"]), str(service["name"]).rpartition("/")[2]
    return url if alike[url] == 1 else f"{url}  (host: {name}.{service['namespace']})"


def logs(
    name: str | None, context: str | None, namespace: str | None, *, lines: int, follow: bool, replica: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    from plimsoll.app import cluster_services as work
    from plimsoll.app.cluster import on_cluster
    from plimsoll.cli.table import readable_log
    from plimsoll.telemetry.logs import parse

    console, printed = out(), [0]

    def told(pod: str, line: str) -> None:
        printed[0] += 1
        if as_json:
            record = parse(line)
            print(
                json.dumps({"replica": pod, **({"line": line} if record is None else {"record": record})}), flush=True
            )
            return
        for part in readable_log([line]):
            console.line(f"{console.paint(pod, 'cyan')} {part}")

    found = on_cluster(
        context,
        namespace,
        lambda reach: work.logs(reach, name, told, lines=lines, follow=follow, replica=replica),
    )
    if not printed[0] and not as_json:
        err().line(f"{found} has printed nothing so far", "dim")


def events(
    name: str | None, context: str | None, namespace: str | None, *, everywhere: bool, follow: bool, as_json: bool
) -> None:
    from plimsoll.app import cluster_services as work
    from plimsoll.app.cluster import on_cluster
    from plimsoll.cli.services import print_event

    console = out()

    def told(event: dict[str, Any]) -> None:
        if as_json:
            print(json.dumps(event), flush=True)
        else:
            print_event(console, event, clock=True)

    on_cluster(
        context, namespace, lambda reach: work.events(reach, name, told, follow=follow, everywhere=everywhere)
    )  # fmt: skip


def scale(name: str, replicas: int | None, context: str | None, namespace: str | None, *, as_json: bool) -> None:
    from plimsoll.app import cluster_services as work
    from plimsoll.app.cluster import on_cluster
    from plimsoll.core.by_hand import beyond

    found = on_cluster(context, namespace, lambda reach: work.scale(reach, name, replicas))
    if as_json:
        print(json.dumps({"name": name, "replicas": (found.get("spec") or {}).get("replicas")}))
        return
    what = "its policy decides again" if replicas is None else f"held at {replicas}, until: plimsoll scale {name} auto"
    out().line(f"  {name}   {what}")
    if words := beyond(replicas, work.most_replicas(found)):
        err().line(f"  {name}   {words}", "yellow")


def delete(given: list[str], context: str | None, namespace: str | None, *, wait: bool, as_json: bool) -> None:
    from plimsoll.app import cluster_services as work
    from plimsoll.app.cluster import on_cluster

    console: Console = err() if as_json else out()

    async def run(reach: Any) -> dict[str, list[str]]:
        for name in given:
            if "/" not in name:
                await work.find(reach, name)  # all names are checked before any is deleted
        asked = [(name, await work.delete(reach, name)) for name in given]
        ending = []
        for name, service in asked:
            gone = service is None or not wait or await work.await_gone(reach, service, 60.0)
            console.line(f"  {name}   {'deleted' if gone else 'is still ending: requests in flight'}")
            if not gone:
                ending.append(name)
        return {"deleted": [name for name in given if name not in ending], "ending": ending}

    done = on_cluster(context, namespace, run)
    if as_json:
        print(json.dumps(done))
