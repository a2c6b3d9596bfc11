"""Which replica, over which connection; snapshots that change under the requests."""

import asyncio
from collections import Counter
from random import Random

import pytest
from tests.support.gateway_host import GatewayHost, draining, endpoint, later, ok, raw, silent, until, view

from plimsoll.core.snapshot import Endpoint
from plimsoll.gateway import upstream as upstream_module
from plimsoll.gateway.service import Service
from plimsoll.gateway.settings import GatewaySettings


def service_of(*names, seed=1):
    endpoints = [Endpoint(name, "r", f"unix:/{name}") for name in names]
    return Service(view("mood", *endpoints), GatewaySettings("g", (), "unix:/c"), Random(seed))


def test_the_less_loaded_of_two():
    service = service_of("a", "b", "c")
    a, b, c = service.fleet.ready
    a.load.outstanding, b.load.outstanding, c.load.outstanding = 5, 1, 3
    picked = Counter(service.fleet.pick(0.0).endpoint.replica for _ in range(300))
    assert picked["a"] == 0
    assert picked["b"] > picked["c"] > 0


def test_two_choices_of_outstanding_work_fill_idle_replicas(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            replicas = [await host.replica(name, later(ok, go)) for name in "abcd"]
            host.serve(view("mood", *replicas))
            asked = [host.asking() for _ in range(40)]
            await until(lambda: sum(len(replica.requests) for replica in replicas) == 40)
            assert max(len(replica.requests) for replica in replicas) <= 14
            go.set()
            await asyncio.gather(*asked)

    play(main())


def test_a_draining_replica_gets_no_new_work_and_finishes_what_it_has(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            old, new = await host.replica("a", later(ok, go)), await host.replica("b")
            host.serve(view("mood", old))
            asked = [host.asking(body=b"%d" % n) for n in range(5)]
            await old.got(5)
            host.serve(view("mood", draining(old), new))
            await asyncio.gather(*(host.post() for _ in range(20)))
            assert len(old.requests) == 5
            host.serve(view("mood", new))  # it vanishes altogether: its answers are awaited all the same
            go.set()
            assert [(await one).body for one in asked] == [b"%d" % n for n in range(5)]
            await until(lambda: old.connections == 0)  # and nothing is kept open to it

    play(main())


def test_a_replica_whose_address_changes(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            before = await host.replica("a", later(ok, go))
            host.serve(view("mood", before))
            asked = host.asking(body=b"[1]")
            await before.got(1)
            after = await host.replica("a2")
            host.serve(view("mood", Endpoint("a", "mood-1111111", after.address)))
            assert (await host.post()).status == 200
            assert len(after.requests) == 1
            go.set()
            assert (await asked).body == b"[1]"
            await until(lambda: before.connections == 0)

    play(main())


def test_an_address_that_is_none_is_unreachable(play):
    async def main():
        async with GatewayHost() as host:
            live = await host.replica("a")
            host.serve(view("mood", Endpoint("x", "r", "nonsense"), Endpoint("y", "r", f"unix:/{'z' * 200}"), live))
            for _ in range(10):
                assert (await host.post()).status == 200

    play(main())


def test_connections_are_kept_and_used_again(play):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a")
            host.serve(view("mood", replica))
            for _ in range(20):
                await host.post()
            assert replica.connections == 1
            assert len({id(exchange.connection) for exchange in replica.requests}) == 1
            replica.script = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            assert (await host.post()).body == b"ok"
            replica.script = ok
            assert (await host.post()).status == 200
            assert len({id(exchange.connection) for exchange in replica.requests}) == 2

    play(main())


def test_more_requests_than_connections_wait_their_turn(play):
    async def main():
        async with GatewayHost(max_connections=3) as host:
            replica = await host.replica("a", silent)
            host.serve(view("mood", replica))
            asked = []
            for n in range(12):
                asked.append(host.asking(body=b"%d" % n))
                await until(lambda n=n: host.service().upstreams["a"].outstanding == n + 1)
            await replica.got(3)
            assert replica.connections == 3
            for n in range(12):
                await replica.got(min(n + 3, 12))
                replica.requests[n].respond(200, b"", replica.requests[n].body)
            assert [(await one).body for one in asked] == [b"%d" % n for n in range(12)]
            assert [exchange.body for exchange in replica.requests] == [b"%d" % n for n in range(12)]
            assert replica.connections == 3

    play(main())


def test_who_leaves_the_line_frees_its_place(play):
    async def main():
        async with GatewayHost(max_connections=1) as host:
            replica = await host.replica("a", silent)
            host.serve(view("mood", replica))
            first = host.asking(body=b"1")
            await replica.got(1)
            leaving = await host.client()
            leaving.send("POST", host.PATH, b"2")
            await until(lambda: host.door.in_flight == 2)
            expiring = host.asking(body=b"3", headers=[("plimsoll-deadline-ms", "700")])
            await until(lambda: host.door.in_flight == 3)
            last = host.asking(body=b"4")
            await until(lambda: host.door.in_flight == 4)
            await host.leave(leaving)
            assert (await expiring).outcome == "expired"
            replica.requests[0].respond(200, b"", b"")
            await replica.got(2)
            assert replica.requests[1].body == b"4"
            replica.requests[1].respond(200, b"", b"")
            assert (await first).status == (await last).status == 200

    play(main())


def test_a_broken_connection_makes_room_for_another(play):
    async def main():
        async with GatewayHost(max_connections=1, grace_s=0.01) as host:
            replica = await host.replica("a", silent)
            host.serve(view("mood", replica))
            first = host.asking(headers=[("plimsoll-deadline-ms", "300")])
            await replica.got(1)
            replica.script = ok
            second = host.asking()
            assert (await first).outcome == "expired"
            assert (await second).status == 200

    play(main())


def test_idle_connections_are_bounded_and_go_when_unused(play):
    async def main():
        async with GatewayHost(max_idle_connections=4) as host:
            go = asyncio.Event()
            replica = await host.replica("a", later(ok, go))
            host.serve(view("mood", replica))
            asked = [host.asking() for _ in range(10)]
            await replica.got(10)
            go.set()
            await asyncio.gather(*asked)
            await until(lambda: replica.connections == 4)
            upstream = host.service().upstreams["a"]
            upstream.trim()  # all were used since the last time
            assert len(upstream._idle) == 4
            replica.script = ok
            assert (await host.post()).status == 200
            upstream.trim()  # one was
            assert len(upstream._idle) == 1
            await until(lambda: replica.connections == 1)
            assert (await host.post()).status == 200
            upstream.trim()
            upstream.trim()
            assert (upstream._open, upstream._idle) == (0, [])

    play(main())


def test_a_burst_does_not_overrun_the_replicas_backlog(play):
    """More clients at once than the backlog holds: connections are opened a few at a time, nobody is refused."""

    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a", backlog=64)
            host.serve(view("mood", replica, retry=False))
            most = 0
            connect = upstream_module.Upstream._connect_if_short

            def watched(self):
                nonlocal most
                connect(self)
                most = max(most, self._connecting)

            upstream_module.Upstream._connect_if_short = watched
            try:
                answers = await asyncio.gather(*(host.post() for _ in range(300)))
            finally:
                upstream_module.Upstream._connect_if_short = connect
            assert {got.status for got in answers} == {200}
            assert 0 < most <= upstream_module._CONNECTING

    play(main())


@pytest.mark.parametrize("seed", [1, 2])
def test_snapshots_that_change_under_load_lose_nothing(play, seed):
    print(f"seed {seed}")

    async def main():
        random = Random(seed)
        async with GatewayHost(seed=seed) as host:
            replicas = [await host.replica(f"r{n}") for n in range(4)]
            host.serve(view("mood", *replicas))
            done = asyncio.Event()

            async def change():
                while not done.is_set():
                    some = random.sample(replicas, random.randint(0, 4))
                    host.serve(
                        view("mood", *(random.choice([endpoint, draining])(one) for one in some), revision="mood-2"),
                        *([view("other")] if random.random() < 0.5 else []),
                    )
                    await asyncio.sleep(0)
                host.serve(view("mood", *replicas))

            async def ask(n):
                client = await host.client()
                for k in range(40):
                    body = b"[%d,%d]" % (n, k)
                    got = await client.ask("POST", host.PATH, body)
                    host.seen[got.outcome] += 1
                    assert (got.status, got.body) == (200, body)
                client.close()

            changing = asyncio.ensure_future(change())
            await asyncio.gather(*(ask(n) for n in range(16)))
            done.set()
            await changing

    play(main())
