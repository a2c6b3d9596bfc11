"""RateLeases in a real Redis: four gateways together never pass the quota, and one alone has nearly all of it; a Redis
that dies is noticed within a second, and one that comes back is used again."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from plimsoll.gateway.tenants import leasing
from plimsoll.gateway.tenants.leasing import Leasing
from plimsoll.policy.admission import TenantQuota
from plimsoll.ports.rate_lease import Ask, LeasesLost

pytest.importorskip("redis", reason="redis-py is not installed: pip install 'plimsoll-serve[redis]'")

from plimsoll.gateway.tenants.redis_leases import RedisLeases

# By its own timers it notices within a second; a busy machine may take several.
assert leasing._HEARTBEAT_S + leasing._TIMEOUT_S < 1
NOTICED_S = 10.0

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
pytestmark = needs_redis


class RedisServer:
    def __init__(self, folder) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            assert time.monotonic() < until, "redis-server did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path)
    yield running
    running.kill()


class Gateway:
    def __init__(self, url: str, rate: float, gateways: int = 4) -> None:
        self.leasing = Leasing(url, time.monotonic)
        self.leasing.gateways = gateways
        self.quota = TenantQuota(requests_per_s=rate, share=1 / gateways, wake=self.leasing.wake)
        self.leasing.use({"shop": self.quota})
        self.admitted = 0

    def offer(self, count: int) -> None:
        now = time.monotonic()
        for _ in range(count):
            if self.quota.admit(now) is None:
                self.admitted += 1
                self.quota.ended(now)


async def until(condition, within_s: float) -> float:
    """How long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within_s, "it did not happen in time"
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


@contextlib.asynccontextmanager
async def gateways(url, rate, count=4):
    made = [Gateway(url, rate, count) for _ in range(count)]
    try:
        await until(lambda: all(gateway.quota.requests.leased for gateway in made), 20)
        yield made
    finally:
        for gateway in made:
            gateway.leasing.close()
        await asyncio.sleep(0)


async def _sum_holds(server, spread):
    rate = 500.0
    async with gateways(server.url, rate) as four:
        await asyncio.sleep(0.3)  # the stocks, drawn from a full bucket, are made good: 3% of the burst each
        begun = time.monotonic()
        while time.monotonic() - begun < 2.0:
            for gateway, part in zip(four, spread, strict=True):
                gateway.offer(part * 10)  # each 5 ms: 2000 a second and more
            await asyncio.sleep(0.005)
        elapsed = time.monotonic() - begun
        got = sum(gateway.admitted for gateway in four)
    print(f"{got} admitted of {rate * elapsed + rate:.0f} in {elapsed:.2f} s")
    assert got <= rate * elapsed + rate
    assert got >= 0.9 * (rate * elapsed + rate)


@pytest.mark.parametrize("spread", [(1, 0, 0, 0), (1, 1, 1, 1), (6, 3, 2, 1)], ids=str)
def test_the_sum_over_four_gateways_is_the_quota(server, spread):
    asyncio.run(_sum_holds(server, spread))


@pytest.mark.parametrize("rate", [1.0, 3.0])
def test_quotas_smaller_than_one_request_a_gateway(server, rate):
    async def main():
        async with gateways(server.url, rate) as four:
            begun = time.monotonic()
            while time.monotonic() - begun < 2.0:
                for gateway in four:
                    gateway.offer(1)
                await asyncio.sleep(0.01)
            return sum(gateway.admitted for gateway in four), time.monotonic() - begun

    got, elapsed = asyncio.run(main())
    assert rate * 2 * 0.5 <= got <= rate * (elapsed + 0.6) + max(rate, 4)


def test_a_dead_redis_is_noticed_within_a_second_and_comes_back(server, caplog):
    async def main():
        async with gateways(server.url, 100.0, count=2) as (first, second):
            server.kill()
            await until(lambda: first.leasing.degraded and second.leasing.degraded, NOTICED_S)
            assert "each of 2 gateways takes 1/2" in first.leasing.degraded
            first.offer(10_000)
            before, begun = first.admitted, time.monotonic()
            while time.monotonic() - begun < 1.0:
                first.offer(10)
                await asyncio.sleep(0.01)
            assert first.admitted - before <= 50 * (time.monotonic() - begun) + 2
            assert first.admitted - before >= 40
            server.start()
            await until(lambda: not first.leasing.degraded and not second.leasing.degraded, 20.0)
            assert first.quota.requests.leased

    with caplog.at_level("INFO", "plimsoll"):
        asyncio.run(main())
    said = [record.getMessage() for record in caplog.records]
    assert sum("can't be used" in line for line in said) == 2  # each gateway once, not once a try
    assert sum("leased from Redis again" in line for line in said) == 2


def test_a_redis_that_was_never_there_leaves_each_its_share():
    async def main():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            gateway = Gateway(f"redis://:secret-word@127.0.0.1:{probe.getsockname()[1]}/0", 100.0, 2)
            await until(lambda: gateway.leasing.degraded, NOTICED_S)
            assert "secret-word" not in gateway.leasing.degraded
            gateway.offer(3)
            assert gateway.admitted >= 1
            gateway.leasing.close()

    asyncio.run(main())


# --- the port itself --------------------------------------------------------------------------------------------------


def ask(want, rate=10.0, burst=10.0, tenant="shop", kind="requests"):
    return Ask(tenant, kind, want, rate, burst)


def with_leases(server, body):
    async def main():
        leases = RedisLeases(server.url)
        try:
            await body(leases)
        finally:
            await leases.close()

    asyncio.run(main())


def test_grants_are_bounded_by_what_is_left(server):
    async def body(leases):
        assert await leases.lease([]) == []
        assert await leases.lease([ask(4)]) == [4]
        granted = await leases.lease([ask(100), ask(2, tenant="other"), ask(3, kind="tokens")])
        assert granted[0] == pytest.approx(6, abs=1)
        assert granted[1:] == [2, 3]
        assert (await leases.lease([ask(100)]))[0] < 1

    with_leases(server, body)


def test_what_is_given_back_can_be_leased_again_up_to_the_burst(server):
    async def body(leases):
        slow = {"rate": 0.001}
        await leases.lease([ask(10, **slow)])
        assert await leases.lease([ask(-6, **slow)]) == [0]
        assert (await leases.lease([ask(100, **slow)]))[0] == pytest.approx(6, abs=0.1)
        await leases.lease([ask(-600, **slow)])
        assert (await leases.lease([ask(100, **slow)]))[0] == pytest.approx(10, abs=0.1)

    with_leases(server, body)


def test_what_is_unused_expires(server):
    async def body(leases):
        await leases.lease([ask(4)])
        left_ms = await leases._redis.pttl("plimsoll:{rates}:shop:requests")
        assert 0 < left_ms <= 61_000

    with_leases(server, body)


def test_a_changed_quota_takes_effect_at_the_next_lease(server):
    async def body(leases):
        await leases.lease([ask(1, rate=0.001, burst=100)])
        assert (await leases.lease([ask(100, rate=0.001, burst=5)]))[0] == pytest.approx(5, abs=0.1)

    with_leases(server, body)


def test_losses_are_told_without_the_password(tmp_path):
    async def main(url):
        leases = RedisLeases(url)
        try:
            await leases.lease([ask(1)])
        finally:
            await leases.close()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        for url in (f"redis://:secret-word@127.0.0.1:{probe.getsockname()[1]}/0", "nonsense://secret-word"):
            with pytest.raises(LeasesLost) as lost:
                asyncio.run(main(url))
            assert "secret-word" not in str(lost.value)
