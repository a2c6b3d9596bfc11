"""One service's cache as a request meets it: asked, computed once, kept, stale, purged."""

import asyncio
import json
import logging

import pytest
from tests.support.cache_requests import infer, post, tensor, view
from tests.support.cache_servers import RedisServer
from tests.support.caches import LINES

from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import CacheBackend
from plimsoll.gateway.cache import CacheStores, ServiceCache, memory_room, require, stores
from plimsoll.gateway.cache.lines import may_keep
from plimsoll.telemetry.serving import GatewayMetrics

BODY = b'{"text": "good"}'
ANSWER = b'{"score": 0.9}\n'


class Kitchen:
    def __init__(self, room_bytes=2**24):
        self.stores = CacheStores(room_bytes=room_bytes)
        self.metrics = GatewayMetrics()

    def cache(self, view, service="mood"):
        return ServiceCache(service, view, self.stores, self.metrics.cache(service))

    def counts(self, service="mood"):
        cells = self.metrics.cache(service)
        return int(cells.hits.value), int(cells.misses.value), int(cells.errors.value)


@pytest.fixture
def kitchen():
    return Kitchen()


def look(cache, ask, now):
    told = []
    cache.lookup(ask, now, told.append)
    (hit,) = told  # memory answers at once
    return hit


def test_what_was_computed_once_is_answered_from_memory_until_its_ttl(kitchen):
    cache = kitchen.cache(view(ttl_s=60, stale_s=600))
    ask = cache.key(post(BODY), "", "r1")
    assert look(cache, ask, 0.0) is None
    assert cache.store(ask, "r1", 200, LINES, ANSWER, 1.0)

    hit = look(cache, cache.key(post(BODY), "", "r1"), 31.5)
    assert (hit.lines, hit.body, hit.fresh, hit.age_s) == (LINES, ANSWER, True, 30.5)
    assert kitchen.counts() == (1, 1, 0)

    stale = look(cache, ask, 61.0)
    assert (stale.fresh, stale.body, stale.age_s) == (False, ANSWER, 60.0)
    assert look(cache, ask, 660.9) is not None
    assert look(cache, ask, 661.0) is None
    assert kitchen.counts() == (1, 4, 0)


def test_a_new_model_never_answers_from_an_old_cache(kitchen):
    cache = kitchen.cache(view())
    old = cache.key(post(BODY), "", "r1")
    cache.store(old, "r1", 200, LINES, ANSWER, 0.0)
    new = cache.key(post(BODY), "", "r2")
    assert look(cache, new, 0.0) is None
    # While replicas are replaced one by one, an old one may still answer what came for the new revision.
    assert not cache.store(new, "r1", 200, LINES, ANSWER, 0.0)
    assert look(cache, new, 0.0) is None


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (500, LINES),
        (201, LINES),
        (200, LINES + b"set-cookie: a=b\r\n"),
        (200, b"Set-Cookie: a=b\r\n" + LINES),
        (200, LINES + b"cache-control: max-age=1, No-Store\r\n"),
        (200, LINES + b"cache-control: private\r\n"),
        (200, LINES + b"vary: x-user\r\n"),
        (200, LINES + b"content-encoding: gzip\r\n"),
        (200, LINES + b"no colon\r\n"),
        (200, LINES + b"x: 1"),
        (200, LINES + b"x-long: " + b"1" * 5000 + b"\r\n"),
    ],
)
def test_answers_that_are_not_for_everybody_are_not_kept_nor_shared(kitchen, status, lines):
    cache = kitchen.cache(view())
    ask = cache.key(post(BODY), "", "r1")
    assert not cache.store(ask, "r1", status, lines, ANSWER, 0.0)
    assert look(cache, ask, 0.0) is None


def test_lines_that_may_be_kept_and_the_memory_of_them_has_an_end():
    assert may_keep(LINES + b"cache-control: public, max-age=9\r\nx-no-store: 1\r\nplimsoll-revision: mood-1\r\n")
    assert may_keep(b"")
    for number in range(2000):
        assert may_keep(b"x-number: %d\r\n" % number)


