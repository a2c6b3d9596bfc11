"""Tenants at the door: who may come in, how much, and what a replica hears of them."""

import asyncio
import json
from hashlib import sha256

import pytest
from tests.support.gateway_host import GatewayHost, answer, later, ok, until, view

from plimsoll.core.snapshot import Allow, CacheView, FallbackType, FallbackView, TenantView

KEY = "plm_red"


def tenant(name="red", **fields):
    return TenantView(name, {"main": "sha256:" + sha256(f"plm_{name}".encode()).hexdigest()}, **fields)


def key(name="red"):
    return [("authorization", f"Bearer plm_{name}")]


def test_without_tenants_everybody_may_unless_the_file_says_otherwise(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a))
            assert (await host.post()).outcome == "ok"
            host.serve(view("mood", a, anonymous=False))
            got = await host.post()
            assert (got.status, got.outcome, got["www-authenticate"]) == (401, "unauthorized", "Bearer")

    play(main())


def test_with_tenants_only_where_the_file_says_so(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a), view("open", a, anonymous=True), tenants=[tenant()])
            assert (await host.post()).status == 401
            assert (await host.post(headers=key())).outcome == "ok"
            assert (await host.post("/v2/models/open/infer")).outcome == "ok"
            wrong = await host.post("/v2/models/open/infer", headers=key("mistyped"))
            assert wrong.status == 401  # who shows a key means to be somebody
            assert b"mistyped" not in wrong.body

    play(main())


def test_another_tenants_service_is_forbidden(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(
                view("mood", a, labels={"tier": "online"}),
                view("other", a),
                tenants=[tenant(allow=(Allow(labels={"tier": "online"}),))],
            )
            assert (await host.post(headers=key())).status == 200
            got = await host.post("/v2/models/other/infer", headers=key())
            assert (got.status, got.outcome) == (403, "unauthorized")

    play(main())


def test_the_replica_hears_who_it_is_and_never_how_it_was_proven(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a), tenants=[tenant(weight=3.0, max_priority=5)])
            sent = [*key(), ("plimsoll-tenant", "blue"), ("plimsoll-weight", "99"), ("plimsoll-priority", "9")]
            await host.post(headers=sent)
            assert a.header("plimsoll-tenant") == b"red"
            assert a.header("plimsoll-weight") == b"3"
            assert a.header("plimsoll-priority") == b"5"  # no more than it may
            assert a.header("authorization") is None
            assert [name for name, _ in a.requests[-1].headers].count(b"plimsoll-tenant") == 1
            host.serve(view("mood", a))
            await host.post(headers=sent)
            assert a.header("authorization") == b"Bearer plm_red"  # none of ours: the model's own business
            assert a.header("plimsoll-tenant") is None
            assert a.header("plimsoll-priority") is None  # anonymous clients may only step back
            await host.post(headers=[("plimsoll-priority", "-3")])
            assert a.header("plimsoll-priority") == b"-3"

    play(main())


@pytest.mark.parametrize("value", ["high", "1.5", "", "--1", "99999999999"])
def test_a_priority_that_is_none(play, value):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a")))
            assert (await host.post(headers=[("plimsoll-priority", value)])).status == 400

    play(main())


def test_over_its_quota_a_tenant_is_throttled_and_others_are_not(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a), tenants=[tenant(requests_per_s=2.0), tenant("blue")])
            answers = [await host.post(headers=key()) for _ in range(4)]
            assert [got.status for got in answers] == [200, 200, 429, 429]
            assert int(answers[-1]["retry-after"]) >= 1
            assert b"2 requests a second" in answers[-1].body
            assert (await host.post(headers=key("blue"))).status == 200
            assert len(a.requests) == 3

    play(main())


