"""Requests that come while no replica can be reached."""

import asyncio
import json

import pytest
from tests.support.gateway_host import GatewayHost, crash, draining, ok, silent, until, view


def held(host, name="mood"):
    return len(host.service(name).held)


def test_released_in_order_when_the_first_replica_comes(play):
    async def main():
        async with GatewayHost(max_connections=1) as host:  # one at a time, so that the order shows
            replica = await host.replica("a")
            host.serve(view("mood"))
            asked = []
            for n in range(10):
                asked.append(host.asking(body=b"%d" % n))
                await until(lambda n=n: held(host) == n + 1)
            assert host.metric("plimsoll_held_requests", service="mood") == 10
            assert host.metric("plimsoll_endpoints", service="mood") == 0
            host.serve(view("mood", replica))
            answers = await asyncio.gather(*asked)
            assert [exchange.body for exchange in replica.requests] == [b"%d" % n for n in range(10)]
            for got in answers:
                assert got.status == 200
                assert got.timing["hold"] > 0
                assert list(got.timing)[:2] == ["gateway", "hold"]
            assert host.metric("plimsoll_held_requests", service="mood") == 0

    play(main())


def test_bounded_in_count(play):
    async def main():
        async with GatewayHost(max_held=2) as host:
            host.serve(view("mood"))
            asked = [host.asking() for _ in range(2)]
            await until(lambda: held(host) == 2)
            got = await host.post()
            assert (got.status, got.outcome) == (503, "shed")
            assert int(got["retry-after"]) >= 1
            host.serve(view("mood", await host.replica("a")))
            assert [one.status for one in await asyncio.gather(*asked)] == [200, 200]

    play(main())


def test_bounded_in_bytes(play):
    async def main():
        async with GatewayHost(max_held_bytes=1000) as host:
            host.serve(view("mood"))
            asked = host.asking(body=b"x" * 900)
            await until(lambda: held(host) == 1)
            assert (await host.post(body=b"x" * 200)).outcome == "shed"
            small = host.asking(body=b"x" * 100)
            await until(lambda: held(host) == 2)
            host.serve(view("mood", await host.replica("a")))
            assert (await asked).status == (await small).status == 200

    play(main())


