"""Redis and Memcached killed, frozen, deaf, full of garbage: each is a miss, told once, and never an error."""

import asyncio
import logging
import time

import pytest
from tests.support.cache_servers import MemcachedServer, RedisServer, free_port
from tests.support.caches import LINES, PATIENT, Clock, entry, key, look, remote

from plimsoll.gateway.cache import frame
from plimsoll.gateway.cache.memcached import MemcachedWire
from plimsoll.gateway.cache.redis import RedisWire
from plimsoll.gateway.cache.remote import RemoteSettings

WIRES = {RedisServer: RedisWire, MemcachedServer: MemcachedWire}
BRISK = RemoteSettings(answer_s=0.5, command_s=1.0)


@pytest.fixture(params=[RedisServer, MemcachedServer], ids=["redis", "memcached"])
def server(request):
    with request.param() as server:
        server.wire = WIRES[request.param]
        yield server


def warnings(caplog):
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_killed_and_back_costs_one_failure_and_then_nobody_waits(play, server, caplog):
    async def main():
        clock = Clock()
        link, store = remote(server.wire(server.url, PATIENT), clock=clock)
        store.put(key(), entry(clock.now()), clock.now())
        await store.settle()
        assert await look(store, key(), clock.now()) is not None

        server.kill()
        together = [look(store, key(number), clock.now()) for number in range(20)]
        assert await asyncio.gather(*together) == [None] * 20
        assert store.errors.value == 20
        for _ in range(100):  # within the second: answered at once, before the loop turns
            told = []
            store.get(key(), clock.now(), told.append)
            assert told == [None]
        assert [record.message.startswith("cache store failed") for record in warnings(caplog)] == [True]

        # A second later it is tried, by nobody's request; then two seconds, then four.
        for pause_s in (1, 2, 4):
            clock.skipped += pause_s + 0.1
            assert await look(store, key(), clock.now()) is None
            await store.settle()
        assert len(warnings(caplog)) == 1

        server.start()
        clock.skipped += 8.1
        assert await look(store, key(), clock.now()) is None  # asks for the probe
        await store.settle()
        store.put(key(), entry(clock.now(), b"new"), clock.now())
        await store.settle()
        assert (await look(store, key(), clock.now())).body == b"new"
        assert await asyncio.gather(*(look(store, key(1), clock.now()) for _ in range(500))) == [None] * 500
        assert store.errors.value == 20
        await link.close()

    with caplog.at_level(logging.INFO, "plimsoll"):
        play(main())
    assert caplog.records[-1].message == "cache store answers again"


def test_frozen_it_costs_one_wait_and_thawed_it_serves_on(play, server, caplog):
    async def main():
        clock, loop = Clock(), asyncio.get_running_loop()
        link, store = remote(server.wire(server.url, BRISK), settings=BRISK, clock=clock)
        for number in range(3):
            store.put(key(number), entry(clock.now(), b"%d" % number), clock.now())
        await store.settle()
        assert (await look(store, key(), clock.now())).body == b"0"

        server.freeze()
        began = loop.time()
        assert await asyncio.gather(*(look(store, key(n % 3), clock.now()) for n in range(300))) == [None] * 300
        assert 0.9 * BRISK.answer_s <= loop.time() - began < 5 * BRISK.answer_s
        told = []
        store.get(key(), clock.now(), told.append)
        assert told == [None]
        # The probe finds it frozen still. It is the probe that waits.
        clock.skipped += 1.1
        store.get(key(), clock.now(), told.append)
        assert told == [None, None]
        await store.settle()

        # It now answers what it was asked before the thaw; none of that may be taken for the answer to a new question.
        server.thaw()
        clock.skipped += 2.1
        store.get(key(), clock.now(), told.append)
        await store.settle()
        found = await asyncio.gather(*(look(store, key(n % 3), clock.now()) for n in range(300)))
        assert [each.body for each in found] == [b"%d" % (n % 3) for n in range(300)]
        assert store.errors.value == 300
        assert len(warnings(caplog)) == 1
        await link.close()

    play(main())


def test_a_wrong_password_is_a_miss_and_is_not_told(play, caplog):
    async def main():
        with RedisServer("correct-horse") as server:
            url = server.url.replace("correct-horse", "battery-staple")
            link, store = remote(RedisWire(url, PATIENT), where=f"redis://127.0.0.1:{server.port}/0")
            now = Clock().now()
            assert await look(store, key(), now) is None
            store.put(key(), entry(now), now)
            assert await look(store, key(), now) is None
            await store.settle()
            await link.close()
            assert store.errors.value == 1

    play(main())
    assert len(warnings(caplog)) == 1
    text = " ".join(str(record.__dict__) for record in caplog.records)
    assert "password" in text
    assert "battery-staple" not in text


def test_a_server_that_takes_connections_and_says_nothing_or_nonsense(play, caplog):
    async def main(says):
        async def serve(reader, writer):
            if says:
                writer.write(says)
            await reader.read()
            writer.close()

        deaf = await asyncio.start_server(serve, "127.0.0.1", free_port())
        port = deaf.sockets[0].getsockname()[1]
        for wire in (
            RedisWire(f"redis://127.0.0.1:{port}", BRISK),
            MemcachedWire(f"memcached://127.0.0.1:{port}", BRISK),
        ):
            link, store = remote(wire, settings=BRISK)
            now = Clock().now()
            assert await look(store, key(), now) is None
            store.put(key(), entry(now), now)
            await store.settle()
            assert store.errors.value == 1
            await link.close()
        deaf.close()

    for says in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 70_000, b"VALUE x 0 99999999999\r\n"):
        play(main(says))