def test_requests_at_once_are_given_back_however_they_end(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            host.serve(view("mood", a), tenants=[tenant(concurrent_requests=1)])
            client = await host.client()
            client.send("POST", host.PATH, b"{}", key())
            await a.got(1)
            assert (await host.post(headers=key())).status == 429
            await host.leave(client)
            await until(lambda: host.door.in_flight == 0)
            go.set()
            assert (await host.post(headers=key())).status == 200

    play(main())


def test_tokens_are_paid_for_after_the_answer(play):
    async def main():
        async with GatewayHost() as host:
            used = json.dumps({"usage": {"total_tokens": 100}}).encode()
            a = await host.replica("a")
            host.serve(view("mood", a), tenants=[tenant(tokens_per_minute=60.0)])
            assert (await host.post(body=used, headers=key())).status == 200  # the replica echoes it
            got = await host.post(body=used, headers=key())
            assert (got.status, got.outcome) == (429, "throttled")
            assert int(got["retry-after"]) >= 39

    play(main())


def test_what_was_not_computed_costs_no_tokens(play):
    """An answer from the cache, one of another's that computes the same, and a fixed one."""

    async def main():
        async with GatewayHost() as host:
            used = json.dumps({"usage": {"total_tokens": 50}}).encode()
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            static = FallbackView(FallbackType.STATIC, body=used.decode())
            host.serve(
                view("mood", a, cache=CacheView(60.0, 2**20), fallback=(static,)),
                tenants=[tenant(tokens_per_minute=60.0)],
            )
            asked = [host.asking(body=used, headers=key()) for _ in range(3)]
            await a.got(1)
            go.set()
            assert sorted([(await one).outcome for one in asked]) == ["cached", "cached", "ok"]
            for _ in range(5):
                assert (await host.post(body=used, headers=key())).outcome == "cached"
            a.script = answer(500, "model_error", used)
            for _ in range(5):
                assert (await host.post(body=b"[1]", headers=key())).outcome == "degraded"
            a.script = ok
            assert (await host.post(body=used + b" ", headers=key())).outcome == "ok"  # ten were left, 40 are owed
            assert (await host.post(body=used, headers=key())).outcome == "throttled"

    play(main())


def test_a_tenant_that_is_taken_away_is_nobody_at_once(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            host.serve(view("mood", a), tenants=[tenant(), tenant("blue")])
            asked = host.asking(headers=key())
            await a.got(1)
            host.serve(view("mood", a), tenants=[tenant("blue")])
            assert (await host.post(headers=key())).status == 401
            go.set()
            assert (await asked).status == 200  # what was let in is answered

    play(main())


def test_the_audit_log_has_everybody(play, tmp_path):
    async def main():
        path = tmp_path / "audit.jsonl"
        async with GatewayHost(audit=str(path)) as host:
            host.serve(view("mood", await host.replica("a")), tenants=[tenant()])
            await host.post(body=b"[1]", headers=key())
            await host.post(body=b"[1]")
            await host.post(body=b"[2]", headers=[*key(), ("plimsoll-deadline-ms", "soon")])
            await host.post(body=b"[3]", headers=[*key(), ("plimsoll-priority", "high")])
            await host.post("/v2/models/unknown/infer")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        told = [(line["tenant"], line["service"], line["outcome"]) for line in lines if "outcome" in line]
        # Who asks for a time that is none is refused before anybody looks at who it is.
        refused = [("", "mood", "invalid"), ("", "mood", "invalid")]
        assert told == [("red", "mood", "ok"), ("", "mood", "unauthorized"), *refused]
        assert [line["status"] for line in lines if "outcome" in line] == [200, 401, 400, 400]
        assert "plm_red" not in path.read_text()
        assert sha256(b"[1]").hexdigest() in path.read_text()

    play(main())


def test_a_tenant_that_was_deleted_while_it_waited_leaves_no_series(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            a = await host.replica("a", later(ok, go))
            digest = "sha256:" + sha256(b"plm_red").hexdigest()
            host.serve(view("mood", a, anonymous=True), tenants=[TenantView("red", {"k": digest})])
            asked = host.asking(headers=[("x-api-key", "plm_red")])
            await a.got(1)
            host.serve(view("mood", a, anonymous=True))
            go.set()
            assert (await asked).outcome == "ok"
            assert "plimsoll_tenant_requests_total" not in host.metrics()

    play(main())


def test_a_snapshot_with_a_tenant_that_can_not_be_taken_changes_nothing(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a))
            with pytest.raises(ValueError, match="header"):
                host.serve(view("other", a), tenants=[TenantView("a\r\nplimsoll-tenant: b")])
            assert (await host.post()).outcome == "ok"
            assert (await host.post(path="/v2/models/other/infer")).outcome == "not_found"

    play(main())