def test_as_long_as_the_service_says(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", hold_s=0.05, timeout_s=0.001))
            got = await host.post()
            assert (got.status, got.outcome) == (503, "no_replica")
            assert json.loads(got.body)["error"] == "no replica became ready in time"
            assert "retry-after" in got

    play(main())


def test_as_long_as_the_client_says(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", hold_s=0.01, timeout_s=0.01))
            loop = asyncio.get_running_loop()
            began = loop.time()
            got = await host.post(headers=[("plimsoll-deadline-ms", "150")])
            assert got.outcome == "no_replica"
            assert 0.14 < loop.time() - began < 5
            host.serve(view("mood", hold_s=30.0))
            began = loop.time()
            assert (await host.post(headers=[("plimsoll-deadline-ms", "30")])).outcome == "no_replica"
            assert loop.time() - began < 5

    play(main())


@pytest.mark.parametrize(
    ("deadline_ms", "least", "most"),
    [
        (None, 1400, 2000),  # the service's timeout begins when somebody is there
        ("60000", 1400, 2000),  # and is no longer for a patient client
        ("1500", 300, 900),  # but a deadline that the client named goes on
    ],
)
def test_what_time_is_left_after_the_hold(play, deadline_ms, least, most):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a")
            host.serve(view("mood", timeout_s=2.0))
            asked = host.asking(headers=[("plimsoll-deadline-ms", deadline_ms)] if deadline_ms else [])
            await until(lambda: held(host) == 1)
            await asyncio.sleep(0.6)
            host.serve(view("mood", replica, timeout_s=2.0))
            assert (await asked).status == 200
            assert least < float(replica.header("plimsoll-deadline-ms")) <= most

    play(main())


def test_a_hold_longer_than_the_timeout_is_not_expired(play):
    async def main():
        async with GatewayHost(grace_s=0.0) as host:
            host.serve(view("mood", timeout_s=0.03, hold_s=5.0))
            asked = host.asking()
            await asyncio.sleep(0.1)
            host.serve(view("mood", await host.replica("a"), timeout_s=5.0))
            assert (await asked).status == 200

    play(main())


def test_a_service_that_failed_tells_at_once(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood"))
            waiting = host.asking()
            await until(lambda: held(host) == 1)
            host.serve(view("mood", failed="sentiment.py:3 no module named vader"))
            for got in (await waiting, await host.post()):
                assert (got.status, got.outcome) == (503, "no_replica")
                assert json.loads(got.body)["error"] == "sentiment.py:3 no module named vader"
            host.serve(view("mood", await host.replica("a"), failed="the newest revision failed"))
            assert (await host.post()).status == 200  # the last good one serves on

    play(main())


def test_a_deleted_service_lets_everybody_go(play):
    async def main():
        async with GatewayHost() as host:
            host.series_may_end = True
            host.serve(view("mood", hold_s=30.0))
            asked = [host.asking() for _ in range(3)]
            await until(lambda: held(host) == 3)
            host.serve()
            answers = await asyncio.gather(*asked)
            assert {got.outcome for got in answers} == {"not_found"}
            assert (await host.post()).status == 404
            assert host.counted(service="").total() == 4

    play(main())


def test_held_past_its_time_at_the_moment_of_deletion(play):
    async def main():
        async with GatewayHost() as host:
            host.series_may_end = True
            host.serve(view("mood", hold_s=30.0))
            asked = host.asking()
            await until(lambda: held(host) == 1)
            host.door._clockwork.close()  # the clockwork's next turn is far away
            host.door.now = lambda now=host.door.now: now() + 31
            host.serve()
            assert (await asyncio.wait_for(asked, 2)).outcome == "no_replica"
            host.door._clockwork.turn()

    play(main())


def test_a_client_that_leaves_while_held(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood"))
            client = await host.client()
            client.send("POST", host.PATH, b"x" * 100)
            await until(lambda: held(host) == 1)
            assert host.service().held.bytes == 100
            await host.leave(client)
            await until(lambda: held(host) == 0)
            assert host.service().held.bytes == 0
            replica = await host.replica("a")
            host.serve(view("mood", replica))
            assert (await host.post()).status == 200
            assert len(replica.requests) == 1

    play(main())


def test_the_only_replica_does_not_listen_yet(play):
    """The snapshot is ahead of it: held, tried again without a word from the controller."""

    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a", start=False)
            host.serve(view("mood", replica))
            asked = [host.asking(body=b"%d" % n) for n in range(5)]
            await until(lambda: held(host) == 5)
            await replica.start()
            answers = await asyncio.wait_for(asyncio.gather(*asked), 10)
            assert [got.body for got in answers] == [b"%d" % n for n in range(5)]
            assert host.service().retries.retries == 0

    play(main())


def test_a_replica_that_never_listens_is_asked_less_and_less(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a", start=False), hold_s=0.4))
            upstream = host.service().upstreams["a"]
            tries = []
            connect = upstream._connect
            type(upstream)._connect = lambda self: tries.append(1) or connect()
            try:
                assert (await host.post()).outcome == "no_replica"
            finally:
                del type(upstream)._connect
                type(upstream)._connect = connect.__func__
            assert 2 <= len(tries) <= 5  # after 0, 50, 150 and 350 ms

    play(main())


def test_a_draining_replica_serves_where_nothing_else_is(play):
    async def main():
        async with GatewayHost() as host:
            old, new = await host.replica("a"), await host.replica("b")
            host.serve(view("mood", draining(old)))
            assert (await host.post()).status == 200
            host.serve(view("mood", draining(old), new))
            for _ in range(10):
                assert (await host.post()).status == 200
            assert (len(old.requests), len(new.requests)) == (1, 10)
            old.kill()
            host.serve(view("mood", draining(old)))
            asked = host.asking()
            await until(lambda: held(host) == 1)  # it has stopped listening: as good as nobody
            host.serve(view("mood", draining(old), new))
            assert (await asked).status == 200

    play(main())


def test_what_a_replica_lost_waits_until_its_deadline_only(play):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a")

            def last_words(replica, exchange):
                host.serve(view("mood"))
                crash(replica, exchange)

            replica.script = last_words
            host.serve(view("mood", replica))
            got = await host.post(headers=[("plimsoll-deadline-ms", "400")])
            assert got.outcome == "no_replica"
            replica.script = ok

    play(main())


def test_two_services_do_not_share_their_holds(play):
    async def main():
        async with GatewayHost(max_held=1) as host:
            host.serve(view("mood"), view("other"))
            one, two = host.asking(), host.asking("/v2/models/other/infer")
            await until(lambda: held(host) == held(host, "other") == 1)
            replica = await host.replica("a", silent)
            host.serve(view("mood", replica), view("other"))
            await replica.got(1)
            assert held(host, "other") == 1
            replica.requests[0].respond(200, b"", b"")
            assert (await one).status == 200
            host.serve(view("mood", replica), view("other", await host.replica("b")))
            assert (await two).status == 200

    play(main())
