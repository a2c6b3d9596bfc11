"""Fallbacks that fail, hang, are full or go away: a request ends with the next one, or with what befell it first."""

import asyncio
from time import monotonic

import pytest
from tests.support.gateway_host import (
    GatewayHost,
    answer,
    crash,
    crash_computing,
    crash_midway,
    die,
    later,
    ok,
    raw,
    silent,
    until,
    view,
)

from plimsoll.core.snapshot import CacheView, FallbackType, FallbackView

STATIC = FallbackView(FallbackType.STATIC, body='"static"')
SHED = answer(503, "shed", b'{"error":"the queue is full"}')


def service(name):
    return FallbackView(FallbackType.SERVICE, service=name)


async def two(host, big, small, *steps, **fields):
    """`mood`, whose replica does `big`, falls back to `small`, and then to `steps`."""
    mood, other = await host.replica("big", big), await host.replica("small", small)
    host.serve(view("mood", mood, fallback=(service("small"), *steps), **fields), view("small", other))
    return mood, other


BAD = {
    "crash": crash,
    "crash computing": crash_computing,
    "crash midway": crash_midway,
    "die": die,
    "junk": raw(b"junk\r\n\r\n"),
    "model_error": answer(500, "model_error"),
    "shed": answer(503, "shed"),
    "expired": answer(504, "expired"),
    "lost": answer(503, "replica_lost"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_fallback_that_fails_gives_way_at_once(play, bad):
    async def main():
        async with GatewayHost() as host:
            await two(host, SHED, BAD[bad], STATIC, timeout_s=20.0)
            began = monotonic()
            got = await host.post()
            assert (got.status, got.outcome, got["plimsoll-degraded-by"]) == (200, "degraded", "Static")
            assert monotonic() - began < 5

    play(main())


@pytest.mark.parametrize("bad", BAD)
def test_a_fallback_that_fails_and_nothing_after_it(play, bad):
    """What befell the service that was asked is told, not what befell its fallback."""

    async def main():
        async with GatewayHost() as host:
            await two(host, SHED, BAD[bad], timeout_s=20.0)
            began = monotonic()
            got = await host.post()
            assert (got.status, got.outcome, got.body) == (503, "shed", b'{"error":"the queue is full"}')
            assert monotonic() - began < 5

    play(main())


@pytest.mark.parametrize("bad", ["crash", "die", "junk"])
def test_a_service_that_is_down_is_degraded_at_once(play, bad):
    """Also while the controller's last word is that its replica is ready: killed, or its socket gone."""

    async def main():
        async with GatewayHost() as host:
            mood, _ = await two(host, BAD[bad], ok, timeout_s=20.0, hold_s=20.0)
            for _ in range(3):
                began = monotonic()
                got = await host.post(body=b"[1]")
                assert (got.outcome, got.body, got["plimsoll-degraded-by"]) == ("degraded", b"[1]", "Service/small")
                assert monotonic() - began < 5
            mood.kill()
            assert (await host.post()).outcome == "degraded"

    play(main())


@pytest.mark.parametrize(("steps", "outcome"), [((), "expired"), ((STATIC,), "degraded")], ids=["last", "static left"])
def test_a_fallback_that_hangs_is_not_waited_for(play, steps, outcome):
    async def main():
        async with GatewayHost(grace_s=0.1) as host:
            mood, small = await two(host, silent, silent, *steps, timeout_s=0.8, target_s=0.4)
            began = monotonic()
            got = await host.post()
            assert got.outcome == outcome
            assert monotonic() - began < 2
            await until(lambda: len(mood.gone) == len(small.gone) == 1)  # both had it, and were told to stop

    play(main())


def test_a_chain_of_services_that_hang_shares_the_time(play):
    async def main():
        async with GatewayHost(grace_s=0.1) as host:
            replicas = [await host.replica(name, silent) for name in "abc"]
            host.serve(
                view("mood", replicas[0], fallback=(service("b"), service("c"), STATIC), timeout_s=1.0, target_s=0.3),
                *(view(replica.name, replica) for replica in replicas[1:]),
            )
            began = monotonic()
            assert (await host.post()).outcome == "degraded"
            assert monotonic() - began < 3  # not a second for each
            assert [len(replica.requests) for replica in replicas] == [1, 1, 1]

    play(main())


def test_a_fallback_has_its_time_where_the_service_said_no_at_once(play):
    """Shed after 5 ms of 1500: the fallback may answer when 800 are over, though a silent service would have been given
    up by then."""

    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            _, small = await two(host, SHED, later(ok, go), timeout_s=1.5, target_s=1.0)
            asked = host.asking(body=b"[2]")
            await small.got(1)
            await asyncio.sleep(0.8)  # the reserve begins after 0.75
            assert not asked.done()
            go.set()
            assert (await asked).body == b"[2]"

    play(main())


def test_a_fallback_that_is_full_itself_is_passed_over(play):
    """It never says how busy it is, and the bound that was found for it is reached."""

    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            _, small = await two(host, SHED, ok, STATIC)
            path = "/v2/models/small/infer"
            assert (await host.post(path)).outcome == "ok"
            small.script = later(ok, go)
            most = host.service("small").upstreams["small"].limit.limit
            asked = [host.asking(path) for _ in range(most)]
            await until(lambda: len(small.requests) == most + 1)
            got = await host.post()
            assert (got.outcome, got["plimsoll-degraded-by"]) == ("degraded", "Static")
            assert len(small.requests) == most + 1
            go.set()
            assert {got.status for got in await asyncio.gather(*asked)} == {200}

    play(main())


@pytest.mark.parametrize("gone", ["small", "mood"])
def test_a_service_is_deleted_while_a_fallback_is_in_use(play, gone):
    """What its replica has is answered; who comes later gets the next fallback, or hears that nothing is there."""

    async def main():
        async with GatewayHost() as host:
            host.series_may_end = True
            go = asyncio.Event()
            mood, small = await two(host, SHED, later(ok, go), STATIC)
            asked = host.asking(body=b"[3]")
            await small.got(1)
            views = {
                "mood": view("mood", mood, fallback=(service("small"), STATIC)),
                "small": view("small", small),
            }
            del views[gone]
            host.serve(*views.values())
            go.set()
            got = await asked
            assert (got.outcome, got.body) == ("degraded", b"[3]")
            later_on = await host.post()
            if gone == "small":
                assert (later_on.outcome, later_on["plimsoll-degraded-by"]) == ("degraded", "Static")
            else:
                assert (later_on.status, later_on.outcome) == (404, "not_found")

    play(main())


def test_a_fallback_that_is_deleted_and_dies_under_a_request(play):
    async def main():
        async with GatewayHost() as host:
            mood, small = await two(host, SHED, silent, STATIC, timeout_s=20.0)
            asked = host.asking()
            await small.got(1)
            host.serve(view("mood", mood, fallback=(service("small"), STATIC), timeout_s=20.0))
            small.kill()
            assert (await asyncio.wait_for(asked, 5))["plimsoll-degraded-by"] == "Static"

    play(main())


def test_followers_of_one_that_was_degraded_are_degraded_too(play):
    """A leader's fallback is no answer of its service: nobody is given it as `cached`, and it is not kept."""

    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            mood, small = await two(host, later(SHED, go), ok, cache=CacheView(60.0, 2**20))
            asked = [host.asking(body=b"[4]") for _ in range(6)]
            await until(lambda: host.door.in_flight == 6)
            await mood.got(1)
            go.set()
            assert {got.outcome for got in await asyncio.gather(*asked)} == {"degraded"}
            assert (await host.post(body=b"[4]")).outcome == "degraded"
            assert len(small.requests) >= 2

    play(main())


def test_held_after_every_fallback_failed_it_is_answered_when_a_replica_comes(play):
    """And should that one fail, it is that failure which is told."""

    async def main():
        async with GatewayHost() as host:
            stale = FallbackView(FallbackType.STALE_CACHE, max_age_s=60.0)
            host.serve(view("mood", fallback=(stale,)))
            asked = host.asking()
            await until(lambda: len(host.service().held) == 1)
            host.serve(view("mood", await host.replica("a", SHED), fallback=(stale,)))
            assert (await asked).outcome == "shed"

    play(main())
