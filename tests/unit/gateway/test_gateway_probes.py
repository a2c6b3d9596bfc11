"""Replicas that fall silent: no client's request finds out whether they live again."""

import asyncio

import pytest
from tests.support.gateway_host import GatewayHost, answer, endpoint, loaded, silent, until, view


async def settle(host, replicas):
    """Every replica has answered, so that its usual time is known."""
    for _ in range(10):
        await asyncio.gather(*(host.post() for _ in range(4)))
    assert all(replica.requests for replica in replicas)


async def silenced(host, replica):
    """It takes requests and says nothing; what it had is answered elsewhere."""
    replica.script = silent
    overdue = host.service().upstreams[replica.name].overdue
    while not overdue.suspect(host.door.now()):
        await asyncio.gather(*(host.post() for _ in range(4)))
    await until(lambda: not len(overdue))
    return overdue


def test_a_silent_replica_gets_no_request_until_it_has_answered_a_probe(play):
    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b))
            await settle(host, [a, b])
            await silenced(host, a)
            seen = len(a.requests)
            while len(a.probes) < 2:  # each after twice the time
                assert (await host.post()).outcome == "ok"
            assert len(a.requests) == seen
            await until(lambda: a.probes[0] in a.gone)
            assert a.probes[1] not in a.gone  # the newest is out there until it is answered
            a.script = loaded(1.0)
            a.script(a, a.probes[1])  # it goes on, and answers what it finds
            while len(a.requests) < seen + 10:
                assert (await host.post()).outcome == "ok"
            assert len(a.probes) == 2

    play(main())


@pytest.mark.parametrize("status", [200, 404])
def test_any_word_of_another_server_is_a_sign_of_life(play, status):
    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b))
            await settle(host, [a, b])
            overdue = await silenced(host, a)
            await until(lambda: a.probes)
            assert overdue.suspect(host.door.now())
            answer(status, "ok")(a, a.probes[0])
            await until(lambda: not overdue.suspect(host.door.now()))
            a.script = loaded(1.0)

    play(main())


@pytest.mark.parametrize("how", ["unavailable", "hangs up", "garbage"])
def test_what_is_no_sign_of_life_leaves_it_alone(play, how):
    def script(replica, exchange):
        if how == "unavailable":
            answer(503, "no_replica")(replica, exchange)
        elif how == "hangs up":
            exchange.connection.abort()
        else:
            exchange.connection.transport.write(b"hello\r\n\r\n")

    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b))
            await settle(host, [a, b])
            overdue = await silenced(host, a)
            a.script, seen = script, len(a.requests)
            await until(lambda: len(a.probes) >= 2)
            assert overdue.suspect(host.door.now())
            for _ in range(10):
                assert (await host.post()).outcome == "ok"
            assert len(a.requests) == seen

    play(main())


def test_a_probe_ends_with_its_replica(play):
    """Taken out of the snapshot, or at another address: its connection is closed, and nothing of it is left."""

    async def main():
        async with GatewayHost() as host:
            a, b, c = [await host.replica(name, loaded(1.0)) for name in "abc"]
            host.serve(view("mood", a, b))
            await settle(host, [a, b])
            await silenced(host, a)
            await until(lambda: a.probes)
            host.serve(view("mood", b, c))
            await until(lambda: a.connections == 0)
            assert a.probes[0] in a.gone
            host.serve(view("mood", a, b, c))  # it is another process, for all we know
            a.script = loaded(1.0)
            seen = len(a.requests)
            while len(a.requests) == seen:
                assert (await host.post()).outcome == "ok"

    play(main())


def test_a_probe_ends_with_the_gateway(play):
    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b))
            await settle(host, [a, b])
            await silenced(host, a)
            await until(lambda: a.probes)
        assert not [task for task in asyncio.all_tasks() if "Probe" in repr(task)]

    play(main())


def test_nobody_listens_any_more(play):
    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", endpoint(a), b))
            await settle(host, [a, b])
            overdue = await silenced(host, a)
            a.kill()
            seen = len(a.requests)
            await until(lambda: overdue._probe_at > host.door.now() + 0.4)  # it was probed: the next waits longer
            for _ in range(10):
                assert (await host.post()).outcome == "ok"
            assert (len(a.requests), len(a.probes)) == (seen, 0)

    play(main())
