"""Commands about what is running: apply, status, logs, events. They ask the running instance's admin API over its Unix
socket."""

import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli import cluster, completion
from plimsoll.cli.cluster import Context, Everywhere, LogsNamespace, Namespace
from plimsoll.cli.console import Console, err, out

if TYPE_CHECKING:
    from plimsoll.app.client import AdminClient

POLL_S = 0.1  # the admin API answers in about 2 ms: a tenth of a second looks instant and costs nothing
MOST_NAMED = 5  # tenants below the table of services

Port = Annotated[
    int | None,
    typer.Option(
        "--port", "--instance", metavar="PORT", help="Which instance, by its gateway's port, where several run.",
        autocompletion=completion.ports, show_default=False,
    ),
]  # fmt: skip
Name = Annotated[
    str, typer.Argument(help="A running service.", metavar="NAME", autocompletion=completion.service_names)
]
MaybeName = Annotated[
    str | None,
    typer.Argument(help="A running service; left out: all.", metavar="NAME", autocompletion=completion.service_names),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return at once.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="The longest wait: 30s, 5m.")]


def client_of(port: int | None) -> "AdminClient":
    """The running instance's admin API. Raises UserError where there is none, or a choice to make."""
    from plimsoll.app.client import AdminClient
    from plimsoll.app.instance import find

    return AdminClient(find(port).admin_socket)


def apply(
    paths: Annotated[list[str], typer.Argument(help="Service files, or folders of them.", metavar="FILE|DIR")],
    port: Port = None,
    no_wait: NoWait = False,
    timeout: Timeout = "2m",
    as_json: AsJson = False,
    context: Context = None,
    namespace: Namespace = None,
    force: Annotated[bool, typer.Option("--force", help="On a cluster: also what others own.")] = False,
) -> None:
    """Add services and tenants to what runs, or change them.

    Replicas are replaced one by one, and no request is dropped. Ends with 1 where a new revision failed: the last good
    one then serves on. With --context on a cluster, small models packed on the way.
    """
    if cluster.meant(context, namespace):
        cluster.apply(
            paths, context, namespace, timeout_s=seconds(timeout), wait=not no_wait, force=force, as_json=as_json
        )
        return
    from pathlib import Path

    from plimsoll.app.sources import documents

    client = client_of(port)
    seen = _last_seq(client)
    applied = client.apply([{"text": text, "file": str(file)} for text, file in documents([Path(p) for p in paths])])
    console = out()
    if as_json and no_wait:
        print(json.dumps({"applied": applied}))
        return
    if not as_json:
        for one in applied:
            _tell_applied(console, one)
    if no_wait:
        return
    services = [one for one in applied if one["kind"] == "ModelService"]
    failed = _await_rollout(client, services, seen, seconds(timeout), None if as_json else console)
    if as_json:
        for one in applied:
            one["failed"] = failed.get(one["name"])
        print(json.dumps({"applied": applied}))
    if failed:
        raise typer.Exit(1)


def _tell_applied(console: Console, one: Mapping[str, Any]) -> None:
    if one["kind"] == "ModelService":
        name, what = one["name"], f"{one['change']}: rev {one['revision_number']} ({one['revision']})"
    else:
        name, what = f"{str(one['kind']).lower()}/{one['name']}", str(one["change"])
    console.line(f"  {name}   {what}")
    for key in one.get("not_honoured") or []:
        console.line(f"  {name}   not honoured here: {key}", "dim")


def _await_rollout(
    client: "AdminClient", applied: list[dict[str, Any]], seen: int, timeout_s: float, console: Console | None
) -> dict[str, str]:
    """Prints events as they come, until each service runs what was applied, or failed to. Returns why, by service."""
    waiting = {str(one["name"]): int(one["revision_number"]) for one in applied}
    failed: dict[str, str] = {}
    until = time.monotonic() + timeout_s
    while waiting:
        for event in client.events(since=seen):
            seen, name = int(event["seq"]), str(event["service"])
            if name in waiting:
                _tell(console, event)
                if event["kind"] == "failed" and event.get("revision_number") == waiting[name]:
                    failed[name] = str(event["message"])
        for name, number in waiting.items():
            status = client.service(name)
            if status["phase"] == "Failed":
                failed.setdefault(name, str(status["message"]))
            elif _settled(status, number):
                failed.setdefault(name, "")
        waiting = {name: number for name, number in waiting.items() if name not in failed}
        if waiting and time.monotonic() > until:
            failed |= dict.fromkeys(waiting, f"not rolled out after {timeout_s:g} s; it goes on")
            for name in waiting:
                _tell(console, {"kind": "", "service": name, "message": failed[name], "level": "error"})
            break
        if waiting:
            time.sleep(POLL_S)
    return {name: why for name, why in failed.items() if why}


def _tell(console: Console | None, event: Mapping[str, Any]) -> None:
    if console is not None and event["kind"] not in {"applied", "scaled"}:
        print_event(console, event)


def _settled(status: dict[str, Any], revision_number: int) -> bool:
    """Only the applied revision runs, and all of it is ready."""
    replicas = status["replicas"]
    return bool(
        status["revision_number"] == revision_number
        and status["phase"] == "Ready"
        and replicas["ready"] >= replicas["wanted"]
        and all(instance["revision"] == status["revision"] for instance in status.get("instances") or [])
    )


def _last_seq(client: "AdminClient") -> int:
    return max((int(event["seq"]) for event in client.events()), default=0)