def test_garbage_under_our_keys_is_a_miss(play, server, caplog):
    async def main():
        clock = Clock()
        now, wall = clock.now(), clock.wall()
        good = frame.encode(key(), entry(now), now, wall)
        garbage = [
            b"", b"x", b"not ours at all" * 10, good[:-1], good + b"x", good[:51], b"PLM2" + good[4:],
            frame.encode(key(7), entry(now), now, wall),  # another key's
            frame.encode(key(), entry(now, lines=b"set-cookie: a=b\r\n"), now, wall),
            frame.encode(key(), entry(now, lines=LINES + b"\r\nHTTP/1.1 200 OK\r\n"), now, wall),
            frame.encode(key(), entry(now, lines=b"content-length: 0\r\n"), now, wall),
        ]  # fmt: skip
        wire = server.wire(server.url, PATIENT)
        link, store = remote(wire, clock=clock)
        for count, value in enumerate(garbage, 1):
            await wire.save([(("mood", key()), value, 60.0)])
            assert await look(store, key(), clock.now()) is None, value
            assert store.errors.value == count, value
        await wire.save([(("mood", key()), good, 60.0)])
        assert await look(store, key(), clock.now()) is not None
        assert warnings(caplog) == []  # the store works; it is what somebody put there
        await link.close()

    play(main())


@pytest.mark.parametrize(("set_s", "found"), [(-3600.0, False), (-30.0, True), (30.0, True), (3600.0, False)], ids=str)
def test_a_wall_clock_that_jumps_costs_misses_and_never_makes_an_old_answer_new(play, set_s, found):
    async def main():
        clock = Clock()
        with RedisServer() as server:
            link, store = remote(RedisWire(server.url, PATIENT), clock=clock)
            store.put(key(), entry(clock.now() - 10, keep_s=600), clock.now())
            await store.settle()
            clock.wall_set = set_s
            got = await look(store, key(), clock.now())
            assert (got is not None) is found
            if got is not None:
                assert 0 <= got.age_s(clock.now()) < 42
            await link.close()

    play(main())


def test_more_to_store_than_it_can_take_is_let_go_and_not_kept_here(play):
    async def main():
        with MemcachedServer() as server:
            small = RemoteSettings(answer_s=2, command_s=2, unsaved_bytes=100_000)
            link, store = remote(MemcachedWire(server.url, small), settings=small)
            now = Clock().now()
            for number in range(1000):
                store.put(key(number), entry(now, bytes(1000)), now)
            assert link.unsaved_bytes <= 100_000
            await store.settle()
            assert link.unsaved_bytes == 0
            kept = [await look(store, key(number), now) is not None for number in range(1000)]
            assert 80 <= sum(kept) < 100
            assert kept[0]
            await link.close()

    play(main())


def test_one_lookups_bug_is_not_the_next_ones(play):
    async def main():
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        with RedisServer() as server:
            link, store = remote(RedisWire(server.url, PATIENT))
            now = Clock().now()

            def bug(_):
                raise KeyError("ours")

            store.get(key(), now, bug)
            assert await look(store, key(), now) is None
            assert [type(problem["exception"]) for problem in problems] == [KeyError]
            assert store.errors.value == 0
            await link.close()

    play(main())


class Flaky:
    """A wire that fails at once while `down`, and otherwise finds nothing, once it may `go`."""

    def __init__(self):
        self.down, self.asked, self.go = False, 0, asyncio.Event()

    async def fetch(self, names):
        self.asked += 1
        if self.down:
            raise ConnectionError("gone")
        await self.go.wait()
        return [None] * len(names)

    async def ping(self):
        pass

    async def close(self):
        pass


def test_commands_that_end_before_they_begin_take_no_place_for_ever(play):
    """Of several that are sent in one turn the first fails at once, and the others with it: they were never begun."""

    async def main():
        settings = RemoteSettings(answer_s=10, command_s=10, commands=4, keys=1)
        clock, wire = Clock(), Flaky()
        link, store = remote(wire, settings=settings, clock=clock)
        wire.down = True
        assert await asyncio.gather(*(look(store, key(n), clock.now()) for n in range(4))) == [None] * 4
        assert (wire.asked, store.errors.value) == (1, 4)
        wire.down = False
        clock.skipped += 1.1
        assert await look(store, key(), clock.now()) is None  # asks for the probe
        await store.settle()
        asked = [asyncio.ensure_future(look(store, key(n), clock.now())) for n in range(6)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert wire.asked == 1 + 4, "four at once, as before the outage"
        wire.go.set()
        assert await asyncio.gather(*asked) == [None] * 6
        assert (wire.asked, store.errors.value) == (1 + 6, 4)
        await link.close()

    play(main())


def test_a_late_loop_is_no_outage(play, server):
    """The answer lies in the socket while the loop is busy: the timer that comes first must not call it a failure."""

    async def main():
        settings = RemoteSettings(answer_s=0.5, command_s=10)
        link, store = remote(server.wire(server.url, settings), settings=settings)
        now = Clock().now()
        store.put(key(), entry(now), now)
        await store.settle()
        waiting = asyncio.ensure_future(look(store, key(), now))
        for _ in range(3):
            await asyncio.sleep(0)  # it is sent; half a second, so that a busy machine is no second stall
        time.sleep(0.9)  # noqa: ASYNC251 # that is the fault
        assert await waiting is not None
        assert store.errors.value == 0
        await link.close()

    play(main())
