"""What a request takes through a gateway, as `plimsoll load` sees it: for `plimsoll profile`.

A gateway process like those of `up`, told of its replicas by itself, and two open loops. One of so few requests that
most find nobody else; those count. A closed loop sees less: nobody sleeps in it, and waking costs a fifth of a small
model's latency. And one at a moderate rate: what a request spends beside its batch, and how batches vary, is another
thing when replica, gateway and client share the machine with those who came before (a small model's p99 doubles).
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from plimsoll.app.child_host import on_signals, run_loop, status_writer
from plimsoll.app.gateway import gateway_settings
from plimsoll.backends.local.child import EXIT_FAILED, finish
from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import Endpoint, Route, ServiceView, Snapshot
from plimsoll.gateway import Gateway
from plimsoll.insight.profiling import TELLING, Answer
from plimsoll.insight.traffic import Arrivals, Gaps, constant, draw
from plimsoll.load import Target
from plimsoll.load.client import LoadSettings
from plimsoll.load.run import Traffic, run_load
from plimsoll.ports.spawner import ChildContext, ChildSpec, Spawner
from plimsoll.spec import ModelService
from plimsoll.wire.http1 import TcpAddress, parse_address

ENTRY = "plimsoll.app.through_gateway:main"
_LEAST_GAP_S = 0.001  # 1,000 a second: a gateway and its client still sleep between two
_ALONE = 5.0  # times its latency until the next one is sent, in the mean: rests of all lengths
_LEAST, _MOST = 12, 1500  # requests
_MOST_LOADED = 6000
_MODERATE, _HALF = 0.4, 0.5
_WARMING = 0.1  # of them: connections are made, caches filled
_MIXED = 4  # examples in turn
_READY_S = 15.0
_LONG_S = 3600.0  # nothing is late
_ACCEPTED = "ok"


def main(context: ChildContext) -> None:
    """Called in the child; `args` are a gateway's (see `app.gateway`), and `service`: name, routes and the addresses
    of its replicas."""
    finish(run_loop(_run(context)))


async def _run(context: ChildContext) -> int:
    report, stop = status_writer(context.status_fd), asyncio.Event()
    on_signals(stop.set)
    gateway = Gateway(gateway_settings(dict(context.args)))
    told = context.args["service"]
    view = ServiceView(
        told["name"],
        "profiled",
        routes=tuple(Route(path, host) for path, host in told["routes"]),
        endpoints=tuple(Endpoint(f"profiled-{n}", "profiled", one) for n, one in enumerate(told["addresses"])),
        timeout_s=_LONG_S,
    )
    try:
        addresses = await gateway.start()
    except HostError as error:
        report({"event": "failed", "reason": str(error)})
        return EXIT_FAILED
    gateway.door.take(Snapshot(1, (view,)))
    report({"event": "ready", "address": addresses[0]})
    await stop.wait()
    await gateway.close()
    return 0


def requests_for(lone_s: float, seconds: float) -> tuple[int, float]:
    """(how many, every so many seconds) for a model that answers a lone request in `lone_s`; (0, 0) where too few fit:
    beside such a model a gateway is of no account."""
    gap_s = max(_LEAST_GAP_S, _ALONE * lone_s)
    count = min(int(seconds / gap_s), _MOST)
    if count < _LEAST:
        return (0, 0.0) if _LEAST * gap_s > max(10 * seconds, 1.0) else (_LEAST, gap_s)
    return count, gap_s


def moderate(batch_s: float, lone_s: float, replicas: int, seconds: float) -> tuple[int, float]:
    """(how many, every so many seconds): 40% of what replicas do that take `batch_s` for each, but no more than half of
    what as many callers get who wait for each answer, `lone_s`: beyond that small models measure their client. (0, 0)
    where so few would say nothing."""
    gap_s = max(batch_s / _MODERATE, lone_s / _HALF) / replicas
    count = min(int(seconds / gap_s), _MOST_LOADED)
    return (count, gap_s) if count * (1.0 - _WARMING) >= TELLING else (0, 0.0)


async def answers_through(door: str, targets: Sequence[Target], count: int, gap_s: float) -> list[Answer]:
    """Of `count` requests every `gap_s` in the mean at the gateway `door`, without the first ones and those that say
    nothing of their time. Raises HostError."""
    each = await _of_each(door, targets, count, gap_s)
    return [one for since_s, taken in each for at_s, one in taken if at_s >= since_s and one.compute_s >= 0.0]


async def latencies_through(door: str, targets: Sequence[Target], count: int, gap_s: float) -> list[float]:
    """Seconds, of requests every `gap_s` in the mean at the gateway `door`, of those that found nobody before them,
    without the first ones. Raises HostError."""
    each = await _of_each(door, targets, count, gap_s)
    return [one for since_s, taken in each for one in lone([(at_s, one.latency_s) for at_s, one in taken], since_s)]


async def _of_each(
    door: str, targets: Sequence[Target], count: int, gap_s: float
) -> list[tuple[float, list[tuple[float, Answer]]]]:
    """(from when on they count, what was taken), of one example after the other."""
    place = parse_address(door)
    assert isinstance(place, TcpAddress)
    mixed = targets[: max(1, min(_MIXED, count // _LEAST))]
    share = count // len(mixed)
    return [(_WARMING * share * gap_s, await _offered(_moved(one, place), share, gap_s)) for one in mixed]


async def _offered(target: Target, count: int, gap_s: float) -> list[tuple[float, Answer]]:
    """(when it should have been sent, its answer), of Poisson arrivals; those that were accepted."""
    taken: list[tuple[float, Answer]] = []

    def record(at_s: float, outcome: str, latency_s: float | None, queue_s: float, compute_s: float) -> None:
        if outcome == _ACCEPTED and latency_s is not None:
            taken.append((at_s, Answer(latency_s, queue_s, compute_s)))

    seconds, random = count * gap_s, Random(1)
    rates = constant(1 / gap_s, seconds)
    traffic = Traffic(Arrivals(draw(rates, random, Gaps(1.0))), seconds, 1, "poisson", rates)
    await run_load(target, traffic, LoadSettings(), record=record)
    return taken


def lone(taken: Sequence[tuple[float, float]], since_s: float) -> list[float]:
    """Of (when it should have been sent, latency) the latencies of those that came `since_s` or later, after all before
    them had been answered."""
    found, free_at = [], 0.0
    for at_s, latency_s in sorted(taken):
        if at_s >= since_s and at_s >= free_at:
            found.append(latency_s)
        free_at = max(free_at, at_s + latency_s)
    return found


def _moved(target: Target, place: TcpAddress) -> Target:
    """The same request, to the gateway. Its head names localhost, or a route's host, and stays."""
    path = urlsplit(target.url).path
    return replace(target, url=f"http://{place.host}:{place.port}{path}", address=f"tcp:{place.host}:{place.port}")


