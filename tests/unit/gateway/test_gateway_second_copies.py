"""Replicas that are slow, stopped or full: who gets a request, and who gets it a second time."""

import asyncio

import pytest
from tests.support.gateway_host import GatewayHost, answer, later, loaded, ok, silent, until, view

from plimsoll.core.snapshot import AffinityType, AffinityView


async def settle(host, replicas, rounds=10):
    """Every replica has answered, so that its usual time is known."""
    for _ in range(rounds):
        await asyncio.gather(*(host.post() for _ in range(4)))
    assert all(replica.requests for replica in replicas)


def test_an_overdue_request_is_sent_a_second_time_and_the_first_answer_wins(play):
    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b))
            await settle(host, [a, b])
            a.script = silent  # stopped: it takes requests and says nothing
            served = len(b.requests)
            answers = await asyncio.gather(*(host.post(body=b"[2]") for _ in range(8)))
            assert {got.outcome for got in answers} == {"ok"}
            await until(lambda: host.service().upstreams["a"].outstanding == 0)
            assert len(b.requests) - served == 8  # each was answered there, once
            # Nothing more goes to the one that stands still.
            stopped = len(a.requests)
            for _ in range(20):
                await host.post()
            assert len(a.requests) == stopped

    play(main())


def test_a_replica_that_answers_again_is_used_again(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b, retry=False))
            await settle(host, [a, b])
            a.script = later(ok, go)
            asked = [host.asking() for _ in range(8)]
            await until(lambda: host.service().upstreams["a"].overdue.suspect(host.door.now()))
            go.set()
            await asyncio.gather(*asked)
            a.script = loaded(1.0)
            before = len(a.requests)
            for _ in range(40):
                await host.post()
            assert len(a.requests) > before

    play(main())


def test_without_retry_nothing_is_sent_twice(play):
    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b, retry=False, timeout_s=1.0))
            await settle(host, [a, b])
            a.script = b.script = silent
            sent = len(a.requests) + len(b.requests)
            assert (await host.post()).outcome == "expired"
            assert len(a.requests) + len(b.requests) == sent + 1

    play(main())


def test_a_hedged_request_takes_the_sooner_answer(play):
    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(0.0, 0.01)) for name in "ab"]
            host.serve(view("mood", a, b, hedging=True, target_s=1.0))
            await settle(host, [a, b], 26)  # a hundred responses are enough to know what is usual
            before = host.metric("plimsoll_hedges_total", service="mood")
            a.script = b.script = silent
            asked = host.asking()
            await until(lambda: host.metric("plimsoll_hedges_total", service="mood") == before + 1)
            a.script = b.script = ok
            first = next(replica for replica in (a, b) if len(replica.requests) > 0)
            for replica in (a, b):
                for exchange in replica.requests:
                    if not exchange.answered:
                        ok(replica, exchange)
                        break
            assert (await asked).outcome == "ok"
            assert first.requests

    play(main())


def test_the_least_predicted_wait_wins(play):
    async def main():
        async with GatewayHost() as host:
            full, free = await host.replica("full", loaded(30_000.0, 1.0)), await host.replica("free", loaded(0.0, 1.0))
            host.serve(view("mood", full, free))
            await settle(host, [full, free], 1)  # once: what `full` says of itself is forgotten after a second
            before = len(full.requests)
            for _ in range(20):
                await host.post()
            assert len(full.requests) == before

    play(main())


