"""Everything at once, seeded: tenants and quotas, cache and single flight, fallbacks, hedging, sessions, replicas that
misbehave, snapshots that change, clients that leave. Each request has one outcome, the gateway's counters are what
clients saw, and nothing is left behind."""

import asyncio
import gc
from collections import Counter
from hashlib import sha256
from random import Random

import pytest
from tests.support.gateway_host import (
    GatewayHost,
    answer,
    crash,
    crash_computing,
    crash_midway,
    endpoint,
    later,
    loaded,
    raw,
    run,
    silent,
    view,
)

from plimsoll.core.snapshot import (
    AffinityType,
    AffinityView,
    CacheView,
    EndpointState,
    FallbackType,
    FallbackView,
    TenantView,
)
from plimsoll.gateway.attempt import Attempt
from plimsoll.gateway.caching import CacheTrip
from plimsoll.gateway.fallbacks import Fallbacks
from plimsoll.gateway.forwarding import Forwarding
from plimsoll.wire.http1 import Exchange

STATUSES = {
    "ok": 200, "cached": 200, "degraded": 200, "invalid": 400, "unauthorized": 401, "throttled": 429,
    "model_error": 500, "shed": 503, "no_replica": 503, "replica_lost": 503, "expired": 504,
}  # fmt: skip
BAD = [
    crash, crash_computing, crash_midway, silent, raw(b"junk\r\n\r\n"), answer(500, "model_error"),
    answer(503, "shed", more=b"retry-after: 1\r\n"), answer(503, "replica_lost"), answer(504, "expired"),
]  # fmt: skip
FALLBACK = (
    FallbackView(FallbackType.STALE_CACHE, max_age_s=60.0),
    FallbackView(FallbackType.SERVICE, service="small"),
    FallbackView(FallbackType.STATIC, body='"static"'),
)
PATHS = {"mood": "/v2/models/mood/infer", "calm": "/v2/models/calm/infer"}


def tenants():
    digests = {name: "sha256:" + sha256(f"plm_{name}".encode()).hexdigest() for name in ("red", "blue")}
    return [
        TenantView("red", {"k": digests["red"]}, weight=2.0, max_priority=3),
        TenantView("blue", {"k": digests["blue"]}, requests_per_s=60.0, concurrent_requests=4),
    ]


class Day:
    """`badness`: the share of a replica's requests that it does something bad with."""

    def __init__(self, host, random, badness):
        self.host, self.random, self.badness = host, random, badness
        self.seen = Counter()  # by service and outcome
        self.left = 0
        self.over = False

    async def begin(self):
        host = self.host
        self.replicas = {name: await host.replica(name, self.play) for name in ("a", "b", "c", "s", "t")}
        self.change()

    def play(self, replica, exchange):
        random = self.random
        act = loaded(random.random() * 5, 0.5) if random.random() >= self.badness else random.choice(BAD)
        if random.random() < 0.3:
            soon = asyncio.Event()
            asyncio.get_running_loop().call_later(random.random() * 0.02, soon.set)
            act = later(act, soon)
        act(replica, exchange)

    def change(self):
        random, replicas = self.random, self.replicas
        some = random.sample([replicas[name] for name in "abc"], random.randint(1, 3))
        revision = f"mood-{random.randint(1, 2)}"
        states = (EndpointState.DRAINING if random.random() < 0.1 else EndpointState.READY for _ in some)
        ends = [endpoint(one, state, revision) for one, state in zip(some, states, strict=True)]
        common = {"timeout_s": 0.25, "hold_s": 0.1, "retry": random.random() < 0.8}
        cache = CacheView(0.05, 2**18, stale_s=60.0, epoch=random.randint(0, 1), per_tenant=random.random() < 0.5)
        self.host.serve(
            view(
                "mood", *ends, revision=revision, cache=cache if random.random() < 0.8 else None,
                fallback=FALLBACK if random.random() < 0.5 else FALLBACK[:2], hedging=True, target_s=0.1,
                failed="it broke" if random.random() < 0.05 else None, **common,
            ),
            view("small", replicas["s"], **common),
            view(
                "calm", replicas["t"], replicas["c"], anonymous=True, cache=cache,
                affinity=AffinityView(AffinityType.HEADER, "x-user"), **common,
            ),
            tenants=tenants(),
        )  # fmt: skip

    async def upset(self):
        while not self.over:
            await asyncio.sleep(self.random.random() * 0.02)
            if self.random.random() < 0.3:
                self.change()
            for replica in self.replicas.values():
                if not replica.server._listeners:
                    await replica.start()
                elif self.random.random() < self.badness / 10:
                    replica.kill()

    def headers(self):
        random = self.random
        found = [("x-user", str(random.randint(0, 9)))]
        if random.random() < 0.85:
            found.append(("x-api-key", random.choice(["plm_red", "plm_red", "plm_blue", "plm_nobody"])))
        if random.random() < 0.4:
            found.append(("plimsoll-deadline-ms", random.choice(["0", "3", "50", "80", "99999999999", "-1", "5000"])))
        if random.random() < 0.2:
            found.append(("plimsoll-priority", random.choice(["5", "-5", "-5", "5", "x"])))
        if random.random() < 0.1:
            found.append(("cache-control", random.choice(["no-cache", "no-store"])))
        return found

    async def ask(self, number, count, leaving=0.1):
        random, host = self.random, self.host
        client = await host.client()
        for k in range(count):
            service = random.choice(["mood", "mood", "calm"])
            body = b"[%d]" % random.randint(0, 5) if random.random() < 0.5 else b"[%d,%d]" % (number, k)
            client.send("POST", PATHS[service], body, self.headers())
            if random.random() < leaving:
                await asyncio.sleep(random.random() * 0.01)
                self.left += 1
                client.abort()
                client = await host.client()
                continue
            got = await asyncio.wait_for(client.receive(), 8)
            self.seen[service, got.outcome] += 1
            assert got.status == STATUSES[got.outcome], got
            assert got["x-request-id"]
            assert ("retry-after" in got) == (got.status in (429, 503)) or got.outcome == "throttled", got
            assert ("plimsoll-degraded-by" in got) == (got.outcome == "degraded"), got
            if got.outcome in {"ok", "cached"} and got.body != b"{}":
                assert got.body == body
        client.close()

    def agree(self):
        """The counters have what the clients saw. One who left may have been answered a moment before: those are the
        difference, and no more."""
        for service in PATHS:
            counted = self.host.counted(service=service)
            seen = Counter({outcome: count for (name, outcome), count in self.seen.items() if name == service})
            assert not seen - counted, (service, seen, counted)
        assert self.host.counted().total() == self.seen.total() + self.left


