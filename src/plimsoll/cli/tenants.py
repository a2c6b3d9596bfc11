"""Commands about who may ask, and what was answered before: tenants, tenant key, cache purge."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from plimsoll.cli import completion
from plimsoll.cli.console import err, out
from plimsoll.cli.services import AsJson, Port, client_of


def tenants(port: Port = None, as_json: AsJson = False) -> None:
    """Who may ask, how they are known, and how much they may.

    Quotas are a tenant's whole, over all gateways; the last line says how they hold there.
    """
    client = client_of(port)
    told = client.tenants()
    if as_json:
        print(json.dumps(told))
        return
    from rich.console import Console as RichConsole

    from plimsoll.cli.table import grid

    console = out()
    if not told["tenants"]:
        console.line("no tenants: services answer anybody, but those whose access.anonymous is false")
        return
    rows = [[(text, "") for text in cells(one)] for one in told["tenants"]]
    width = None if console.stream.isatty() else 240
    rich = RichConsole(highlight=False, width=width)
    rich.print(grid(COLUMNS, rows, rich.width, SPARE))
    console.line()
    console.line(told["limits"]["told"], "dim")
    for note in client.info()["notes"]:
        console.line(note, "yellow")


COLUMNS = ("TENANT", "KNOWN BY", "REQ/S", "AT ONCE", "TOKENS/MIN", "WEIGHT", "PRIORITY", "SERVICES")
SPARE = ("TOKENS/MIN", "PRIORITY", "AT ONCE", "WEIGHT")


def cells(tenant: Mapping[str, Any]) -> list[str]:
    services = "all" if tenant["all_services"] else ", ".join(tenant["services"]) or "none that runs"
    return [
        str(tenant["name"]),
        ", ".join(tenant["auth"]),
        _limit(tenant["requests_per_s"]),
        _limit(tenant["concurrent_requests"]),
        _limit(tenant["tokens_per_minute"]),
        f"{tenant['weight']:g}",
        f"<= {tenant['max_priority']}" if tenant["max_priority"] else "0",
        services,
    ]


def _limit(value: float | None) -> str:
    return "-" if value is None else f"{value:,.10g}"


def tenant_key(
    name: Annotated[
        str, typer.Argument(help="The tenant's name.", metavar="NAME", autocompletion=completion.tenant_names)
    ],
    key_name: Annotated[str, typer.Option("--key-name", metavar="NAME", help="What the key is called.")] = "default",
    secrets: Annotated[str, typer.Option(metavar="DIR", help="The folder of secrets.")] = "secrets",
    as_json: AsJson = False,
) -> None:
    """Make an API key for a tenant.

    The key is printed once, alone on standard output; only its hash is kept, in SECRETS/NAME-keys/KEYNAME. Keys that
    were there before open as long as their line stands in that file.
    """
    from pathlib import Path

    from plimsoll.app.tenant_key import make_key

    made = make_key(name, key_name, Path(secrets))
    if as_json:
        print(json.dumps({"tenant": name, "key_name": key_name, "key": made.key, "file": str(made.file)}))
        return
    console = err()
    print(made.key, flush=True)
    console.line()
    console.line("  This is shown once. Who has it sends it as:  authorization: Bearer KEY   or   x-api-key: KEY")
    console.line(f"  Its hash is in {made.file}. The Tenant {name} names it so:")
    console.line()
    for line in ("spec:", "  auth:", "    apiKeys:", *(f"    {line}" for line in made.lines)):
        console.line(f"    {line}")
    if made.digests > 1:
        console.line()
        console.line(f"  {made.digests} keys of this name open now; to end an old one, delete its line in that file.")


def cache_purge(
    name: Annotated[
        str,
        typer.Argument(
            help="A running service that has a cache.", metavar="NAME", autocompletion=completion.cached_names
        ),
    ],
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    """Forget every answer that a service's cache keeps.

    Returns when all gateways have. Ends with 1 where one has not said so after 5 s.
    """
    purged = client_of(port).purge(name)
    if as_json:
        print(json.dumps(purged))
    else:
        count = purged["gateways"]
        gateways = "1 gateway" if count == 1 else f"{count} gateways"
        if purged["acknowledged"]:
            out().line(f"  {name}   cache purged in {gateways}")
        else:
            out().line(f"  {name}   purged, but not each of {gateways} has said so; those may answer from it", "red")
    if not purged["acknowledged"]:
        raise typer.Exit(1)
