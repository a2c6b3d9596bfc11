"""A server that does what a test tells it, and runs of the client against it, in one event loop."""

import asyncio
from random import Random

import pytest

from plimsoll.insight.traffic import Arrivals, Gaps, constant, draw
from plimsoll.load import Budget, LoadSettings, Traffic, http_target, run_load
from plimsoll.wire.http1 import HttpServer

OK = b"plimsoll-outcome: ok\r\nserver-timing: gateway;dur=0.1, queue;dur=4.000, compute;dur=3.000\r\n"


class Server:
    """`handle(exchange, count)` answers, or does not."""

    def __init__(self, handle):
        self._handle = handle
        self.requests = []

    def on_request(self, exchange):
        self.requests.append(exchange)
        self._handle(exchange, len(self.requests))

    def on_gone(self, exchange):
        pass

    def on_refused(self, error, arrived):
        return 400, b"", b""


def ok(exchange, count):
    exchange.respond(200, OK, b"{}")


def even(rate, seconds, seed=1, **more):
    """Evenly spaced, so that a test knows how many come."""
    rates = constant(rate, seconds)
    return Traffic(Arrivals(draw(rates, Random(seed), Gaps(0.0))), seconds, seed, "uniform", rates, **more)


class Run:
    def __init__(self):
        self.server = None
        self.progress = []

    def __call__(
        self,
        traffic,
        handle=ok,
        *,
        settings=None,
        stop_after=None,
        budget=None,
        body=b"{}",
        meanwhile=None,
        record=None,
    ):
        """The report of a run against a server that answers with `handle`."""

        async def main():
            self.server = Server(handle)
            http = HttpServer(self.server)
            address = await http.start("tcp:127.0.0.1:0")
            stop = asyncio.Event()
            if stop_after is not None:
                asyncio.get_running_loop().call_later(stop_after, stop.set)
            if meanwhile is not None:
                meanwhile(http)
            target = http_target(address.replace("tcp:", "http://") + "/mood", body)
            try:
                return await run_load(
                    target, traffic, settings or LoadSettings(timeout_s=20.0, deadline_s=20.0),
                    budget=budget or Budget(), stop=stop, watch=self.progress.append, record=record,
                )  # fmt: skip
            finally:
                await http.close(0.1)

        return asyncio.run(main())


@pytest.fixture
def run():
    return Run()


@pytest.fixture
def steady():
    return even