def test_what_every_queue_would_keep_too_long_is_shed_here(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", loaded(500.0))
            host.serve(view("mood", a, target_s=0.1))
            assert (await host.post()).outcome == "ok"  # nothing was known of it
            got = await host.post()
            assert (got.status, got.outcome, got["retry-after"]) == (503, "shed", "1")
            assert len(a.requests) == 1

    play(main())


def test_a_report_is_forgotten_after_a_second(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", loaded(5000.0))
            host.serve(view("mood", a, target_s=0.1))
            before = host.door.now()
            await host.post()
            assert (await host.post()).outcome == "shed"
            upstream = host.service().upstreams["a"]
            now = host.door.now()
            assert upstream.load.predicted_wait(before + 0.99) > 0.1
            assert upstream.load.predicted_wait(now + 1.1) is None
            assert host.service().fleet.route(now + 1.1, now + 1.1, now + 60) is upstream  # unknown: it is tried

    play(main())


def test_sessions_stay_with_their_replica(play):
    async def main():
        async with GatewayHost() as host:
            replicas = [await host.replica(name) for name in "abcd"]
            affinity = AffinityView(AffinityType.HEADER, "x-user")
            host.serve(view("mood", *replicas, affinity=affinity))
            homes = {}
            for user in range(40):
                seen = set()
                for _ in range(3):
                    before = {replica.name: len(replica.requests) for replica in replicas}
                    await host.post(headers=[("x-user", f"u{user}")])
                    seen |= {one.name for one in replicas if len(one.requests) > before[one.name]}
                assert len(seen) == 1
                homes[user] = seen.pop()
            assert len(set(homes.values())) == 4
            host.serve(view("mood", *replicas[:3], affinity=affinity))
            for user, home in homes.items():
                before = {replica.name: len(replica.requests) for replica in replicas}
                await host.post(headers=[("x-user", f"u{user}")])
                (now_at,) = {one.name for one in replicas if len(one.requests) > before[one.name]}
                assert now_at == home or home == "d"  # only those of the one that left move

    play(main())


def test_a_session_in_a_cookie(play):
    async def main():
        async with GatewayHost() as host:
            replicas = [await host.replica(name) for name in "ab"]
            host.serve(view("mood", *replicas, affinity=AffinityView(AffinityType.COOKIE, "sid")))
            for _ in range(10):
                await host.post(headers=[("cookie", "a=b; sid=42")])
            assert sorted(len(replica.requests) for replica in replicas) == [0, 10]

    play(main())


def test_a_replica_that_fails_while_its_peers_do_well_is_let_alone(play):
    async def main():
        async with GatewayHost() as host:
            bad = await host.replica("bad", answer(500, "model_error"))
            good = await host.replica("good")
            host.serve(view("mood", bad, good))
            for _ in range(60):
                await host.post()
            assert len(bad.requests) < 25
            before = len(bad.requests)
            for _ in range(20):
                await host.post()
            assert len(bad.requests) - before <= 1

    play(main())


def test_a_server_that_never_says_how_busy_it_is_gets_a_bound(play):
    """Another server than ours, or one without the header: as many at once as its answers bear."""

    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", ok)
            host.serve(view("mood", a))
            await host.post()
            upstream = host.service().upstreams["a"]
            assert upstream.limit is not None
            a.script = later(ok, go)
            most = upstream.limit.limit
            asked = [host.asking() for _ in range(most + 5)]
            await until(lambda: host.seen["shed"] == 5)
            go.set()
            assert sorted(got.status for got in await asyncio.gather(*asked)) == [200] * most + [503] * 5
            a.script = loaded(0.0)
            await host.post()
            assert upstream.limit is None  # it says so itself now

    play(main())


def test_nobody_is_waited_for_where_the_other_replica_went_meanwhile(play):
    """Of the only replica it does not matter when an answer is overdue; what was sent while there were two ends all
    the same, else it stays in memory and its replica suspect for ever."""

    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a, b = [await host.replica(name, later(ok, go)) for name in "ab"]
            host.serve(view("mood", a, b))
            asked = [host.asking() for _ in range(4)]
            await until(lambda: len(a.requests) >= 2 and len(b.requests) >= 2)
            host.serve(view("mood", a))
            go.set()
            assert {got.outcome for got in await asyncio.gather(*asked)} == {"ok"}
            upstream = host.service().upstreams["a"]
            assert len(upstream.overdue) == 0
            assert not upstream.overdue.suspect(host.door.now() + 100)

    play(main())


def test_where_nobody_can_take_a_copy_no_retry_is_spent(play):
    """Else a freeze of all leaves none for the replicas that are lost next."""

    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b, timeout_s=1.0))
            await settle(host, [a, b])
            a.script = b.script = silent
            spent, sent = host.service().retries.retries, len(a.requests) + len(b.requests)
            await asyncio.gather(*(host.post() for _ in range(20)))
            copies = len(a.requests) + len(b.requests) - sent - 20
            assert host.service().retries.retries - spent == copies

    play(main())


def test_a_replica_at_another_address_is_another_whatever_its_name(play):
    async def main():
        async with GatewayHost() as host:
            bad, good = await host.replica("bad", answer(500, "model_error")), await host.replica("good")
            host.serve(view("mood", bad, good))
            for _ in range(60):
                await host.post()
            assert not host.service().fleet.outliers.quiet  # it is out
            again = await host.replica("bad", address=f"unix:{host.folder}/again.sock")
            host.serve(view("mood", again, good))
            assert host.service().fleet.outliers.quiet

    play(main())


@pytest.mark.parametrize("how", ["lost", "lost its model"])
def test_a_copy_that_failed_is_the_answer_when_the_other_one_is_lost(play, how):
    """Not a third try: two replicas have had it, and one of them said what is wrong with it."""

    async def main():
        async with GatewayHost() as host:
            replicas = [await host.replica(name, loaded(1.0)) for name in "abc"]
            host.serve(view("mood", *replicas))
            await settle(host, replicas)
            had = []

            def script(replica, exchange):
                had.append((replica, exchange))
                if len(had) == 2:
                    answer(500, "model_error", b"the model failed")(replica, exchange)

            for replica in replicas:
                replica.script = script
            asked = host.asking(body=b"[2]")
            await until(lambda: len(had) == 2)
            await until(lambda: host.service().upstreams[had[1][0].name].outstanding == 0)
            if how == "lost":
                had[0][1].connection.abort()
            else:
                answer(503, "replica_lost")(*had[0])
            got = await asked
            assert (got.status, got.outcome, got.body) == (500, "model_error", b"the model failed")
            assert len(had) == 2

    play(main())