@pytest.mark.parametrize("seed", range(6))
def test_a_day_of_everything(play, seed):
    print(f"seed {seed}")

    async def main():
        async with GatewayHost(seed=seed, grace_s=0.05, max_held=30, max_connections=8, max_idle_connections=4) as host:
            host.series_may_end = True  # `agree` looks
            day = Day(host, Random(seed), badness=0.15)
            await day.begin()
            upset = asyncio.ensure_future(day.upset())
            await asyncio.gather(*(day.ask(n, 25) for n in range(16)))
            day.over = True
            await upset
            await host.quiet()
            day.agree()
            assert len({outcome for _, outcome in day.seen}) >= 7, day.seen
            for name in ("red", "blue"):
                assert host.door.tenants.get(name).quota.in_flight == 0
            for service in host.door.services.values():
                assert service.cache is None or len(service.cache.flights) == 0
            day.badness = 0.0
            for replica in day.replicas.values():
                if not replica.server._listeners:
                    await replica.start()
            host.serve(view("mood", *(day.replicas[name] for name in "abc")), tenants=tenants())
            for n in range(20):  # as on the first day
                got = await host.post(body=b'["new",%d]' % n, headers=[("x-api-key", "plm_red")])
                assert got.outcome == "ok", got

    play(main())


KINDS = (Forwarding, Attempt, CacheTrip, Fallbacks, Exchange)


def alive():
    gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KINDS))


def test_nothing_is_left_of_twenty_thousand_requests():
    """However they ended: no object that belongs to a request lives on, and memory does not grow with their number."""

    async def main():
        async with GatewayHost(grace_s=0.02, max_connections=8) as host:
            host.series_may_end = True
            day = Day(host, Random(3), badness=0.03)
            await day.begin()
            upset = asyncio.ensure_future(day.upset())

            async def forget():  # what the test's own replicas keep
                while not day.over:
                    for replica in day.replicas.values():
                        replica.requests.clear()
                        replica.gone.clear()
                    await asyncio.sleep(0.05)

            forgetting = asyncio.ensure_future(forget())
            sizes = []
            for _ in range(5):
                await asyncio.gather(*(day.ask(n, 125, leaving=0.05) for n in range(32)))
                gc.collect()
                sizes.append(len(gc.get_objects()))
            day.over = True
            await asyncio.gather(upset, forgetting)
            await host.quiet()
            day.agree()
            for replica in day.replicas.values():
                replica.requests.clear()
                replica.gone.clear()
            assert day.seen.total() + day.left == 20_000
            await asyncio.sleep(0.1)  # hedges that were due, connections that close
            left = alive()
            print(day.seen, f"{day.left} left", sizes, left)
            assert left["Forwarding"] == left["CacheTrip"] == left["Fallbacks"] == left["Attempt"] == 0, left
            assert sizes[-1] < sizes[1] + 5000, sizes

    run("uvloop", main(), 120)