def test_in_the_inference_protocol_each_gets_its_own_id_back(kitchen):
    cache = kitchen.cache(view(inputs=("x",)))
    first, second, none = (cache.key(infer(tensor("x"), request_id=name), "", "r1") for name in ("a", 'b\\"', None))
    answer = b'{"model_name":"mood","id":"a","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}'
    assert cache.store(first, "r1", 200, LINES, answer, 0.0)

    plain = {key: value for key, value in json.loads(answer).items() if key != "id"}
    assert json.loads(look(cache, second, 0.0).body) == plain | {"id": 'b"'}
    assert json.loads(look(cache, none, 0.0).body) == plain
    assert json.loads(look(cache, first, 0.0).body) == json.loads(answer)
    # And a follower that waited for it in flight.
    assert json.loads(cache.answer(second, answer)) == plain | {"id": 'b"'}
    assert json.loads(cache.answer(none, answer)) == plain
    assert not cache.store(first, "r1", 200, LINES, b"no json", 0.0)
    assert cache.store(first, "r1", 200, LINES, b' {"id":"a"}', 0.0)
    assert look(cache, second, 0.0).body == b'{"id":"b\\""}'
    assert look(cache, none, 0.0).body == b"{}"


def test_with_whole_bodies_answers_pass_to_the_byte(kitchen):
    cache = kitchen.cache(view())
    ask = cache.key(infer(tensor("x"), request_id="a"), "", "r1")
    answer = b'{ "id" : "a", "outputs": [] }'
    cache.store(ask, "r1", 200, LINES, answer, 0.0)
    assert look(cache, ask, 0.0).body == answer == cache.answer(ask, answer)


def test_another_ttl_holds_for_what_is_there_and_a_purge_empties(kitchen):
    cache = kitchen.cache(view(ttl_s=60))
    ask = cache.key(post(BODY), "", "r1")
    cache.store(ask, "r1", 200, LINES, ANSWER, 0.0)

    cache.update(view(ttl_s=10))
    assert look(cache, cache.key(post(BODY), "", "r1"), 9.0).fresh
    assert not look(cache, ask, 10.0).fresh

    cells = kitchen.metrics.cache("mood")
    assert cells.bytes.read() > len(ANSWER)
    cache.update(view(ttl_s=10, epoch=1))
    assert cells.bytes.read() == 0
    assert look(cache, cache.key(post(BODY), "", "r1"), 9.0) is None
    # What was computed for a question from before the purge is never read again, though it comes after it.
    cache.store(ask, "r1", 200, LINES, ANSWER, 9.0)
    assert look(cache, cache.key(post(BODY), "", "r1"), 9.0) is None