def seconds(text: str, option: str = "--timeout") -> float:
    from plimsoll.core.errors import UserError
    from plimsoll.core.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def print_event(console: Console, event: Mapping[str, Any], *, clock: bool = False, width: int = 0) -> None:
    """One line: the service's name in `width` columns, then the message; the time of day before it where `clock`."""
    style = {"warning": "yellow", "error": "red"}.get(str(event.get("level")), "")
    at = time.strftime("%H:%M:%S", time.localtime(float(event["at"]))) if clock else ""
    first, *more = str(event["message"]).splitlines() or [""]
    name = console.paint(f"{event['service']:{width or 1}}", "bold")
    head = f"  {name}   " if event["service"] else "  "
    console.line(f"{at}{head}{console.paint(first, style)}")
    for line in more:
        console.line(f"     {line}", "dim")


def status(
    name: MaybeName = None,
    port: Port = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh each second.")] = False,
    as_json: AsJson = False,
    context: Context = None,
    namespace: Namespace = None,
    everywhere: Everywhere = False,
) -> None:
    """What runs, how it keeps its budget, and what is wrong.

    Latencies and errors are those of the budget's window; `!` marks one over its budget.
    """
    if cluster.meant(context, namespace, everywhere):
        cluster.status(name, context, namespace, everywhere=everywhere, watch=watch, as_json=as_json)
        return
    client = client_of(port)

    def statuses() -> list[dict[str, Any]]:
        return [client.service(name)] if name else client.services()

    if as_json:
        limits, noticed = client.tenants()["limits"], client.info()["notes"]
        print(json.dumps({"services": statuses(), "limits": limits, "notes": noticed}))
        return
    from rich.console import Console as RichConsole
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from plimsoll.cli.table import render

    tty = sys.stdout.isatty()
    # Piped, a table is as wide as it is: a program that cuts columns must find them all.
    console = RichConsole(highlight=False, width=None if tty else 240)
    info = client.info()

    def page() -> Group:
        found = statuses()
        table = render(found, instances=name is not None, width=console.width, now=time.time())
        up = _ago(time.time() - float(info["started_at"]))
        lines = [Text(str(note), "yellow") for note in client.info()["notes"]]
        tenants = client.tenants()
        if tenants["tenants"]:
            lines.append(Text(f"{_whom(tenants['tenants'])}: {tenants['limits']['told']}", "dim"))
        lines.append(Text(f"gateway {info['gateway']}   up {up}   pid {info['pid']}", "dim"))
        empty = Text("no services; add one with: plimsoll apply FILE")
        return Group(table if found else empty, Text(), *lines)

    if not watch:
        console.print(page())
        return
    with Live(page(), console=console, auto_refresh=False, screen=tty, transient=False) as live:
        while True:
            time.sleep(1.0)
            live.update(page(), refresh=True)


def _whom(tenants: list[dict[str, Any]]) -> str:
    if len(tenants) > MOST_NAMED:
        return f"{len(tenants)} tenants"
    return f"tenant{'s' * (len(tenants) > 1)} {', '.join(one['name'] for one in tenants)}"


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _lines(text: str) -> int:
    if not str(text).isdecimal():
        hint = "expected 0 or more" if text[:1] == "-" else f"a cluster's namespace is --namespace {text} here"
        raise typer.BadParameter(f"{text} is no number of lines; {hint}")
    return int(text)


def logs(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A running service; left out: the only one.", metavar="NAME", autocompletion=completion.service_names
        ),
    ] = None,
    port: Port = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines as they come.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", help="How many of the last lines.", parser=_lines)
    ] = 100,
    replica: Annotated[
        str | None, typer.Option(metavar="ID", help="One replica alone, by its id.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    context: Context = None,
    namespace: LogsNamespace = None,
) -> None:
    """What the replicas printed, also those that have ended.

    Plimsoll's own lines are JSON in the files, and plain here; `--json` gives them as they are.
    """
    if cluster.meant(context, namespace):
        cluster.logs(name, context, namespace, lines=lines, follow=follow, replica=replica, as_json=as_json)
        return
    from plimsoll.cli.table import readable_log
    from plimsoll.telemetry.logs import parse

    client = client_of(port)
    console = out()
    name = name or _only_service(client)
    nothing = True
    for line in client.logs(name, lines=lines, replica=replica, follow=follow):
        nothing = False
        source, _, text = line.partition(" ")
        if as_json:
            record = parse(text.lstrip())
            told = {"line": text.lstrip()} if record is None else {"record": record}
            print(json.dumps({"service": name, "replica": source, **told}), flush=True)
        else:
            for part in readable_log([text]) if text else [line]:
                console.line(f"{console.paint(source, 'cyan')} {part}" if text else part)
    if nothing and not as_json and not follow:
        err().line(f"{name} has printed nothing so far", "dim")


def _only_service(client: "AdminClient") -> str:
    from plimsoll.core.errors import UserError

    names = [str(service["name"]) for service in client.services()]
    if len(names) != 1:
        raise UserError(f"name one of the running services: {', '.join(names)}" if names else "no services run here")
    return names[0]


def events(
    name: MaybeName = None,
    port: Port = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events as they come.")] = False,
    as_json: AsJson = False,
    context: Context = None,
    namespace: Namespace = None,
    everywhere: Everywhere = False,
) -> None:
    """What happened: applied, ready, replaced, failed, scaled."""
    if cluster.meant(context, namespace, everywhere):
        cluster.events(name, context, namespace, everywhere=everywhere, follow=follow, as_json=as_json)
        return
    client = client_of(port)
    console = out()
    if name is not None:
        client.service(name)  # an unknown name is told, with the nearest
    for event in client.events(follow=follow):
        if name is not None and event["service"] != name:
            continue
        if as_json:
            print(json.dumps(event), flush=True)
        else:
            print_event(console, event, clock=True)
