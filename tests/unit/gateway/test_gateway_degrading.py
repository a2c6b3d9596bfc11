"""Instead of an answer that would break the budget, or that nobody can give: the service's `fallback` list."""

import asyncio

import pytest
from tests.support.gateway_host import (
    GatewayHost,
    answer,
    crash,
    crash_computing,
    die,
    endpoint,
    later,
    ok,
    silent,
    view,
)

from plimsoll.core.snapshot import FallbackType, FallbackView

STATIC = FallbackView(FallbackType.STATIC, body='{"score": 0.5}')


def service(name):
    return FallbackView(FallbackType.SERVICE, service=name)


@pytest.mark.parametrize(
    ("status", "outcome"), [(503, "shed"), (504, "expired"), (503, "no_replica"), (500, "model_error")]
)
def test_a_static_answer_instead_of_a_failure(play, status, outcome):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a", answer(status, outcome)), fallback=(STATIC,)))
            got = await host.post(body=b"[1]")
            assert (got.status, got.body, got.outcome) == (200, b'{"score": 0.5}', "degraded")
            assert got["plimsoll-degraded-by"] == "Static"
            assert got["content-type"] == "application/json"
            assert host.counted(service="mood") == {"degraded": 1}

    play(main())


@pytest.mark.parametrize(("status", "outcome"), [(400, "invalid"), (413, "too_large"), (404, "not_found")])
def test_what_the_client_got_wrong_is_not_degraded(play, status, outcome):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a", answer(status, outcome)), fallback=(STATIC,)))
            got = await host.post()
            assert (got.status, got.outcome) == (status, outcome)
            assert "plimsoll-degraded-by" not in got

    play(main())


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/v2/models/mood/infer", "/v2/models/small/infer"),
        ("/v2/models/mood/versions/mood-1111111/infer", "/v2/models/small/infer"),
        ("/v1/models/mood:predict", "/v1/models/small:predict"),
        ("/feel", "/feel"),
    ],
)
def test_another_service_answers(play, asked, path):
    async def main():
        async with GatewayHost() as host:
            small = await host.replica("small-0")
            big = await host.replica("a", answer(503, "shed"))
            host.serve(view("mood", big, fallback=(service("small"), STATIC), routes=["/feel"]), view("small", small))
            got = await host.post(path=asked, body=b"[7]")
            assert (got.status, got.body, got.outcome) == (200, b"[7]", "degraded")
            assert got["plimsoll-degraded-by"] == "Service/small"
            assert small.requests[0].path == path
            assert float(small.header("plimsoll-deadline-ms")) > 0

    play(main())


def test_a_fallback_that_fails_gives_way_to_the_next_and_its_own_come_first(play):
    async def main():
        async with GatewayHost() as host:
            replicas = [await host.replica(name, answer(500, "model_error")) for name in ("a", "b", "c")]
            mine = FallbackView(FallbackType.STATIC, body='"of b"')
            host.serve(
                view("mood", replicas[0], fallback=(service("b"), service("c"), STATIC)),
                view("b", replicas[1], fallback=(mine,)),
                view("c", replicas[2]),
            )
            assert (await host.post()).body == b'"of b"'
            assert [len(replica.requests) for replica in replicas] == [1, 1, 0]

    play(main())


def test_where_every_fallback_fails_the_first_failure_is_told(play):
    async def main():
        async with GatewayHost() as host:
            mood = await host.replica("a", answer(503, "shed", b'{"error":"the queue is full"}', b"retry-after: 3\r\n"))
            other = await host.replica("b", answer(500, "model_error"))
            host.serve(view("mood", mood, fallback=(service("b"), service("nobody"))), view("b", other))
            got = await host.post()
            assert (got.status, got.outcome, got["retry-after"]) == (503, "shed", "3")
            assert got.body == b'{"error":"the queue is full"}'

    play(main())


def test_services_that_fall_back_to_each_other_end(play):
    """Files that do are refused; a snapshot from elsewhere must not hang a request."""

    async def main():
        async with GatewayHost() as host:
            a, b = [await host.replica(name, answer(503, "shed")) for name in "ab"]
            host.serve(view("mood", a, fallback=(service("b"),)), view("b", b, fallback=(service("mood"),)))
            assert (await host.post()).outcome == "shed"
            assert len(a.requests) + len(b.requests) <= 3

    play(main())


