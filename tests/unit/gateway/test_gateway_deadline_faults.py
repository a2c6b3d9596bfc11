"""Deadlines that no sane client sends: one clear answer each, counted once, at the gateway."""

import asyncio
import json
from hashlib import sha256
from time import monotonic

import pytest
from tests.support.gateway_host import GatewayHost, later, ok, silent, until, view

from plimsoll.core.snapshot import CacheView, FallbackType, FallbackView, TenantView

MS, GRPC, ENVOY = "plimsoll-deadline-ms", "grpc-timeout", "x-envoy-upstream-rq-timeout-ms"

PASSED = [(MS, "0"), (MS, "0.0"), (MS, "0.000000001"), (MS, "000"), (GRPC, "0S"), (GRPC, "1n"), (GRPC, "00000000u"),
          (ENVOY, "0")]  # fmt: skip
NONSENSE = [
    *[(MS, text) for text in ("-1", "-0", "+5", "NaN", "nan", "inf", "-inf", "1e3", "0x10", "soon", "", "1,5", "5ms")],
    *[(MS, text) for text in ("1" * 16, "9" * 400, "1.", ".5", "1.2.3", "1_000", "\xb2", "5 5")],
    *[(GRPC, text) for text in ("100", "-1S", "1.5S", "100000000m", "1s", "S", "", "1 S", "NaNS", "1SS")],
    *[(ENVOY, text) for text in ("-5", "abc", "1e9", "")],
]
HUGE = [(MS, "9" * 15), (MS, "999999999999999.999999999"), (GRPC, "99999999H"), (ENVOY, "9" * 15)]


@pytest.mark.parametrize("header", PASSED, ids=": ".join)
def test_what_has_passed_is_expired_and_reaches_no_replica(play, header):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a))
            got = await host.post(headers=[header])
            assert (got.status, got.outcome) == (504, "expired")
            assert "deadline" in json.loads(got.body)["error"]
            assert a.requests == []
            assert host.counted() == {"expired": 1}

    play(main())


@pytest.mark.parametrize("header", NONSENSE, ids=": ".join)
def test_nonsense_is_the_clients_doing_and_is_named(play, header):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            fallback = (FallbackView(FallbackType.STATIC, body="1"),)
            host.serve(view("mood", a, fallback=fallback))
            got = await host.post(headers=[header])
            assert (got.status, got.outcome) == (400, "invalid")
            assert header[0] in json.loads(got.body)["error"]
            assert a.requests == []
            assert (await host.post()).outcome == "ok"  # on another connection, as if nothing was

    play(main())


@pytest.mark.parametrize("header", HUGE, ids=": ".join)
def test_the_services_timeout_bounds_what_is_huge(play, header):
    async def main():
        async with GatewayHost(grace_s=0.02) as host:
            a = await host.replica("a")
            host.serve(view("mood", a, timeout_s=0.2))
            assert (await host.post(headers=[header])).outcome == "ok"
            assert 0 < float(a.header(MS)) <= 200
            a.script = silent
            began = monotonic()
            assert (await host.post(headers=[header])).outcome == "expired"
            assert monotonic() - began < 5

    play(main())


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ([(MS, "5000"), (GRPC, "1S"), (ENVOY, "2000")], 4000, 5000),  # ours counts, wherever it stands
        ([(ENVOY, "2000"), (GRPC, "1S"), (MS, "5000")], 4000, 5000),
        ([(GRPC, "3S"), (ENVOY, "9000")], 2000, 3000),
        ([(ENVOY, "3000"), (GRPC, "9S")], 2000, 3000),  # of the others the first
        ([(MS, "5000"), (MS, "3000")], 2000, 3000),
        ([(GRPC, "9S"), (GRPC, "3S")], 8000, 9000),
    ],
)
def test_several_at_once(play, headers, least, most):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a, timeout_s=30.0))
            assert (await host.post(headers=headers)).outcome == "ok"
            assert least < float(a.header(MS)) <= most
            assert [name for name, _ in a.requests[-1].headers if name in {GRPC.encode(), ENVOY.encode()}] == []

    play(main())


def test_one_that_has_passed_among_others_expires(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a))
            assert (await host.post(headers=[(GRPC, "5S"), (MS, "0"), (ENVOY, "5000")])).outcome == "expired"
            assert a.requests == []

    play(main())


def test_deadlines_of_all_kinds_at_once_on_one_connection(play):
    """Pipelined: each gets its own answer, in order."""

    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a")))
            client = await host.client()
            sent = [((MS, "5000"), "ok"), ((MS, "0"), "expired"), ((MS, "x"), "invalid"), ((GRPC, "1S"), "ok")] * 10
            for header, _ in sent[:16]:
                client.send("POST", host.PATH, b"{}", [header])
            for _, outcome in sent[:16]:
                got = await client.receive()
                assert got.outcome == outcome
                host.seen[outcome] += 1
            client.close()

    play(main())


@pytest.mark.parametrize("waits", ["held", "computed", "following"])
def test_a_short_deadline_ends_a_wait_of_any_kind(play, waits):
    async def main():
        async with GatewayHost(grace_s=0.02) as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            cache = CacheView(60.0, 2**20) if waits == "following" else None
            host.serve(view("mood", *([] if waits == "held" else [a]), cache=cache, hold_s=30.0, timeout_s=30.0))
            first = host.asking(body=b"[1]") if waits == "following" else None
            if first is not None:
                await a.got(1)
            began = monotonic()
            got = await host.post(body=b"[1]", headers=[(MS, "40")])
            assert (got.status, got.outcome) == ((503, "no_replica") if waits == "held" else (504, "expired"))
            assert 0.03 < monotonic() - began < 3
            go.set()
            if first is not None:
                assert (await first).outcome == "ok"

    play(main())


def test_a_tenants_passed_deadlines_are_no_requests_at_once(play):
    async def main():
        async with GatewayHost() as host:
            red = TenantView("red", {"k": "sha256:" + sha256(b"plm_red").hexdigest()}, concurrent_requests=1)
            host.serve(view("mood", await host.replica("a")), tenants=[red])
            key = ("x-api-key", "plm_red")
            for _ in range(5):
                assert (await host.post(headers=[key, (MS, "0")])).outcome == "expired"
            assert (await host.post(headers=[key])).outcome == "ok"
            await until(lambda: host.door.tenants.get("red").quota.in_flight == 0)

    play(main())
