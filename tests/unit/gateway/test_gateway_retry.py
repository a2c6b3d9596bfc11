"""A replica is lost: who is asked again, who is told, who is to blame."""

import asyncio
import json

import pytest
from tests.support.gateway_host import (
    GatewayHost,
    answer,
    crash,
    crash_computing,
    crash_midway,
    die,
    draining,
    later,
    ok,
    raw,
    silent,
    until,
    view,
)


def alone(replica, which=-1):
    return replica.header("plimsoll-alone", which) == b"1"


@pytest.mark.parametrize("how", [crash, crash_midway, crash_computing, raw(b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n"),
                                 answer(503, "replica_lost")])  # fmt: skip
def test_a_lost_request_is_asked_again_alone_and_elsewhere(play, how):
    play(_lost_once(how))


async def _lost_once(how):
    """The first replica loses it, the second answers."""
    async with GatewayHost() as host:
        a, b = await host.replica("a"), await host.replica("b")
        host.serve(view("mood", a, b))
        lost = []

        def once(replica, exchange):
            (ok if lost else how)(replica, exchange)
            lost.append(replica)

        a.script = b.script = once
        got = await host.post(body=b"[1]")
        assert (got.status, got.outcome, got.body) == (200, "ok", b"[1]")
        first, last = lost
        assert first is not last
        assert (alone(first), alone(last)) == (False, True)
        assert first.requests[0].body == last.requests[0].body == b"[1]"
        assert float(last.header("plimsoll-deadline-ms")) < float(first.header("plimsoll-deadline-ms"))
        assert a.header("x-request-id") == b.header("x-request-id") == got["x-request-id"].encode()
        assert host.metric("plimsoll_retries_total", service="mood") == 1


def test_connection_refused_goes_elsewhere_and_is_nobodys_fault(play):
    async def main():
        async with GatewayHost() as host:
            dead, live = await host.replica("a", start=False), await host.replica("b")
            host.serve(view("mood", dead, live, retry=False))
            host.service().retries.reserve = 0
            for _ in range(20):
                assert (await host.post()).status == 200
            assert not any(alone(live, n) for n in range(20))
            # It is asked rarely while it is down, not each second time.
            assert host.metric("plimsoll_retries_total", service="mood") <= 3
            assert host.service().retries.retries == 0

    play(main())


def test_a_dead_replica_is_no_black_hole(play):
    async def main():
        async with GatewayHost() as host:
            a, b = await host.replica("a"), await host.replica("b")
            host.serve(view("mood", a, b))
            await asyncio.gather(*(host.post() for _ in range(20)))
            a.kill()  # nobody tells the gateway
            answers = await asyncio.gather(*(host.post() for _ in range(200)))
            assert {got.status for got in answers} == {200}

    play(main())


def test_killed_under_load_no_request_fails(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a, b = await host.replica("a", later(ok, go)), await host.replica("b", later(ok, go))
            host.serve(view("mood", a, b))
            asked = [host.asking(body=b"%d" % n) for n in range(60)]
            await a.got(20)
            a.kill()
            host.serve(view("mood", b))
            go.set()
            answers = await asyncio.gather(*asked)
            assert [got.body for got in answers] == [b"%d" % n for n in range(60)]
            assert {got.status for got in answers} == {200}

    play(main())


def test_second_death_while_computing_alone_is_its_own_doing(play):
    async def main():
        async with GatewayHost() as host:
            replicas = [await host.replica(name) for name in "abc"]
            host.serve(view("mood", *replicas))

            def poisoned(replica, exchange):
                if exchange.body != b'"poison"':
                    ok(replica, exchange)
                elif exchange.header(b"plimsoll-alone"):
                    crash_computing(replica, exchange)
                else:
                    crash(replica, exchange)

            for replica in replicas:
                replica.script = poisoned
            got = await host.post(body=b'"poison"')
            assert (got.status, got.outcome) == (503, "replica_lost")
            assert "retry-after" in got
            assert "refused for a while" in json.loads(got.body)["error"]
            assert sum(len(replica.requests) for replica in replicas) == 2
            again = await host.post(body=b'"poison"')
            assert (again.status, again.outcome, again["retry-after"]) == (503, "replica_lost", "60")
            assert "two replicas" in json.loads(again.body)["error"]
            assert sum(len(replica.requests) for replica in replicas) == 2  # nobody saw it
            assert (await host.post(body=b'"fine"')).status == 200
            service = host.service()
            service.quarantine.known = dict.fromkeys(service.quarantine.known, 0.0)  # a minute later
            for replica in replicas:
                replica.script = ok
            assert (await host.post(body=b'"poison"')).status == 200

    play(main())


def test_innocents_that_only_queued_are_asked_again_and_again(play):
    """Without 102 nobody had begun with it: two deaths don't make it guilty."""

    async def main():
        async with GatewayHost() as host:
            replicas = [await host.replica(name) for name in "abcd"]
            host.serve(view("mood", *replicas))
            deaths = []

            def twice(replica, exchange):
                deaths.append(replica)
                (crash if len(deaths) <= 2 else ok)(replica, exchange)

            for replica in replicas:
                replica.script = twice
            assert (await host.post()).status == 200
            assert len(set(deaths)) == 3
            assert not len(host.service().quarantine)

    play(main())


def test_a_fleet_that_dies_under_one_request_is_not_asked_for_ever(play):
    async def main():
        async with GatewayHost() as host:
            replicas = [await host.replica(name, crash) for name in "abcdef"]
            host.serve(view("mood", *replicas))
            got = await host.post()
            assert (got.status, got.outcome) == (503, "replica_lost")
            assert sum(len(replica.requests) for replica in replicas) == 4
            assert not len(host.service().quarantine)

    play(main())


def test_retry_never(play):
    async def main():
        async with GatewayHost() as host:
            a, b = await host.replica("a", crash), await host.replica("b", crash)
            host.serve(view("mood", a, b, retry=False))
            got = await host.post()
            assert (got.status, got.outcome) == (503, "replica_lost")
            assert len(a.requests) + len(b.requests) == 1

    play(main())


def test_an_error_of_the_model_is_not_asked_again(play):
    async def main():
        async with GatewayHost() as host:
            a, b = (
                await host.replica("a", answer(500, "model_error")),
                await host.replica("b", answer(500, "model_error")),
            )
            host.serve(view("mood", a, b))
            assert (await host.post()).outcome == "model_error"
            assert len(a.requests) + len(b.requests) == 1
            assert host.metric("plimsoll_retries_total") == 0

    play(main())


def test_the_retry_budget_ends(play):
    async def main():
        async with GatewayHost() as host:
            a, b = await host.replica("a"), await host.replica("b")
            host.serve(view("mood", a, b))
            host.service().retries.reserve = 2

            def lose(replica, exchange):
                (ok if exchange.header(b"plimsoll-alone") else crash)(replica, exchange)

            a.script = b.script = lose
            outcomes = [(await host.post()).outcome for _ in range(10)]
            assert outcomes.count("ok") == 3  # a reserve of 2, and a tenth of 10
            assert outcomes.count("replica_lost") == 7
            assert host.metric("plimsoll_retries_total") == 3

    play(main())


def test_no_time_left_to_ask_again(play):
    async def main():
        async with GatewayHost(grace_s=5.0) as host:
            dying = asyncio.Event()
            a = await host.replica("a", later(crash, dying))
            b = await host.replica("b", later(crash, dying))
            host.serve(view("mood", a, b))
            task = host.asking(headers=[("plimsoll-deadline-ms", "300")])
            await until(lambda: a.requests or b.requests)
            await asyncio.sleep(0.35)
            dying.set()
            got = await task
            assert (got.status, got.outcome) == (504, "expired")
            assert len(a.requests) + len(b.requests) == 1

    play(main())


def test_the_only_replica_crashes_and_comes_back(play):
    """Nobody tells the gateway; the request waits for it."""

    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", die)
            host.serve(view("mood", a))
            task = host.asking(body=b"[7]")
            await a.got(1)
            await until(lambda: len(host.service().held) == 1)
            a.script = ok
            await a.start()
            got = await asyncio.wait_for(task, 10)
            assert (got.status, got.body) == (200, b"[7]")
            assert got.timing["hold"] > 0
            assert alone(a)

    play(main())


def test_the_only_replica_that_lost_its_worker_is_asked_again(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            a.scripts = [answer(503, "replica_lost")]
            host.serve(view("mood", a))
            assert (await host.post()).status == 200
            assert len(a.requests) == 2

    play(main())


def test_a_draining_replica_takes_what_the_last_ready_one_lost(play):
    async def main():
        async with GatewayHost() as host:
            a, b = await host.replica("a", crash), await host.replica("b")
            host.serve(view("mood", a, draining(b)))
            assert (await host.post()).status == 200
            assert len(b.requests) == 1

    play(main())


def test_lost_after_its_service_was_deleted(play):
    async def main():
        async with GatewayHost() as host:
            host.series_may_end = True
            dying = asyncio.Event()
            a = await host.replica("a", later(die, dying))
            host.serve(view("mood", a))
            task = host.asking()
            await a.got(1)
            host.serve()
            dying.set()
            got = await asyncio.wait_for(task, 10)
            assert (got.status, got.outcome) == (404, "not_found")

    play(main())


def test_a_keepalive_connection_that_broke_while_idle_is_not_used(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a, retry=False))
            assert (await host.post()).status == 200
            for connection in list(a.server._connections):
                connection.abort()
            await until(lambda: not a.connections)
            await asyncio.sleep(0.01)
            assert (await host.post()).status == 200

    play(main())


def test_silence_then_loss_ends_once(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", silent)
            host.serve(view("mood", a))
            got = await host.post(headers=[("plimsoll-deadline-ms", "20")])
            assert got.outcome == "expired"
            a.kill()
            await asyncio.sleep(0.01)

    play(main())
