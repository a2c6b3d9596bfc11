"""The wall clock jumps a day ahead and back, or the whole process stands still: what follows is as if nothing was."""

import asyncio
import json
from hashlib import sha256
from time import monotonic, time

import pytest
from tests.support.gateway_host import GatewayHost, later, loaded, ok, until, view

from plimsoll.core.snapshot import CacheView, TenantView
from plimsoll.telemetry.audit_chain import verify

DAY_S = 86_400.0
CACHE = CacheView(ttl_s=60.0, max_bytes=2**20)


def tenant(**fields):
    return TenantView("red", {"main": "sha256:" + sha256(b"plm_red").hexdigest()}, **fields)


KEY = [("x-api-key", "plm_red")]


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S, -2e9], ids=["a day on", "a day back", "before 1970"])
def test_a_jump_of_the_wall_clock_changes_no_answer(play, jump_s, tmp_path):
    """Deadlines, quotas, holds and the age of what is in memory are the monotonic clock's business."""

    async def main():
        log = tmp_path / "audit.jsonl"
        async with GatewayHost(audit=str(log)) as host:
            skew = [0.0]
            host.door.wall = lambda: time() + skew[0]
            # The first bucket holds four requests, and fills by one in a quarter of an hour.
            host.serve(view("mood", await host.replica("a"), cache=CACHE), tenants=[tenant(requests_per_s=1.0)])
            host.door.tenants.get("red").quota.requests.update(0.001, 4.0)
            host.door.tenants.get("red").quota.requests.balance = 4.0
            outcomes = []
            for skew[0] in (0.0, jump_s, 0.0):
                for body in (b"[1]", b"[2%d]" % len(outcomes)):
                    got = await host.post(body=body, headers=[*KEY, ("plimsoll-deadline-ms", "5000")])
                    outcomes.append((got.outcome, dict(got.headers).get("age")))
            # The first one is kept, the others differ; the quota's four are spent, whatever day it is.
            told = [("ok", None), ("ok", None), ("cached", "0"), ("ok", None), ("throttled", None), ("throttled", None)]
            assert outcomes == told
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        told = [line["outcome"] for line in lines if "outcome" in line]
        assert told == [outcome for outcome, _ in outcomes]
        verdict = verify([log])
        assert (verdict.broken, verdict.lost, verdict.requests) == ("", 0, 6)

    play(main())


def test_tokens_follow_the_wall_clock_there_and_back(play):
    jwt = pytest.importorskip("jwt", reason="pyjwt is not installed: pip install 'plimsoll-serve[jwt]'")
    assert jwt
    from tests.unit.gateway.tenants.issuer import NOW, jwk, jwks, rsa_key, token

    from plimsoll.core.snapshot import JwtView

    key = rsa_key()

    async def main():
        async with GatewayHost() as host:
            wall = [NOW]
            host.door.wall = lambda: wall[0]

            async def fetch(uri):
                return jwks(jwk(key))

            host.door.tenants._fetch = fetch
            shop = TenantView("shop", {}, jwt=JwtView("https://id.example.com", "plimsoll", "https://id.example.com/k"))
            host.serve(view("mood", await host.replica("a")), tenants=[shop])
            bearer = [("authorization", f"Bearer {token(key, nbf=NOW - 10).decode()}")]
            told = []
            for skew in (0.0, DAY_S, 0.0, -DAY_S, 0.0):
                wall[0] = NOW + skew
                got = await host.post(headers=bearer)
                told.append((got.status, b"expired" in got.body, b"not valid yet" in got.body))
            assert told == [
                (200, False, False),
                (401, True, False),
                (200, False, False),
                (401, False, True),
                (200, False, False),
            ]

    play(main())


class Stop:
    """The process stands still: the clock goes on, nothing is read or sent meanwhile. The test's clients and replicas
    stand still with it, which makes it no easier."""

    def __init__(self, host):
        self.skipped = 0.0
        host.door.now = self.now
        for server in host.gateway._servers:
            server.clock = self.now  # for connections that are yet to come
        self._host = host

    def now(self):
        return monotonic() + self.skipped

    def use(self):
        """Also for the replicas that are there."""
        for service in self._host.door.services.values():
            for upstream in service.upstreams.values():
                upstream.clock = self.now

    def stop(self, seconds):
        self.skipped += seconds


def test_a_gateway_that_stood_still_expires_what_is_over_and_nothing_else(play):
    """Three seconds: who had one second has expired; who had ten is answered. No replica is blamed for long."""

    async def main():
        async with GatewayHost() as host:
            stop = Stop(host)
            go = asyncio.Event()
            a, b = [await host.replica(name, loaded(1.0)) for name in "ab"]
            host.serve(view("mood", a, b, timeout_s=10.0))
            stop.use()
            for _ in range(10):
                await asyncio.gather(*(host.post() for _ in range(4)))
            a.script = b.script = later(loaded(1.0), go)
            sent = len(a.requests) + len(b.requests)
            short = [host.asking(headers=[("plimsoll-deadline-ms", "1000")]) for _ in range(20)]
            long = [host.asking() for _ in range(20)]
            await until(lambda: len(a.requests) + len(b.requests) >= sent + 40)
            stop.stop(3.0)
            assert {got.outcome for got in await asyncio.gather(*short)} == {"expired"}
            go.set()
            assert {got.outcome for got in await asyncio.gather(*long)} == {"ok"}
            a.script = b.script = loaded(1.0)
            for _ in range(10):
                assert {got.outcome for got in await asyncio.gather(*(host.post() for _ in range(4)))} == {"ok"}
            assert host.service().fleet.outliers.quiet
            stop.stop(1.1)  # what was given up at their deadlines is held against a replica for a second
            before = len(a.requests), len(b.requests)
            async with asyncio.timeout(20):  # on a busy machine one may have to be probed first
                while len(a.requests) == before[0] or len(b.requests) == before[1]:
                    await host.post()

    play(main())


def test_what_was_held_while_the_gateway_stood_still(play):
    async def main():
        async with GatewayHost() as host:
            stop = Stop(host)
            host.serve(view("mood", hold_s=2.0, timeout_s=10.0))
            short = host.asking()
            long = host.asking(headers=[("plimsoll-deadline-ms", "60000")])
            await until(lambda: len(host.service().held) == 2)
            stop.stop(3.0)
            got = await short
            assert (got.status, got.outcome) == (503, "no_replica")
            host.serve(view("mood", await host.replica("a"), hold_s=2.0, timeout_s=10.0))
            assert (await long).outcome == "ok"

    play(main())


def test_a_quota_gives_no_more_than_its_burst_for_the_time_that_was_lost(play):
    async def main():
        async with GatewayHost() as host:
            stop = Stop(host)
            host.serve(view("mood", await host.replica("a", ok)), tenants=[tenant(requests_per_s=3.0)])
            for _ in range(2):
                began = monotonic()
                answers = [await host.post(headers=KEY) for _ in range(6)]
                took = monotonic() - began  # in which it gives three a second more
                assert 3 <= [got.status for got in answers].count(200) <= 3 + 3.0 * took
                stop.stop(DAY_S)

    play(main())
