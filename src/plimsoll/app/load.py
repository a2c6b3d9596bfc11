"""`plimsoll load`: from a service's name or a URL to a run of the open-loop client.

A name is looked up in the running instance: its address, budget and replicas come from the admin API, its timeout and
its example from the service file (found through the revision's copy of the model, or in the current folder).
"""

import asyncio
import http.client
import json
import os
import resource
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from plimsoll.app.child_host import on_signals, run_loop
from plimsoll.app.client import AdminClient
from plimsoll.app.example import door_of
from plimsoll.app.instance import Instance, find
from plimsoll.app.sources import service_files
from plimsoll.core.errors import PlimsollError, UserError
from plimsoll.insight.traffic import Arrivals, Gaps, Trace, constant, draw, ramp, read_trace, repeat
from plimsoll.load import (
    Budget,
    LoadSettings,
    Progress,
    Record,
    Report,
    Target,
    Traffic,
    body_of_zeros,
    client_tls,
    http_target,
    run_load,
)

HUNG_AFTER_S = 5.0  # beyond the service's own timeout
URL_TIMEOUT_S = 30.0  # of a server that tells us none
RATE, DURATION_S = 100.0, 30.0  # where neither is named
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """As on the command line, in plain units. `body`: JSON text, None: the service's own example."""

    target: str
    port: int | None = None
    rate: float | None = None
    ramp: tuple[float, float] | None = None
    trace: str | None = None
    speedup: float = 1.0
    scale: float = 1.0
    duration_s: float | None = None
    gaps: Gaps | None = None
    body: bytes | None = None
    headers: tuple[str, ...] = field(default=(), repr=False)  # an API key may be among them
    unix_socket: str | None = None
    ca: Path | None = None
    insecure: bool = False
    connections: int = 1024
    timeout_s: float | None = None
    budget_s: float | None = None
    seed: int = 0

    def tls(self) -> ssl.SSLContext:
        return client_tls(self.ca, insecure=self.insecure)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done. `replicas`: asks the running instance how many are ready (None: a URL's own business)."""

    target: Target
    traffic: Traffic
    settings: LoadSettings
    budget: Budget
    replicas: Callable[[], int | None] | None = None
    note: str = ""


def plan_load(options: LoadOptions) -> Plan:
    """Everything that can be wrong is found here, before the first request. Raises UserError, HostError."""
    traffic = traffic_of(options)
    if "/" in options.target or ":" in options.target:
        target = http_target(
            options.target,
            options.body,
            options.headers,
            unix_socket=options.unix_socket,
            tls=options.tls,
        )
        timeout_s, budget, replicas, note = None, Budget(), None, ""
    else:
        if options.unix_socket is not None:
            raise UserError("--unix-socket goes with a URL: http://localhost/PATH")
        target, budget, timeout_s, replicas, note = _named(options)
    if options.budget_s is not None:
        budget = Budget(p99_s=options.budget_s, error_rate=budget.error_rate)
        timeout_s = 2 * options.budget_s if timeout_s is None else timeout_s
    hung_s = options.timeout_s
    if hung_s is None:
        hung_s = timeout_s + HUNG_AFTER_S if timeout_s is not None else URL_TIMEOUT_S
    deadline_s = target.deadline_s if target.deadline_s is not None else timeout_s if timeout_s is not None else hung_s
    settings = LoadSettings(connections=options.connections, timeout_s=hung_s, deadline_s=deadline_s)
    return Plan(target, traffic, settings, budget, replicas, note)


def run(plan: Plan, watch: Callable[[Progress], None], record: Record | None = None) -> Report:
    """Until the schedule has ended and every request with it; Ctrl-C ends it early, a second one at once. `record` is
    told of each request that ends."""
    _allow_connections(plan.settings.connections)
    found: list[Report] = []

    async def main() -> int:
        stop = asyncio.Event()

        def stopped() -> None:
            if stop.is_set():
                os._exit(130)
            stop.set()

        on_signals(stopped, signal.SIGINT, signal.SIGTERM)
        with _polled(plan.replicas) as replicas:
            found.append(
                await run_load(
                    plan.target,
                    plan.traffic,
                    plan.settings,
                    budget=plan.budget,
                    stop=stop,
                    watch=watch,
                    replicas=replicas,
                    record=record,
                )
            )
        return 0

    run_loop(main())
    return found[0]


# Traffic


def traffic_of(options: LoadOptions) -> Traffic:
    random = Random(options.seed)
    if options.trace is not None:
        return _from_trace(_trace(options.trace), options, random)
    seconds = options.duration_s if options.duration_s is not None else DURATION_S
    gaps = options.gaps or Gaps()
    if options.ramp is not None:
        rates = ramp(*options.ramp, seconds)
        told = f"{options.ramp[0]:g} to {options.ramp[1]:g}/s"
    else:
        rate = options.rate if options.rate is not None else RATE
        rates, told = constant(rate, seconds), f"{rate:,g}/s"
    if rates.requests <= 0:
        raise UserError("a rate of 0 sends nothing; name one above 0")
    arrivals = Arrivals(draw(rates, random, gaps))
    return Traffic(arrivals, seconds, options.seed, f"{told} {gaps}", rates, ramp=options.ramp is not None)


def _from_trace(trace: Trace, options: LoadOptions, random: Random) -> Traffic:
    name = f"{Path(options.trace or '').name}, speedup {options.speedup:g}"
    name += f", scale {options.scale:g}" if options.scale != 1 else ""
    until = options.duration_s
    if trace.times is not None:
        if options.gaps is not None:
            raise UserError(f"{options.trace} says when each request came: --arrivals has nothing to choose")
        times = repeat(iter(trace.times), random, speedup=options.speedup, scale=options.scale, until_s=until)
        lasts = trace.duration_s / options.speedup
        return Traffic(Arrivals(times), min(lasts, until) if until is not None else lasts, options.seed, name)
    assert trace.rates is not None
    rates = trace.rates.stretched(speedup=options.speedup, scale=options.scale, until_s=until)
    if rates.requests <= 0:
        raise UserError(f"{options.trace} has no requests in its first {until:g} s; lengthen --for")
    if options.gaps is not None:
        name += f", {options.gaps}"
    return Traffic(Arrivals(draw(rates, random, options.gaps)), rates.duration_s, options.seed, name, rates)


def _trace(path: str) -> Trace:
    try:
        with open(path, encoding="utf-8") as lines:
            return read_trace(lines, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


# A service by its name


def _named(options: LoadOptions) -> tuple[Target, Budget, float, Callable[[], int | None], str]:
    instance = find(options.port)
    client = AdminClient(instance.admin_socket)
    name = options.target
    status = client.service(name)
    told = status.get("budget") or {}
    budget = Budget(told.get("p50_s"), told.get("p95_s"), told.get("p99_s"), told.get("error_rate"))
    timeout_s, body, note = _from_file(instance, status)
    if timeout_s is None:  # as `spec` says: twice the p99 budget, else a minute
        timeout_s = 2 * budget.p99_s if budget.p99_s is not None else 60.0
    if options.body is not None:
        body, note = options.body, ""
    if body is None:
        body, note = _zeros(instance, name), "body: zeros, by the model's metadata"
    path, host = door_of(name, [str(route) for route in status.get("routes") or []], body)
    headers = (f"host: {host}", *options.headers) if host else options.headers
    target = http_target(f"{instance.gateway}{path}", body, headers, tls=options.tls)
    return target, budget, timeout_s, lambda: int(client.service(name)["replicas"]["ready"]), note


def _from_file(instance: Instance, status: dict[str, Any]) -> tuple[float | None, bytes | None, str]:
    """Timeout, example and where that is from, of the service file; nothing where it isn't found."""
    from plimsoll.models.examples import read_examples
    from plimsoll.spec import load_file

    # Beside a copied Python model stand links to what was beside the original.
    copies = Path(instance.admin_socket).parent / "revisions" / str(status["revision"])
    for folder in (copies, Path.cwd()):
        with suppress(PlimsollError, OSError):
            for file in service_files([folder]):
                with suppress(PlimsollError):
                    for service in load_file(file.resolve()):
                        if service.name == status["name"]:
                            examples = read_examples(str(service.directory), service.name)
                            body = json.dumps(examples[0].input, ensure_ascii=False).encode() if examples else None
                            note = f"body: {examples[0].name or 'the first example'}" if examples else ""
                            return service.timeout_s, body, note
    return None, None, ""


def _zeros(instance: Instance, name: str) -> bytes:
    """What the model's metadata makes possible. Raises UserError where nothing is known of its inputs."""
    connection = http.client.HTTPConnection(urlsplit(instance.gateway).netloc, timeout=10)
    try:
        connection.request("GET", f"/v2/models/{name}")
        told = json.loads(connection.getresponse().read())
        body = body_of_zeros(told.get("inputs") or [])
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        body = None
    finally:
        connection.close()
    if body is None:
        raise UserError(
            f"no example is known for {name}: name one with --body FILE or --body '{{…}}', "
            "or write request.json beside its service file"
        )
    return json.dumps(body).encode()


# Around the run


@contextmanager
def _polled(ask: Callable[[], int | None] | None) -> Iterator[Callable[[], int | None]]:
    """The last answer, asked for once a second in a thread: the client's loop waits for nobody."""
    seen: list[int | None] = [None]
    if ask is None:
        yield lambda: None
        return
    ended = threading.Event()

    def poll() -> None:
        while True:
            with suppress(PlimsollError, KeyError, TypeError, ValueError):
                seen[0] = ask()
            if ended.wait(_POLL_S):
                return

    thread = threading.Thread(target=poll, name="replicas", daemon=True)
    thread.start()
    try:
        yield lambda: seen[0]
    finally:
        ended.set()


def _allow_connections(count: int) -> None:
    """Raises this process's own limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
