"""Answers from the cache, one computation for all who ask the same, stale answers where the model can't give one."""

import asyncio

from tests.support.gateway_host import (
    OK_LINES,
    GatewayHost,
    answer,
    crash_computing,
    draining,
    endpoint,
    later,
    loaded,
    ok,
    silent,
    until,
    view,
)

from plimsoll.core.snapshot import CacheView, FallbackType, FallbackView, TenantView

CACHE = CacheView(ttl_s=60.0, max_bytes=2**20)


def counting(replica, exchange):
    exchange.respond(200, OK_LINES, b"%d" % len(replica.requests))


def test_the_second_time_the_model_is_not_asked(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", counting)
            host.serve(view("mood", a, cache=CACHE))
            first, second, other = [await host.post(body=body) for body in (b"[1]", b"[1]", b"[2]")]
            assert (first.body, first.outcome) == (b"1", "ok")
            assert (second.body, second.outcome, second["age"]) == (b"1", "cached", "0")
            assert second["content-type"] == "application/json"
            assert second["plimsoll-revision"] == first["plimsoll-revision"] == "mood-1111111"
            assert second.timing["gateway"] < 0.05
            assert other.outcome == "ok"
            assert host.metric("plimsoll_cache_hits_total", service="mood") == 1
            assert host.metric("plimsoll_cache_misses_total", service="mood") == 2

    play(main())


def test_a_new_revision_never_answers_from_the_old_ones(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", counting)
            host.serve(view("mood", a, cache=CACHE))
            await host.post()
            host.serve(view("mood", a, revision="mood-2222222", cache=CACHE))
            assert (await host.post()).outcome == "ok"
            assert (await host.post()).outcome == "cached"

    play(main())


def test_purged_by_a_new_epoch_and_closed_with_its_key(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", counting)
            host.serve(view("mood", a, cache=CACHE))
            await host.post()
            host.serve(view("mood", a, cache=CacheView(60.0, 2**20, epoch=1)))
            assert (await host.post()).outcome == "ok"
            host.serve(view("mood", a))
            assert (await host.post()).outcome == "ok"
            assert (await host.post()).outcome == "ok"

    play(main())


def test_ten_at_once_compute_once(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            host.serve(view("mood", a, cache=CACHE))
            asked = [host.asking(body=b"[7]") for _ in range(10)]
            await until(lambda: host.door.in_flight == 10)
            go.set()
            answers = await asyncio.gather(*asked)
            assert sorted(got.outcome for got in answers) == ["cached"] * 9 + ["ok"]
            assert {got.body for got in answers} == {b"[7]"}
            assert len(a.requests) == 1

    play(main())


def test_the_leader_leaves_and_the_next_one_leads(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", silent)
            host.serve(view("mood", a, cache=CACHE))
            leader = await host.client()
            leader.send("POST", host.PATH, b"[7]")
            await a.got(1)
            followers = [host.asking(body=b"[7]") for _ in range(3)]
            await until(lambda: host.door.in_flight == 4)
            a.script = ok
            await host.leave(leader)
            answers = await asyncio.gather(*followers)
            assert sorted(got.outcome for got in answers) == ["cached", "cached", "ok"]
            assert len(a.requests) == 2

    play(main())


def test_a_follower_has_its_own_deadline(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            host.serve(view("mood", a, cache=CACHE))
            leader = host.asking(body=b"[7]")
            await a.got(1)
            hurried = await host.post(body=b"[7]", headers=[("plimsoll-deadline-ms", "30")])
            assert hurried.outcome == "expired"
            go.set()
            assert (await leader).outcome == "ok"

    play(main())


def test_the_leader_is_refused_and_nobody_hangs(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(answer(503, "shed"), go))
            host.serve(view("mood", a, cache=CACHE))
            asked = [host.asking(body=b"[7]") for _ in range(5)]
            await until(lambda: host.door.in_flight == 5)
            go.set()
            assert {got.outcome for got in await asyncio.gather(*asked)} == {"shed"}
            assert (await host.post(body=b"[7]")).outcome == "shed"  # nothing of it was kept

    play(main())


def test_a_thousand_followers_of_a_leader_that_is_refused(play):
    """One after the other leads and is refused: none within the other."""

    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(answer(503, "shed"), go))
            host.serve(view("mood", a, cache=CACHE))
            clients = [await host.client() for _ in range(100)]
            for client in clients:
                for _ in range(10):
                    client.send("POST", host.PATH, b"[7]")
            await until(lambda: host.door.in_flight == 1000)
            go.set()
            for client in clients:
                for _ in range(10):
                    got = await client.receive()
                    host.seen[got.outcome] += 1
                client.close()
            assert host.seen == {"shed": 1000}

    play(main())


def test_stale_is_better_than_nothing(play):
    async def main():
        async with GatewayHost() as host:
            now = [host.door.now()]
            host.door.now = lambda: now[0]
            a = await host.replica("a", counting)
            stale = FallbackView(FallbackType.STALE_CACHE, max_age_s=600.0)
            cache = CacheView(ttl_s=1.0, max_bytes=2**20, stale_s=600.0)
            host.serve(view("mood", a, cache=cache, fallback=(stale,), timeout_s=1000.0))
            await host.post(body=b"[1]")
            now[0] += 100.0
            a.script = answer(503, "shed")
            got = await host.post(body=b"[1]")
            assert (got.status, got.body, got.outcome) == (200, b"1", "degraded")
            assert (got["plimsoll-degraded-by"], got["age"]) == ("StaleCache", "100")
            assert (await host.post(body=b"[2]")).outcome == "shed"  # never seen
            now[0] += 600.0
            assert (await host.post(body=b"[1]")).outcome == "shed"  # too old

    play(main())


def test_a_poison_body_that_ten_ask_at_once_ends_two_replicas(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            replicas = [await host.replica(name, crash_computing) for name in "abcdef"]
            for replica in replicas:
                replica.scripts = [later(crash_computing, go)]
            host.serve(view("mood", *replicas, cache=CACHE))
            asked = [host.asking(body=b"[666]") for _ in range(10)]
            await until(lambda: host.door.in_flight == 10)
            go.set()
            assert {got.outcome for got in await asyncio.gather(*asked)} == {"replica_lost"}
            assert sum(len(replica.requests) for replica in replicas) == 2

    play(main())


def test_who_waits_for_one_that_is_held_is_held_as_long_and_one_computes_in_the_end(play):
    async def main():
        async with GatewayHost() as host:
            fields = {"cache": CACHE, "timeout_s": 0.7, "hold_s": 10.0}
            host.serve(view("mood", **fields))
            asked = [host.asking(body=b"[7]") for _ in range(5)]
            await until(lambda: len(host.service().held) == 5)
            await asyncio.sleep(0.8)  # beyond the timeout, which begins when there is somebody to answer
            a = await host.replica("a")
            host.serve(view("mood", a, **fields))
            answers = await asyncio.gather(*asked)
            assert sorted(got.outcome for got in answers) == ["cached"] * 4 + ["ok"]
            assert {got.body for got in answers} == {b"[7]"}
            assert len(a.requests) == 1

    play(main())


def test_who_waited_for_another_is_not_late_for_it(play):
    """Its leader took longer than the budget and left; no queue is long, so it is not shed."""

    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", loaded(0.0))
            host.serve(view("mood", a, cache=CACHE, target_s=0.1))
            await host.post(body=b"[0]")
            a.script = silent
            leader = await host.client()
            leader.send("POST", host.PATH, b"[7]")
            await a.got(2)
            follower = host.asking(body=b"[7]")
            await until(lambda: host.door.in_flight == 2)
            await asyncio.sleep(0.15)
            a.script = loaded(0.0)
            await host.leave(leader)
            assert (await follower).outcome == "ok"

    play(main())


def test_a_shared_answer_names_the_revision_that_gave_it(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a, b = await host.replica("a", later(ok, go)), await host.replica("b")
            old = endpoint(a)
            host.serve(view("mood", old, cache=CACHE))
            asked = [host.asking(body=b"[7]") for _ in range(2)]
            await until(lambda: host.door.in_flight == 2)
            new = endpoint(b, revision="mood-2222222")
            host.serve(view("mood", new, draining(a), revision="mood-2222222", cache=CACHE))
            go.set()
            assert {got["plimsoll-revision"] for got in await asyncio.gather(*asked)} == {"mood-1111111"}

    play(main())


def test_a_stale_answer_is_as_old_as_it_is_when_it_is_given(play):
    async def main():
        async with GatewayHost() as host:
            now = [host.door.now()]
            host.door.now = lambda: now[0]
            go = asyncio.Event()
            a = await host.replica("a")
            stale = FallbackView(FallbackType.STALE_CACHE, max_age_s=600.0)
            cache = CacheView(ttl_s=1.0, max_bytes=2**20, stale_s=600.0)
            host.serve(view("mood", a, cache=cache, fallback=(stale,), timeout_s=1000.0))
            await host.post(body=b"[1]")
            now[0] += 100.0
            a.script = later(answer(503, "shed"), go)
            asked = host.asking(body=b"[1]")
            await a.got(2)
            now[0] += 50.0
            go.set()
            assert (await asked)["age"] == "150"

    play(main())


def test_who_turned_to_a_fallback_is_not_computed_as_well(play):
    """A follower whose time was up asks another service; that its leader leaves then is nothing to it."""

    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a, small = await host.replica("a", silent), await host.replica("small-0", later(ok, go))
            fallback = (FallbackView(FallbackType.SERVICE, service="small"),)
            host.serve(
                view("mood", a, cache=CACHE, fallback=fallback, timeout_s=5.0, target_s=0.1), view("small", small)
            )
            leader = await host.client()
            leader.send("POST", host.PATH, b"[7]")
            await a.got(1)
            hurried = host.asking(body=b"[7]", headers=[("plimsoll-deadline-ms", "2000")])
            patient = host.asking(body=b"[7]")
            await small.got(1)
            a.script = ok
            await host.leave(leader)
            assert (await patient).outcome == "ok"
            assert (len(a.requests), len(small.requests)) == (2, 1)
            go.set()
            assert (await hurried).outcome == "degraded"

    play(main())


def test_no_cache_asks_the_model_and_no_store_leaves_nothing(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", counting)
            host.serve(view("mood", a, cache=CACHE))
            await host.post(headers=[("cache-control", "no-store")])
            assert (await host.post()).outcome == "ok"
            assert (await host.post(headers=[("cache-control", "no-cache")])).body == b"3"
            assert (await host.post()).body == b"3"  # what no-cache brought is kept

    play(main())


def test_tenants_do_not_see_each_others_answers(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", counting)
            tenants = [TenantView(name, {"k": "sha256:" + _digest(f"plm_{name}")}) for name in ("red", "blue")]
            host.serve(view("mood", a, cache=CACHE), tenants=tenants)
            for name in ("red", "blue"):
                assert (await host.post(headers=[("x-api-key", f"plm_{name}")])).outcome == "ok"
            assert (await host.post(headers=[("x-api-key", "plm_red")])).outcome == "cached"
            host.serve(view("mood", a, cache=CacheView(60.0, 2**20, per_tenant=False)), tenants=tenants)
            assert (await host.post(headers=[("x-api-key", "plm_red")])).outcome == "ok"
            assert (await host.post(headers=[("x-api-key", "plm_blue")])).outcome == "cached"

    play(main())


def _digest(key):
    from hashlib import sha256

    return sha256(key.encode()).hexdigest()
