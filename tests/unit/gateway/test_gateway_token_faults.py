"""Tokens that are no good, and issuers that die, hang or take their time: each request has its one outcome, in time."""

import asyncio
from time import monotonic

import pytest

pytest.importorskip("jwt", reason="pyjwt is not installed: pip install 'plimsoll-serve[jwt]'")

from tests.support.gateway_host import GatewayHost, later, silent, until, view
from tests.unit.gateway.tenants.issuer import NOW, handmade, jwk, jwks, rsa_key, token

from plimsoll.core.snapshot import FallbackType, FallbackView, JwtView, TenantView
from plimsoll.gateway.tenants.fetch import TIMEOUT_S, Fetcher

RSA, NEXT, FOREIGN = rsa_key(), rsa_key(), rsa_key()
ISSUER = "https://id.example.com"
STATIC = FallbackView(FallbackType.STATIC, body='"static"')


def publish(*keys):
    return lambda issuer, exchange: exchange.respond(200, b"content-type: application/json\r\n", jwks(*keys))


class Door:
    """A gateway with a tenant that proves itself by tokens of `issuer`, which does what its script says."""

    def __init__(self, fetch_s=TIMEOUT_S):
        self.host = GatewayHost()
        self.fetch_s = fetch_s
        self.skipped = 0.0  # seconds that have passed for the keys' clock alone

    async def __aenter__(self):
        host = await self.host.__aenter__()
        host.door.wall = lambda: NOW
        host.door.tenants._now = lambda: monotonic() + self.skipped
        host.door.tenants._fetch = Fetcher(timeout_s=self.fetch_s)
        self.replica = await host.replica("a")
        self.issuer = await host.replica("issuer", publish(jwk(RSA)), address="tcp:127.0.0.1:0")
        return self

    async def __aexit__(self, *error):
        await self.host.__aexit__(*error)

    def serve(self, **fields):
        port = self.issuer.address.rpartition(":")[2]
        shop = TenantView("shop", {}, jwt=JwtView(ISSUER, "plimsoll", f"http://127.0.0.1:{port}/keys"))
        self.host.serve(view("mood", self.replica, **fields), tenants=[shop])

    async def ready(self, **fields):
        self.serve(**fields)
        assert (await self.post(token(RSA))).outcome == "ok"

    def post(self, token, *headers):
        return self.host.post(headers=[("authorization", f"Bearer {token.decode()}"), *headers])


def said(**claims):
    return {"iss": ISSUER, "aud": "plimsoll", "exp": NOW + 300} | claims


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (token(RSA, exp=NOW - 61), "has expired"),
        (token(RSA, nbf=NOW + 61), "not valid yet"),
        (token(RSA, exp=None), "never expires"),
        (token(RSA, exp=1e400), "malformed"),
        (token(RSA, aud="another"), "another audience"),
        (token(RSA, iss="https://evil.example.com"), "issuer is not known"),
        (handmade({"alg": "none", "typ": "JWT"}, said()), "algorithm is not accepted"),
        (handmade({"alg": "HS256", "kid": "k1"}, said(), b"x" * 32), "algorithm is not accepted"),
        (handmade({"alg": "RS256", "kid": "k1"}, said(), b"x" * 256), "signature is wrong"),
        (token(FOREIGN), "signature is wrong"),
        (token(RSA, kid="k2"), "does not publish"),
        (b"a.b.c", "malformed"),
        (b"..", "malformed"),
    ],
)
def test_a_token_that_is_no_good_is_refused_and_never_repeated(play, wrong, reason):
    async def main():
        async with Door() as door:
            await door.ready(fallback=(STATIC,))
            got = await door.post(wrong)
            assert (got.status, got.outcome, got["www-authenticate"]) == (401, "unauthorized", "Bearer")
            assert reason in got.body.decode()
            assert wrong not in got.body
            assert len(door.replica.requests) == 1  # the good one before
            assert (await door.post(token(RSA))).outcome == "ok"

    play(main())


def test_while_the_issuer_is_dead_its_last_keys_serve_and_it_is_said(play):
    async def main():
        async with Door() as door:
            await door.ready()
            assert door.host.gateway.report().notes == ()
            door.issuer.kill()
            door.skipped += 601.0
            got = await door.post(token(NEXT, kid="k2"))
            assert (got.status, got.outcome) == (401, "unauthorized")
            (note,) = door.host.gateway.report().notes
            assert "can't be fetched" in note
            assert "stay in use" in note
            assert (await door.post(token(RSA, jti="another"))).outcome == "ok"
            door.issuer.script = publish(jwk(RSA), jwk(NEXT, "k2"))
            await door.issuer.start(door.issuer.address)
            door.skipped += 11.0
            assert (await door.post(token(NEXT, kid="k2"))).outcome == "ok"
            assert door.host.gateway.report().notes == ()

    play(main())


