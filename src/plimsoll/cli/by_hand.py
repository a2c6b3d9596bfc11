"""Commands that change what is running by hand: scale, delete."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plimsoll.cli import cluster, completion
from plimsoll.cli.cluster import Context, Namespace
from plimsoll.cli.console import err, out
from plimsoll.cli.services import POLL_S, AsJson, Name, NoWait, Port, Timeout, client_of, seconds

if TYPE_CHECKING:
    from plimsoll.app.client import AdminClient


def scale(
    name: Name,
    replicas: Annotated[
        str, typer.Argument(help="How many; `auto` gives the count back to the policy.", metavar="N|auto")
    ],
    for_: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            help="How long it holds: 10m. [default: 1h where a policy scales the service, else until `auto`]",
            show_default=False,
        ),
    ] = None,
    port: Port = None,
    no_wait: NoWait = False,
    timeout: Timeout = "2m",
    as_json: AsJson = False,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Set the number of replicas by hand.

    A policy that scales the service decides again when the time is over, or after `scale NAME auto`.
    """
    from plimsoll.core.errors import UserError

    if replicas == "auto" and for_ is not None:
        raise UserError(f"scale {name} auto --for {for_}: a policy needs no end; leave --for out")
    if replicas != "auto" and not replicas.isdecimal():
        raise UserError(f"scale {name} {replicas}: write a number of replicas, or auto")
    wanted = None if replicas == "auto" else int(replicas)
    if cluster.meant(context, namespace):
        if for_ is not None:
            raise UserError(
                f"scale {name} --for {for_}: a cluster keeps a count until `scale {name} auto`; leave --for out"
            )
        cluster.scale(name, wanted, context, namespace, as_json=as_json)
        return
    client = client_of(port)
    client.scale(name, wanted, None if for_ is None else seconds(for_, "--for"))
    status = client.service(name)
    until = time.monotonic() + seconds(timeout)
    while not no_wait and not _scaled(status, wanted) and time.monotonic() < until:
        time.sleep(POLL_S)
        status = client.service(name)
    if as_json:
        print(json.dumps(status))
        return
    from plimsoll.cli.table import counts

    console = out()
    console.line(f"  {name}   {counts(status)} ready{_holds(status, wanted)}")
    tell_beyond(name, wanted, status)
    if not no_wait and not _scaled(status, wanted):
        console.line(f"  {name}   {status.get('message') or 'not there yet'}; more: plimsoll status {name}", "red")
        raise typer.Exit(1)


def tell_beyond(name: str, wanted: int | None, status: dict[str, Any]) -> None:
    from plimsoll.core.by_hand import beyond

    most = (status.get("scaling") or {}).get("max_replicas")
    if most is not None and (words := beyond(wanted, int(most))):
        err().line(f"  {name}   {words}", "yellow")


def _holds(status: dict[str, Any], wanted: int | None) -> str:
    """What a count set by hand means from here on."""
    if wanted is None:
        return ""
    left_s = (status.get("scaling") or {}).get("left_s")
    until = f"until: plimsoll scale {status['name']} auto"
    if left_s is not None:
        from plimsoll.cli.table import lasting

        until = f"for {lasting(left_s)}, or {until}"
    if wanted:
        return f"   {until}"
    steps = ", else ".join(status["fallback"])
    return f"   requests get {f'the fallback ({steps})' if steps else '503 no_replica'} {until}"


def _scaled(status: dict[str, Any], wanted: int | None) -> bool:
    replicas = status["replicas"]
    if wanted == 0 and status["instances"]:
        return False  # those that drain are asked as long as nobody else is there
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
    as_json: AsJson = False,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Stop serving; requests in flight are answered first.

    Files stay as they are. `tenant/NAME` deletes a tenant: its keys open nothing any more.
    """
    if cluster.meant(context, namespace):
        cluster.delete(names, context, namespace, wait=not no_wait, as_json=as_json)
        return
    told = err() if as_json else out()
    client = client_of(port)
    services = [name for name in names if not name.startswith(("tenant/", "platform/"))]
    for name in services:
        client.service(name)  # all names are checked before any is deleted
    for name in sorted(set(names) - set(services)):
        kind, _, rest = name.partition("/")
        (client.delete_tenant if kind == "tenant" else client.delete_platform)(rest)
        told.line(f"  {name}   deleted")
    for name in _delete_services(client, services):
        until = time.monotonic() + 60.0
        while not no_wait and time.monotonic() < until and name in {one["name"] for one in client.services()}:
            time.sleep(POLL_S)
        told.line(f"  {name}   deleted")
    if as_json:
        print(json.dumps({"deleted": names}))


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
