"""The entry point of a gateway process."""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from plimsoll.app.child_host import on_signals, run_loop, status_writer
from plimsoll.backends.local.child import EXIT_FAILED, finish
from plimsoll.core.errors import HostError
from plimsoll.gateway import Gateway
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.ports.spawner import ChildContext
from plimsoll.telemetry.logs import configure
from plimsoll.wire.http1 import HttpSettings, TlsSettings, UnixAddress, parse_address


def main(context: ChildContext) -> None:
    """Called in the child; `args` are `name`, `listen`, `control`, `metrics` and, optionally, `metrics_on_door`,
    `reuse_port`, `tls` (see `tls_settings`) and `audit` (a file)."""
    configure("json", always={"gateway": context.args["name"]})
    finish(run_loop(_run(context)))


def gateway_settings(args: dict[str, Any]) -> GatewaySettings:
    return GatewaySettings(
        name=args["name"],
        listen=tuple(args["listen"]),
        control=args["control"],
        metrics=args.get("metrics"),
        metrics_on_door=args.get("metrics_on_door", all(map(is_local, args["listen"]))),
        audit=args.get("audit"),
        http=HttpSettings(reuse_port=bool(args.get("reuse_port", False)), tls=tls_settings(args.get("tls"))),
    )


def tls_settings(args: Mapping[str, str] | None) -> TlsSettings | None:
    """`{"cert": FILE, "key": FILE, "client_ca"?: FILE, "client_cert"?: "required" | "optional"}`."""
    if args is None:
        return None
    required = args.get("client_cert", "required") == "required"
    return TlsSettings(args["cert"], args["key"], args.get("client_ca"), require_client_cert=required)


def is_local(address: str) -> bool:
    """Whether only programs on this machine can reach it. Who else reads `/metrics` learns every service's name."""
    place = parse_address(address)
    if isinstance(place, UnixAddress) or place.host == "localhost":
        return True
    try:
        return ip_address(place.host).is_loopback
    except ValueError:  # another name
        return False


async def _run(context: ChildContext) -> int:
    report = status_writer(context.status_fd)
    stop = asyncio.Event()
    on_signals(stop.set)
    gateway = Gateway(gateway_settings(dict(context.args)), fds=dict(context.fds))
    try:
        addresses = await gateway.start()
    except HostError as error:
        report({"event": "failed", "reason": str(error)})
        return EXIT_FAILED
    report({"event": "ready", "address": addresses[0], "addresses": addresses})
    await stop.wait()
    report({"event": "draining"})
    await gateway.drain()
    return 0