@asynccontextmanager
async def gateway_before(
    spawner: Spawner, folder: Path, service: ModelService, addresses: Sequence[str]
) -> AsyncIterator[str]:
    """A gateway with replicas of `service` behind it, at `addresses`; yields its own. Raises HostError."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[str] = loop.create_future()
    ended = asyncio.Event()

    def on_status(event: dict[str, Any]) -> None:
        if ready.done():
            return
        if event.get("event") == "ready":
            ready.set_result(event["address"])
        elif event.get("event") == "failed":
            ready.set_exception(HostError(f"a gateway did not start: {event.get('reason')}"))

    def on_exit(status: int) -> None:
        ended.set()
        if not ready.done():
            ready.set_exception(HostError(f"a gateway ended with {status}: {log}"))

    log = folder / "gateway.log"
    routes = [(route.path, route.host) for route in service.spec.routes]
    args = {
        "name": "gateway-0",
        "listen": ["tcp:127.0.0.1:0"],
        "control": f"unix:{folder}/nobody.sock",
        "service": {"name": service.name, "routes": routes, "addresses": list(addresses)},
    }
    spec = ChildSpec(ENTRY, args, name="gateway-0", log_path=str(log))
    child = await spawner.spawn(spec, on_status=on_status, on_exit=on_exit)
    try:
        try:
            yield await asyncio.wait_for(ready, _READY_S)
        except TimeoutError:
            raise HostError(f"a gateway did not start within {_READY_S:g} s") from None
    finally:
        child.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 2.0)
        child.signal(signal.SIGKILL)