def test_an_issuer_that_was_never_there_accepts_nobody_and_it_is_said(play):
    async def main():
        async with Door() as door:
            door.issuer.kill()
            door.serve(fallback=(STATIC,))
            got = await door.post(token(RSA))
            assert (got.status, got.outcome) == (401, "unauthorized")
            assert b"could not be fetched" in got.body
            assert "no token of this issuer is accepted" in door.host.gateway.report().notes[0]

    play(main())


@pytest.mark.parametrize("fallback", [(), (STATIC,)], ids=["plain", "with a fallback"])
def test_who_waits_for_a_key_ends_by_its_own_deadline(play, fallback):
    """And gets nothing instead of an answer: nobody knows yet who it is."""

    async def main():
        async with Door() as door:
            await door.ready(fallback=fallback)
            door.issuer.script = silent
            door.skipped += 11.0
            began = monotonic()
            got = await door.post(token(NEXT, kid="k2"), ("plimsoll-deadline-ms", "100"))
            assert (got.status, got.outcome) == (504, "expired")
            assert b"could not be fetched before the deadline" in got.body
            assert monotonic() - began < 2
            assert (await door.post(token(RSA))).outcome == "ok"  # whose key is known waits for nothing

    play(main())


def test_without_a_deadline_it_waits_for_the_fetch_and_no_longer(play):
    assert TIMEOUT_S <= 5

    async def main():
        async with Door(fetch_s=0.2) as door:
            await door.ready(timeout_s=60.0)
            door.issuer.script = silent
            door.skipped += 11.0
            began = monotonic()
            got = await door.post(token(NEXT, kid="k2"))
            assert (got.status, got.outcome) == (401, "unauthorized")
            assert 0.19 < monotonic() - began < 5
            assert "no answer within 0.2 s" in door.host.gateway.report().notes[0]
            began = monotonic()
            assert (await door.post(token(NEXT, kid="k2"))).status == 401  # too soon for another fetch
            assert monotonic() - began < 1

    play(main())


def test_clients_that_leave_while_they_wait_for_a_key(play):
    async def main():
        async with Door() as door:
            await door.ready()
            go = asyncio.Event()
            door.issuer.script = later(publish(jwk(NEXT, "k2")), go)
            door.skipped += 11.0
            bearer = [("authorization", f"Bearer {token(NEXT, kid='k2').decode()}")]
            clients = [await door.host.client() for _ in range(20)]
            for client in clients:
                client.send("POST", door.host.PATH, b"{}", bearer)
            await until(lambda: door.host.door.in_flight == 20)
            for client in clients[:19]:
                await door.host.leave(client)
            await until(lambda: door.host.door.in_flight == 1)
            go.set()
            got = await clients[19].receive()
            door.host.seen[got.outcome] += 1
            assert got.outcome == "ok"
            assert len(door.replica.requests) == 2
            clients[19].close()

    play(main())


def test_three_hundred_at_once_with_a_key_that_is_not_known_yet(play):
    """One fetch for all; so many wait, and the others are told to come back, not that their token is no good."""

    async def main():
        async with Door() as door:
            await door.ready()
            asked = len(door.issuer.requests)
            go = asyncio.Event()
            door.issuer.script = later(publish(jwk(NEXT, "k2")), go)
            door.skipped += 11.0
            posts = [asyncio.ensure_future(door.post(token(NEXT, kid="k2", jti=str(n)))) for n in range(300)]
            await until(lambda: door.host.door.in_flight == 256 and door.host.seen["throttled"] == 44)
            go.set()
            answers = await asyncio.gather(*posts)
            assert sorted(got.status for got in answers) == [200] * 256 + [429] * 44
            assert {got["retry-after"] for got in answers if got.status == 429} == {"1"}
            assert len(door.issuer.requests) == asked + 1
            assert (await door.post(token(RSA))).status == 401  # the issuer took its old key back

    play(main())


def test_the_tenant_goes_while_a_request_waits_for_its_key(play):
    async def main():
        async with Door() as door:
            await door.ready()
            door.issuer.script = silent
            door.skipped += 11.0
            asked = asyncio.ensure_future(door.post(token(NEXT, kid="k2")))
            await until(lambda: door.host.door.in_flight == 1)
            other = TenantView("other", {})
            door.host.serve(view("mood", door.replica), tenants=[other])
            got = await asked
            assert (got.status, got.outcome) == (401, "unauthorized")

    play(main())


def test_before_it_is_known_who_asks_no_fallback_answers(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a, fallback=(STATIC,)), tenants=[TenantView("shop", {})])
            assert (await host.post()).status == 401
            got = await host.post(headers=[("plimsoll-deadline-ms", "0")])
            assert (got.status, got.outcome) == (401, "unauthorized")
            assert "plimsoll-degraded-by" not in got

    play(main())