def test_no_replica_is_degraded_at_once_instead_of_held(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", fallback=(STATIC,), hold_s=30.0))
            assert (await host.post()).outcome == "degraded"

    play(main())


def test_no_replica_and_no_fallback_that_works_is_held(play):
    async def main():
        async with GatewayHost() as host:
            stale = FallbackView(FallbackType.STALE_CACHE, max_age_s=60.0)
            host.serve(view("mood", fallback=(stale,)))
            asked = host.asking(body=b"[1]")
            await asyncio.sleep(0)
            host.serve(view("mood", await host.replica("a"), fallback=(stale,)))
            assert (await asked).body == b"[1]"

    play(main())


@pytest.mark.parametrize("script", [crash, die])
def test_a_service_whose_replicas_die_is_degraded(play, script):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a", script), fallback=(STATIC,), retry=False))
            assert (await host.post()).outcome == "degraded"

    play(main())


def test_a_silent_replica_is_given_up_in_time_for_the_fallback(play):
    """Before the deadline, not after it: then an answer is worth nothing any more."""

    async def main():
        async with GatewayHost() as host:
            small = await host.replica("small-0")
            big = await host.replica("a", silent)
            host.serve(
                view("mood", big, fallback=(service("small"),), timeout_s=1.0, target_s=0.5), view("small", small)
            )
            loop = asyncio.get_running_loop()
            began = loop.time()
            got = await host.post(body=b"[1]")
            assert (got.outcome, got.body) == ("degraded", b"[1]")
            assert loop.time() - began < 1.0
            assert len(big.gone) == 1  # it was told to stop

    play(main())


def test_a_draining_fallback_still_answers(play):
    async def main():
        async with GatewayHost() as host:
            small = await host.replica("small-0", ok)
            big = await host.replica("a", answer(503, "shed"))
            host.serve(view("mood", big, fallback=(service("small"),)), view("small", endpoint(small, "draining")))
            assert (await host.post()).outcome == "degraded"

    play(main())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_service_that_is_down_is_not_ready_whatever_its_fallback(play, method):
    async def main():
        async with GatewayHost() as host:
            small = await host.replica("small-0")
            host.serve(
                view("mood", fallback=(service("small"), STATIC), failed="it does not load"), view("small", small)
            )
            got = await host.ask(method, "/v2/models/mood/ready")
            assert (got.status, got.outcome) == (503, "no_replica")
            assert small.requests == []

    play(main())


@pytest.mark.parametrize("name", ["m", "models", "v1"])
def test_another_services_path_whatever_the_first_is_called(play, name):
    async def main():
        async with GatewayHost() as host:
            small, big = await host.replica("small-0"), await host.replica("a", answer(503, "shed"))
            host.serve(view(name, big, fallback=(service("small"),)), view("small", small))
            assert (await host.post(path=f"/v1/models/{name}:predict")).outcome == "degraded"
            assert small.requests[0].path == "/v1/models/small:predict"

    play(main())


@pytest.mark.parametrize(("status", "outcome"), [(404, "not_found"), (400, "invalid")])
def test_what_only_the_fallback_refuses_is_not_the_clients_doing(play, status, outcome):
    async def main():
        async with GatewayHost() as host:
            big, small = await host.replica("a", answer(503, "shed")), await host.replica("b", answer(status, outcome))
            host.serve(view("mood", big, fallback=(service("small"), STATIC)), view("small", small))
            assert (await host.post()).outcome == "degraded"
            host.serve(view("mood", big, fallback=(service("small"),)), view("small", small))
            assert (await host.post()).outcome == "shed"

    play(main())


def test_a_fallback_without_replicas_has_a_list_of_its_own_too(play):
    async def main():
        async with GatewayHost() as host:
            big = await host.replica("a", answer(503, "shed"))
            host.serve(view("mood", big, fallback=(service("small"),)), view("small", fallback=(STATIC,)))
            assert (await host.post())["plimsoll-degraded-by"] == "Static"

    play(main())


def test_a_request_that_its_fallback_can_not_help_keeps_all_of_its_time(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            host.serve(view("mood", a, fallback=(service("nobody"),), timeout_s=2.0, target_s=1.0))
            asked = host.asking(body=b"[1]")
            await a.got(1)
            await asyncio.sleep(1.1)  # its fallback's turn would have been after one second
            go.set()
            got = await asked
            assert (got.outcome, got.body) == ("ok", b"[1]")
            assert len(a.requests) == 1

    play(main())


def test_a_short_deadline_leaves_half_of_it_to_the_service_itself(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            host.serve(view("mood", a, fallback=(STATIC,), timeout_s=10.0))
            asked = host.asking(headers=[("plimsoll-deadline-ms", "2000")])
            await a.got(1)
            host.serve(view("mood", a, fallback=(service("small"),), timeout_s=10.0, target_s=3.0), view("small"))
            second = host.asking(headers=[("plimsoll-deadline-ms", "2000")])
            await a.got(2)
            await asyncio.sleep(0.1)
            go.set()
            assert [got.outcome for got in await asyncio.gather(asked, second)] == ["ok", "ok"]

    play(main())


def test_a_body_that_ended_two_replicas_of_the_fallback_is_kept_from_it(play):
    async def main():
        async with GatewayHost() as host:
            big = await host.replica("a", answer(503, "shed"))
            small = [await host.replica(f"small-{index}", crash_computing) for index in range(4)]
            host.serve(view("mood", big, fallback=(service("small"), STATIC)), view("small", *small))
            for _ in range(5):
                assert (await host.post(body=b"[666]")).outcome == "degraded"
            assert sum(len(replica.requests) for replica in small) == 2

    play(main())
