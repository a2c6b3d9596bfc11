"""One run from its first request to its report: resolve, offer, watch, wait for the last answer."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time
from typing import Any

from plimsoll.core.errors import HostError
from plimsoll.insight.traffic import Arrivals, Rates
from plimsoll.load.client import LoadSettings, OpenLoopClient
from plimsoll.load.connect import connect
from plimsoll.load.report import Budget, Report
from plimsoll.load.tally import Progress, Record, Tally
from plimsoll.load.target import Target
from plimsoll.wire.http1 import TcpAddress, format_address, parse_address

_LAST_S = 2.0  # what was begun may still come back when the user has had enough


@dataclass(frozen=True, slots=True)
class Traffic:
    """`duration_s`: how long it lasts; `rates`: what it was drawn from (None: recorded); `name`: for the report."""

    arrivals: Arrivals
    duration_s: float
    seed: int
    name: str
    rates: Rates | None = None
    ramp: bool = False


def _nobody_watches(progress: Progress) -> None:
    pass


async def run_load(
    target: Target,
    traffic: Traffic,
    settings: LoadSettings,
    *,
    budget: Budget | None = None,
    stop: asyncio.Event | None = None,
    watch: Callable[[Progress], None] = _nobody_watches,
    replicas: Callable[[], int | None] = lambda: None,
    record: Record | None = None,
) -> Report:
    """`watch` is called each second; `stop` ends the run early; `record` is told of each request that ends. Raises
    HostError where nobody listens at all."""
    address = await _reachable(target, settings.connect_timeout_s)
    tally = Tally(settings.deadline_s, record)
    client = OpenLoopClient(target, address, traffic.arrivals, settings, tally)
    stop = stop or asyncio.Event()
    stopping = asyncio.ensure_future(stop.wait())
    client.start()
    try:
        turned = client.started
        give_up: float | None = None
        while not client.done.done():
            turned += 1.0
            until = min(turned, give_up) if give_up is not None else turned
            awaited: set[asyncio.Future[Any]] = {client.done}
            if not stopping.done():
                awaited.add(stopping)
            await asyncio.wait(awaited, timeout=max(until - monotonic(), 0.0), return_when=asyncio.FIRST_COMPLETED)
            now = monotonic()
            if stopping.done() and give_up is None:
                client.stop_offering()
                give_up = now + _LAST_S
            if give_up is not None and now >= give_up:
                client.close()
            if now >= turned:
                tally.turn(now - client.started, replicas())
                watch(tally.progress(now - client.started, in_flight=client.in_flight, waiting=client.waiting))
            else:
                turned -= 1.0
    finally:
        stopping.cancel()
        client.close()
    tally.turn(monotonic() - client.started, replicas())
    return _report(target, traffic, settings, budget or Budget(), client, tally, interrupted=stop.is_set())


async def _reachable(target: Target, timeout_s: float) -> str:
    """The first of a name's addresses that accepts a connection: looking a name up costs more than a request."""
    address = target.address
    place = parse_address(address)
    if not isinstance(place, TcpAddress):
        candidates = [address]
    else:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=1)  # SOCK_STREAM
        except OSError as error:
            raise HostError(f"{place.host} is not known: {error.strerror or error}") from None
        candidates = [format_address(TcpAddress(str(one[4][0]), int(one[4][1]))) for one in found]
    why: object = "no address"
    for candidate in dict.fromkeys(candidates):
        try:
            connection = await asyncio.wait_for(connect(candidate, tls=target.tls, server_name=target.host), timeout_s)
        except TimeoutError:
            why = f"no connection within {timeout_s:g} s"
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate is not believed: {error.verify_message}"
            raise HostError(f"{target.host}: {why}; name its authority's with --ca") from None
        except OSError as error:
            why = error.strerror or error
        else:
            connection.close()
            return candidate
    raise HostError(f"nobody answers on {address.removeprefix('tcp:').removeprefix('unix:')}: {why}")


def _report(
    target: Target,
    traffic: Traffic,
    settings: LoadSettings,
    budget: Budget,
    client: OpenLoopClient,
    tally: Tally,
    *,
    interrupted: bool,
) -> Report:
    lasted = client.offered_until - client.started
    shed = tally.first_shed_s
    return Report(
        url=target.url,
        arrivals=traffic.name,
        seed=traffic.seed,
        duration_s=lasted if interrupted else max(lasted, traffic.duration_s),
        offered=tally.offered,
        outcomes=dict(tally.outcomes),
        in_time=tally.in_time,
        deadline_s=settings.deadline_s,
        timeout_s=settings.timeout_s,
        worst_s=tally.worst_s,
        sketches=tally.totals,
        apart=dict(tally.apart),
        rows=tuple(tally.rows),
        budget=budget,
        first_shed_per_s=None
        if shed is None or traffic.rates is None or not traffic.ramp
        else round(traffic.rates.rate_at(shed), 1),
        ramp=traffic.ramp,
        replicas=tally.replicas,
        refusals=dict(tally.refusals_seen),
        last_failure=client.last_failure,
        interrupted=interrupted,
        started_at=time() - (monotonic() - client.started),
    )
