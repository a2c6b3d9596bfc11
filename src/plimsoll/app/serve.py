"""`plimsoll serve`: one replica, no gateway, in this process. Fit to be a container's first process."""

import dataclasses
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plimsoll.app.child_host import run_loop
from plimsoll.app.replica import log_fields, replica_settings, run_replica
from plimsoll.app.sources import choose_services
from plimsoll.core.errors import HostError, ModelLoadError, UserError
from plimsoll.spec import ModelService, load_file
from plimsoll.telemetry.logs import configure
from plimsoll.wire.http1 import TlsSettings
from plimsoll.wire.http1.tls import TlsContext


def run_serve(
    path: Path,
    *,
    host: str,
    port: int,
    service: str | None,
    say: Callable[[str], None],
    tls: TlsSettings | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT has drained it; the exit code. Raises UserError for what the file or the model is
    to blame for, HostError for a port or TLS files that can't be had."""
    chosen = choose_services(load_file(path), service)
    if len(chosen) > 1:
        raise UserError(
            f"{path} holds {len(chosen)} services; choose one with --service: {', '.join(one.name for one in chosen)}"
        )
    (one,) = chosen
    for line in gateways_work(one):
        say(f"  {one.name}   not honoured here: {line}")
    port = _checked_port(host, port)
    if tls is not None:
        TlsContext(tls)  # what is wrong with the files is said before the model is loaded
    began = time.perf_counter()
    failures: list[dict[str, Any]] = []

    def report(event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            seconds = time.perf_counter() - began
            url = _url(one, host, port, secure=tls is not None)
            say(f"  {one.name}   ready in {seconds:.1f} s   {url}   stop: Ctrl-C")
        elif event["event"] == "draining":
            say("  stopping: answering what is in flight")
        elif event["event"] == "unready":
            say(f"  {one.name}   {event['reason']}")
        elif event["event"] == "failed":
            failures.append(event)

    args = {
        "service": one.dump(),
        "directory": str(one.directory.resolve()),
        "revision": f"{one.name}-alone",
        "replica": f"{one.name}-alone-0",
        "listen": f"tcp:{host}:{port}",
    }
    settings = replica_settings(args)
    if tls is not None:
        settings = dataclasses.replace(settings, http=dataclasses.replace(settings.http, tls=tls))
    if sys.stderr.isatty():
        configure("console", "warning")  # what goes well is said above
    else:
        configure("json", always=log_fields(settings))
    code = run_loop(run_replica(settings, args, report))
    for failure in failures:
        raise _error(failure)
    return code


def gateways_work(service: ModelService) -> list[str]:
    """Keys that a replica alone can't honour: a gateway before it would."""
    spec, found = service.spec, []
    if spec.access.anonymous is False:
        found.append("spec.access.anonymous: a replica alone checks no keys; it answers whoever reaches it")
    if spec.cache is not None:
        found.append("spec.cache: a gateway keeps answers, a replica alone computes each")
    if spec.fallback:
        found.append("spec.fallback: a gateway falls back, a replica alone refuses")
    return found


def _error(failure: dict[str, Any]) -> Exception:
    if failure.get("file") or failure.get("detail"):
        return ModelLoadError(
            failure["reason"],
            file=failure.get("file", ""),
            line=failure.get("line", 0),
            detail=failure.get("detail", ""),
        )
    return HostError(failure["reason"])


def _checked_port(host: str, port: int) -> int:
    """The port to take, tried before the model is loaded: that can take a minute."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        reason = error.strerror or str(error)
        raise HostError(f"port {port} on {host} can't be had: {reason}; choose another with --port") from None


def _url(service: ModelService, host: str, port: int, *, secure: bool) -> str:
    shown = "localhost" if host in {"127.0.0.1", "::1", "0.0.0.0", "::"} else host
    path = service.spec.routes[0].path if service.spec.routes else f"/v2/models/{service.name}"
    return f"{'https' if secure else 'http'}://{shown}:{port}{path}"
