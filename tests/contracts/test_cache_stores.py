"""What every store of answers keeps to: in memory, in Redis, in Memcached. The last two are real servers."""

import asyncio
import functools

import pytest
from tests.support.cache_servers import MemcachedServer, RedisServer
from tests.support.caches import LINES, PATIENT, Clock, entry, key, look
from tests.support.gateway_host import run

from plimsoll.gateway.cache.memcached import MemcachedWire
from plimsoll.gateway.cache.memory import MemoryStore
from plimsoll.gateway.cache.redis import RedisWire
from plimsoll.gateway.cache.remote import Link, RemoteStore
from plimsoll.telemetry.metrics import Cell


@pytest.fixture(params=["uvloop", "asyncio"])
def play(request):
    return functools.partial(run, request.param)


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def memcached():
    with MemcachedServer() as server:
        yield server


class Shop:
    """Opens stores of one kind; `close` ends them all. Each test has services of its own names."""

    count = 0

    def __init__(self, kind, url):
        self.kind, self.url = kind, url
        self.clock = Clock()
        self.links, self.errors = [], Cell()
        Shop.count += 1
        self.suffix = f"-{Shop.count}"

    def open(self, service="mood"):
        """A store as another gateway has it: a connection of its own."""
        if self.kind == "memory":
            return MemoryStore(64 * 2**20)
        wire = (RedisWire if self.kind == "redis" else MemcachedWire)(self.url, PATIENT)
        self.links.append(Link(wire, self.kind, PATIENT, self.clock.now, self.clock.wall))
        return RemoteStore(self.links[-1], service + self.suffix, self.errors)

    async def close(self):
        for link in self.links:
            await link.close()
        assert self.errors.value == 0


@pytest.fixture(params=["memory", "redis", "memcached"])
def shopping(request, play):
    """Runs `main(shop)`."""
    kind = request.param
    url = "" if kind == "memory" else request.getfixturevalue(kind).url

    def runs(main):
        async def whole():
            shop = Shop(kind, url)
            try:
                await main(shop)
            finally:
                await shop.close()

        play(whole())

    return runs


def test_what_was_put_is_there_to_the_byte(shopping):
    async def main(shop):
        store, clock = shop.open(), shop.clock
        body = bytes(range(256)) + b"\r\nEND\r\n$5\r\n"
        lines = LINES + b"plimsoll-revision: mood-\xff\r\n"
        assert await look(store, key(), clock.now()) is None
        store.put(key(), entry(clock.now(), body, lines=lines), clock.now())
        await store.settle()

        clock.skipped += 5
        found = await look(store, key(), clock.now())

        assert (found.status, found.lines, found.body) == (200, lines, body)
        assert 5 <= found.age_s(clock.now()) < 7
        assert await look(store, key(1), clock.now()) is None

    shopping(main)


def test_an_entry_is_given_until_its_time_is_over_and_not_after(shopping):
    async def main(shop):
        store, clock = shop.open(), shop.clock
        store.put(key(), entry(clock.now(), keep_s=60), clock.now())
        await store.settle()

        clock.skipped += 55
        assert await look(store, key(), clock.now()) is not None
        clock.skipped += 5
        assert await look(store, key(), clock.now()) is None

    shopping(main)


def test_the_last_one_put_counts(shopping):
    async def main(shop):
        store, now = shop.open(), shop.clock.now()
        for body in (b"1", b"2", b""):
            store.put(key(), entry(now, body), now)
        await store.settle()
        assert (await look(store, key(), shop.clock.now())).body == b""

    shopping(main)


def test_hundreds_asked_for_in_one_turn_are_answered_each_with_its_own(shopping):
    async def main(shop):
        store, now = shop.open(), shop.clock.now()
        for number in range(300):
            store.put(key(number), entry(now, b"%d" % number), now)
        await store.settle()

        found = await asyncio.gather(*(look(store, key(number % 350), shop.clock.now()) for number in range(700)))

        assert [each and int(each.body) for each in found] == [
            number % 350 if number % 350 < 300 else None for number in range(700)
        ]

    shopping(main)


def test_a_purge_empties_one_service_and_what_comes_after_it_stays(shopping):
    async def main(shop):
        mood, fraud, now = shop.open("mood"), shop.open("fraud"), shop.clock.now()
        for number in range(50):
            mood.put(key(number), entry(now), now)
            fraud.put(key(number), entry(now), now)
        await mood.settle()
        await fraud.settle()

        mood.purge()
        await mood.settle()
        mood.put(key(99), entry(now), now)
        await mood.settle()

        now = shop.clock.now()
        assert [await look(mood, key(number), now) for number in range(50)] == [None] * 50
        assert await look(mood, key(99), now) is not None
        assert None not in [await look(fraud, key(number), now) for number in range(50)]

    shopping(main)


def test_what_is_far_too_large_is_not_kept(shopping):
    async def main(shop):
        store, now = shop.open(), shop.clock.now()
        store.put(key(), entry(now, bytes(17 * 2**20)), now)
        store.put(key(1), entry(now, bytes(2**20 - 2**10)), now)
        await store.settle()
        assert await look(store, key(), shop.clock.now()) is None
        assert len((await look(store, key(1), shop.clock.now())).body) == 2**20 - 2**10

    shopping(main)


def test_whoever_waits_when_it_closes_is_told(shopping):
    async def main(shop):
        store, now = shop.open(), shop.clock.now()
        waiting = [asyncio.ensure_future(look(store, key(number), now)) for number in range(10)]
        await asyncio.sleep(0)  # they have asked
        await shop.close()
        store.close()
        assert await asyncio.gather(*waiting) == [None] * 10

    shopping(main)


@pytest.mark.parametrize("kind", ["redis", "memcached"])
def test_two_gateways_share_what_is_kept_elsewhere_and_its_purge(kind, play, request):
    async def main():
        shop = Shop(kind, request.getfixturevalue(kind).url)
        one, two, now = shop.open(), shop.open(), shop.clock.now()
        one.put(key(), entry(now - 7), now)
        await one.settle()
        found = await look(two, key(), shop.clock.now())
        assert 7 <= found.age_s(shop.clock.now()) < 9

        two.purge()
        await two.settle()
        assert await look(one, key(), shop.clock.now()) is None
        await shop.close()

    play(main())
