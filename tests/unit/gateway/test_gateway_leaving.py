"""Clients that leave, at each stage of their request's way: nothing of it stays, and what it took is given back."""

import asyncio
from hashlib import sha256
from math import inf

import pytest
from tests.support.gateway_host import GatewayHost, answer, later, loaded, ok, silent, until, view

from plimsoll.core.snapshot import CacheView, FallbackType, FallbackView, TenantView
from plimsoll.policy.routing import RetryBudget

KEY = [("x-api-key", "plm_red")]
CACHE = CacheView(ttl_s=60.0, max_bytes=2**20)
STALE = FallbackView(FallbackType.STALE_CACHE, max_age_s=600.0)
LEAVE = 12


def tenant():
    """Lets in as many at once as leave, and two who stay."""
    digest = "sha256:" + sha256(b"plm_red").hexdigest()
    return TenantView("red", {"main": digest}, concurrent_requests=LEAVE + 2)


def service(name):
    return FallbackView(FallbackType.SERVICE, service=name)


class Stage:
    """`arrange` a host and say when a request has come to the stage; `after`: then its replicas answer."""

    async def arrange(self, host):
        self.a = await host.replica("a", silent)
        host.serve(view("mood", self.a, timeout_s=60.0), tenants=[tenant()])

    def reached(self, host, count):
        return len(self.a.requests) == count

    async def after(self, host):
        self.a.script = ok


class Computing(Stage):
    """A replica has it."""


class Connecting(Stage):
    """It waits for a connection: the replica's are all in use."""

    async def arrange(self, host):
        self.a = await host.replica("a", silent)
        host.serve(view("mood", self.a, timeout_s=60.0), tenants=[tenant()])

    def reached(self, host, count):
        return host.service().upstreams["a"].outstanding == count


class Held(Stage):
    """There is no replica."""

    async def arrange(self, host):
        host.serve(view("mood", timeout_s=60.0, hold_s=60.0), tenants=[tenant()])

    def reached(self, host, count):
        return len(host.service().held) == count

    async def after(self, host):
        host.serve(view("mood", await host.replica("a")), tenants=[tenant()])


class InFlight(Stage):
    """One leads, the others follow: whoever leaves, and in whatever order."""

    async def arrange(self, host):
        self.a = await host.replica("a", silent)
        host.serve(view("mood", self.a, cache=CACHE, timeout_s=60.0), tenants=[tenant()])

    def reached(self, host, count):
        return host.door.in_flight == count and len(self.a.requests) >= 1


class InFallback(Stage):
    """Its service said no; a fallback's replica has it."""

    async def arrange(self, host):
        big = await host.replica("big", answer(503, "shed"))
        self.a = await host.replica("small", silent)
        host.serve(
            view("mood", big, fallback=(STALE, service("small")), timeout_s=60.0), view("small", self.a),
            tenants=[tenant()],
        )  # fmt: skip


class Twice(Stage):
    """Two replicas have some of them, as hedged requests."""

    async def arrange(self, host):
        self.replicas = [await host.replica(name, loaded(0.0, 0.001)) for name in "ab"]
        host.serve(view("mood", *self.replicas, timeout_s=60.0, hedging=True), tenants=[tenant()])
        for _ in range(110):
            await host.post(headers=KEY)
        for replica in self.replicas:
            replica.script = silent
        hedging = host.service().hedging
        hedging._budget = RetryBudget()  # the stragglers among those may have spent its copies
        hedging._quantile.value = 0.001  # on a busy machine copies would come when both replicas are overdue already
        for upstream in host.service().upstreams.values():
            upstream.overdue.floor_s = 60.0
            upstream.load.known_until = inf  # ... and its report would be older than a second
        self.before = self.sent()

    def sent(self):
        return sum(len(replica.requests) for replica in self.replicas)

    def reached(self, host, count):
        return self.sent() >= self.before + count + 2

    async def after(self, host):
        for replica in self.replicas:
            replica.script = ok


class Answering(Stage):
    """Half of its answer is here."""

    async def arrange(self, host):
        self.a = await host.replica("a", half)
        host.serve(view("mood", self.a, timeout_s=60.0), tenants=[tenant()])


def half(replica, exchange):
    exchange.connection.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")


STAGES = [Computing, Connecting, Held, InFlight, InFallback, Twice, Answering]


@pytest.mark.parametrize("order", ["first come", "last come"])
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_client_that_leaves_takes_everything_with_it(play, stage, order):
    async def main():
        there = stage()
        limit = {"max_connections": 3, "max_idle_connections": 3} if stage is Connecting else {}
        async with GatewayHost(**limit) as host:
            await there.arrange(host)
            clients = [await host.client() for _ in range(LEAVE)]
            for client in clients:
                client.send("POST", host.PATH, b"[1]", KEY)
            await until(lambda: there.reached(host, LEAVE))
            quota = host.door.tenants.get("red").quota
            assert quota.in_flight == LEAVE
            for client in clients if order == "first come" else reversed(clients):
                await host.leave(client)
                await asyncio.sleep(0)
            await until(lambda: host.door.in_flight == 0)
            await host.quiet()
            assert quota.in_flight == 0
            assert host.counted()["cancelled"] == LEAVE
            for each in host.door.services.values():
                assert each.cache is None or len(each.cache.flights) == 0
            await there.after(host)
            answers = await asyncio.gather(*(host.post(body=b"[2]", headers=KEY) for _ in range(LEAVE)))
            assert {got.status for got in answers} == {200}

    play(main())


def test_of_those_in_one_flight_the_ones_who_stay_are_answered(play):
    """Every second one leaves, the leader first of all, one after the other."""

    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            host.serve(view("mood", a, cache=CACHE, timeout_s=60.0), tenants=[tenant()])
            clients = []
            for _ in range(LEAVE):
                clients.append(await host.client())
                clients[-1].send("POST", host.PATH, b"[1]", KEY)
                await until(lambda: host.door.in_flight == len(clients))
            for client in clients[::2]:
                await host.leave(client)
                await asyncio.sleep(0.002)
            go.set()
            answers = [await client.receive() for client in clients[1::2]]
            for got in answers:
                host.seen[got.outcome] += 1
            assert sorted(got.outcome for got in answers) == ["cached"] * (LEAVE // 2 - 1) + ["ok"]
            assert len(a.requests) == 2
            for client in clients[1::2]:
                client.close()

    play(main())
