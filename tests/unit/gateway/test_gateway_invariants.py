"""Random days: replicas that crash, stall and come back, snapshots that change, clients that leave. Whatever happens,
each request has exactly one ending and nothing is left behind (`GatewayHost` looks at its end)."""

import asyncio
from random import Random

import pytest
from tests.support.gateway_host import (
    GatewayHost,
    answer,
    crash,
    crash_computing,
    crash_midway,
    die,
    draining,
    endpoint,
    later,
    ok,
    raw,
    silent,
    view,
)

STATUSES = {
    "ok": 200,
    "invalid": 400,
    "model_error": 500,
    "shed": 503,
    "no_replica": 503,
    "replica_lost": 503,
    "expired": 504,
    "not_found": 404,
}


class Day:
    def __init__(self, host, random):
        self.host, self.random = host, random
        self.done = asyncio.Event()
        self.replicas = []
        self.answered = 0

    def script(self):
        """What a replica does with its next request."""
        random = self.random
        soon = asyncio.Event()
        asyncio.get_running_loop().call_later(random.random() * 0.02, soon.set)
        bad = [crash, crash_computing, crash_midway, silent, die, raw(b"junk\r\n\r\n"), answer(503, "replica_lost"),
               answer(500, "model_error"), answer(400, "invalid"), answer(503, "shed")]  # fmt: skip
        act = ok if random.random() < 0.7 else random.choice(bad)
        return later(act, soon) if random.random() < 0.5 else act

    def play_script(self, replica, exchange):
        self.script()(replica, exchange)

    async def begin(self):
        for n in range(4):
            self.replicas.append(await self.host.replica(f"r{n}", self.play_script))
        self.change()

    def change(self):
        """A new snapshot, true or not."""
        random = self.random
        some = random.sample(self.replicas, random.randint(0, 4))
        fields = {
            "hold_s": 0.05,
            "timeout_s": 0.2,
            "retry": random.random() < 0.8,
            "revision": f"mood-{random.randint(1, 3)}",
        }
        if random.random() < 0.1:
            fields["failed"] = "it broke"
        views = [view("mood", *(random.choice([endpoint, endpoint, draining])(one) for one in some), **fields)]
        if random.random() < 0.05:
            views = []  # deleted, and made anew later
        self.host.serve(*views)

    async def upset(self):
        random = self.random
        while not self.done.is_set():
            await asyncio.sleep(random.random() * 0.01)
            if random.random() < 0.5:
                self.change()
            for replica in self.replicas:
                if not replica.server._listeners and random.random() < 0.5:
                    await replica.start()

    async def ask(self, client_number):
        random, host = self.random, self.host
        client = await host.client()
        for k in range(12):
            body = b"[%d,%d]" % (client_number, k) if random.random() < 0.9 else b'"the same"'
            headers = [("plimsoll-deadline-ms", str(random.choice([0, 5, 40, 5000])))] if random.random() < 0.5 else []
            client.send("POST", host.PATH, body, headers)
            if random.random() < 0.1:
                await asyncio.sleep(random.random() * 0.01)
                await host.leave(client)
                client = await host.client()
                continue
            got = await asyncio.wait_for(client.receive(), 8)
            self.answered += 1
            host.seen[got.outcome] += 1
            assert got.status == STATUSES[got.outcome], got
            assert got["x-request-id"]
            assert "gateway" in got.timing
            if got.outcome == "ok":
                assert got.body == body
        client.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_random_day(play, seed):
    print(f"seed {seed}")

    async def main():
        async with GatewayHost(seed=seed, max_held=20, max_connections=5, max_idle_connections=2) as host:
            # A client may leave just as its answer was written: then it counts as ok here and is nobody's there.
            host.series_may_end = True
            day = Day(host, Random(seed))
            await day.begin()
            upset = asyncio.ensure_future(day.upset())
            await asyncio.gather(*(day.ask(n) for n in range(12)))
            day.done.set()
            await upset
            for replica in day.replicas:
                replica.script = ok
                if not replica.server._listeners:
                    await replica.start()
            host.serve(view("mood", *day.replicas))
            host.service().quarantine.known.clear()
            for _ in range(5):  # after all that it serves as on the first day
                assert (await asyncio.wait_for(host.post(), 10)).status == 200
            assert day.answered > 50

    play(main())


@pytest.mark.parametrize("seed", range(3))
def test_the_counters_add_up_however_replicas_behave(play, seed):
    print(f"seed {seed}")

    async def main():
        async with GatewayHost(seed=seed, max_held=20) as host:
            random = Random(seed)
            day = Day(host, random)
            await day.begin()
            host.serve(view("mood", *day.replicas, timeout_s=0.1, hold_s=0.05))

            async def ask(n):
                for _ in range(15):
                    await host.post(body=b"[%d]" % n)

            await asyncio.gather(*(ask(n) for n in range(10)))
            assert host.seen.total() == 150

    play(main())
