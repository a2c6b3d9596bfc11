"""Commands that change what is running by hand: scale, delete."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli import completion
from plimsoll.cli.console import out
from plimsoll.cli.services import POLL_S, AsJson, Name, NoWait, Port, Timeout, client_of, seconds

if TYPE_CHECKING:
    from plimsoll.app.client import AdminClient


def scale(
    name: Name,
    replicas: Annotated[
        str, typer.Argument(help="How many; `auto` gives the count back to the policy.", metavar="N|auto")
    ],
    port: Port = None,
    no_wait: NoWait = False,
    timeout: Timeout = "2m",
    as_json: AsJson = False,
) -> None:
    """Set the number of replicas by hand.

    It holds until `scale NAME auto`.
    """
    from plimsoll.core.errors import UserError

    if replicas != "auto" and not replicas.isdecimal():
        raise UserError(f"scale {name} {replicas}: write a number of replicas, or auto")
    client = client_of(port)
    wanted = None if replicas == "auto" else int(replicas)
    client.scale(name, wanted)
    status = client.service(name)
    until = time.monotonic() + seconds(timeout)
    while not no_wait and not _scaled(status, wanted) and time.monotonic() < until:
        time.sleep(POLL_S)
        status = client.service(name)
    if as_json:
        print(json.dumps(status))
        return
    from plimsoll.cli.table import ready

    console = out()
    console.line(f"  {name}   {ready(status)} ready{_holds(status, wanted)}")
    if not no_wait and not _scaled(status, wanted):
        console.line(f"  {name}   {status.get('message') or 'not there yet'}; more: plimsoll status {name}", "red")
        raise typer.Exit(1)


def _holds(status: dict[str, Any], wanted: int | None) -> str:
    """What a count set by hand means from here on."""
    if wanted is None:
        return ""
    until = f"until: plimsoll scale {status['name']} auto"
    if wanted:
        return f"   {until}"
    steps = ", else ".join(status["fallback"])
    return f"   requests get {f'the fallback ({steps})' if steps else '503 no_replica'} {until}"


def _scaled(status: dict[str, Any], wanted: int | None) -> bool:
    replicas = status["replicas"]
    return replicas["ready"] == replicas["wanted"] and (wanted is None or replicas["wanted"] == wanted)


def delete(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Running services; tenant/NAME and platform/NAME.",
            metavar="NAME",
            autocompletion=completion.deletable_names,
        ),
    ],
    port: Port = None,
    no_wait: NoWait = False,
) -> None:
    """Stop serving; requests in flight are answered first.

    Files stay as they are. `tenant/NAME` deletes a tenant: its keys open nothing any more.
    """
    client = client_of(port)
    services = [name for name in names if not name.startswith(("tenant/", "platform/"))]
    for name in services:
        client.service(name)  # all names are checked before any is deleted
    for name in sorted(set(names) - set(services)):
        kind, _, rest = name.partition("/")
        (client.delete_tenant if kind == "tenant" else client.delete_platform)(rest)
        out().line(f"  {name}   deleted")
    for name in _delete_services(client, services):
        until = time.monotonic() + 60.0
        while not no_wait and time.monotonic() < until and name in {one["name"] for one in client.services()}:
            time.sleep(POLL_S)
        out().line(f"  {name}   deleted")


def _delete_services(client: "AdminClient", names: list[str]) -> list[str]:
    """In an order that the controller takes: what another of them falls back to comes after that one."""
    from plimsoll.app.client import Rejected

    left, gone = list(dict.fromkeys(names)), []
    while left:
        before = len(left)
        for name in tuple(left):
            try:
                client.delete(name)
            except Rejected as error:
                refused = error
                continue
            left.remove(name)
            gone.append(name)
        if len(left) == before:
            raise refused
    return gone