def test_caches_larger_than_memory_get_their_part_and_it_is_said_once(caplog):
    kitchen = Kitchen(room_bytes=90_000)
    small, large = kitchen.cache(view(max_bytes=60_000)), kitchen.cache(view(max_bytes=2**50), "fraud")
    for number in range(300):
        for cache in (small, large):
            ask = cache.key(post(b"%d" % number), "", "r1")
            cache.store(ask, "r1", 200, LINES, bytes(1000), 0.0)
    kept = [kitchen.metrics.cache(service).bytes.read() for service in ("mood", "fraud")]
    assert sum(kept) <= 90_000
    assert kept[1] > 85_000
    large.close()
    for number in range(300):
        ask = small.key(post(b"%d" % number), "", "r1")
        small.store(ask, "r1", 200, LINES, bytes(1000), 0.0)
    assert 55_000 < kitchen.metrics.cache("mood").bytes.read() <= 60_000
    small.update(view(max_bytes=10_000))
    assert kitchen.metrics.cache("mood").bytes.read() <= 10_000
    (said,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "half of what this gateway may use" in said.message


@pytest.mark.parametrize(("wanted", "room", "got"), [([], 5, []), ([3, 2], 5, [3, 2]), ([30, 10], 20, [15, 5]),
                                                     ([2**60], 7, [7])])  # fmt: skip
def test_memory_is_shared_out_by_what_each_wants(wanted, room, got):
    assert memory_room.shares(wanted, room) == got


def test_the_room_is_what_the_innermost_and_the_outer_control_groups_leave(tmp_path):
    own = tmp_path / "self"
    machine = memory_room.memory_limit(tmp_path / "none", tmp_path / "none")
    assert machine == memory_room.psutil.virtual_memory().total
    groups = tmp_path / "groups"
    (groups / "pod/box").mkdir(parents=True)
    own.write_text("0::/pod/box\n")
    (groups / "pod/box/memory.max").write_text("max\n")
    assert memory_room.memory_limit(groups, own) == machine
    (groups / "pod/memory.max").write_text("1000000\n")
    assert memory_room.memory_limit(groups, own) == 1_000_000
    (groups / "pod/box/memory.max").write_text("2000000\n")
    assert memory_room.memory_limit(groups, own) == 1_000_000
    # In a container the group's own path is not there, and the root's limit is ours.
    own.write_text("0::/somewhere/else\n")
    (groups / "memory.max").write_text("500000\n")
    assert memory_room.memory_limit(groups, own) == 500_000
    # Version 1, which says "no limit" by a huge number.
    own.write_text("9:cpu,memory:/box\n3:cpuset:/x\n")
    (groups / "memory/box").mkdir(parents=True)
    (groups / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (groups / "memory/box/memory.limit_in_bytes").write_text("300000\n")
    assert memory_room.memory_limit(groups, own) == 300_000


def test_services_of_one_redis_share_its_connections_and_the_last_one_closes_them(play):
    async def main():
        with RedisServer() as server:
            kitchen = Kitchen()
            there = view(backend=CacheBackend.REDIS, url=server.url)
            one, two = kitchen.cache(there), kitchen.cache(there, "fraud")
            assert len(kitchen.stores._links) == 1
            one.close()
            assert len(kitchen.stores._links) == 1
            two.update(view())  # into memory
            assert kitchen.stores._links == {}
            ask = two.key(post(BODY), "", "r1")
            two.store(ask, "r1", 200, LINES, ANSWER, 0.0)
            assert look(two, ask, 0.0).body == ANSWER
            await kitchen.stores.close()

    play(main())


@pytest.mark.parametrize("backend", [CacheBackend.REDIS, CacheBackend.MEMORY])
def test_what_was_under_way_when_the_cache_was_closed_is_not_kept(backend, play):
    """Its store is closed: to keep the answer would open a connection that nobody closes."""

    async def main():
        with RedisServer() as server:
            kitchen = Kitchen()
            there = view(backend=backend, url=server.url if backend is CacheBackend.REDIS else "")
            cache = kitchen.cache(there)
            ask = cache.key(post(BODY), "", "r1")
            link = next(iter(kitchen.stores._links.values()), None)
            cache.close()
            await asyncio.sleep(0.02)
            assert cache.store(ask, "r1", 200, LINES, ANSWER, 0.0)  # for those who follow
            assert look(cache, ask, 0.0) is None
            assert link is None or not link._tasks
            await kitchen.stores.close()

    play(main())


def test_a_missing_package_or_a_wrong_url_is_a_cache_that_has_nothing(monkeypatch, play, caplog):
    def missing(*_):
        raise HostError("a cache in Redis needs a package: pip install 'plimsoll-serve[redis]'")

    async def main():
        kitchen = Kitchen()
        monkeypatch.setattr(stores, "_wire", missing)
        cache = kitchen.cache(view(backend=CacheBackend.REDIS, url="redis://:secret@h"))
        ask = cache.key(post(BODY), "", "r1")
        assert cache.store(ask, "r1", 200, LINES, ANSWER, 0.0)  # followers get it all the same
        assert look(cache, ask, 0.0) is None
        assert kitchen.counts() == (0, 1, 1)
        monkeypatch.undo()
        for backend, url in ((CacheBackend.REDIS, "http://:secret@h"), (CacheBackend.MEMCACHED, "secret"),
                             (CacheBackend.MEMCACHED, "memcached://u:secret@h"),
                             (CacheBackend.REDIS, "redis://h:secret")):  # fmt: skip
            cache.update(view(backend=backend, url=url))
            assert look(cache, ask, 0.0) is None
        cache.close()
        await kitchen.stores.close()

    play(main())
    assert "pip install 'plimsoll-serve[redis]'" in caplog.records[0].message
    assert len(caplog.records) == 5
    assert "secret" not in " ".join(str(record.__dict__) for record in caplog.records)


def test_the_missing_package_is_named_before_anything_is_served(monkeypatch):
    require(CacheBackend.REDIS)
    require(CacheBackend.MEMCACHED)
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    monkeypatch.delitem(__import__("sys").modules, "plimsoll.gateway.cache.redis", raising=False)
    with pytest.raises(HostError, match=r"pip install 'plimsoll-serve\[redis\]'"):
        require(CacheBackend.REDIS)
    require(CacheBackend.MEMCACHED)
    require(CacheBackend.MEMORY)


@pytest.mark.parametrize(("url", "shown"), [
    ("redis://user:pw@h:6379/0?password=pw", "redis://h:6379/0"),
    ("rediss://:pw@h", "rediss://h"),
    ("pw", "(an unreadable URL)"),
    ("redis://h:pw", "(an unreadable URL)"),
    ("unix://:pw@/run/redis.sock", "unix:///run/redis.sock"),
])  # fmt: skip
def test_a_url_is_shown_without_its_password(url, shown):
    assert stores.where(url) == shown
