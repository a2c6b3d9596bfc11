"""What tests of caches share: a clock that can jump, entries, a lookup that can be awaited."""

import asyncio
import time

from plimsoll.gateway.cache.remote import Link, RemoteSettings, RemoteStore
from plimsoll.ports.cache_store import Entry
from plimsoll.telemetry.metrics import Cell

LINES = b"content-type: application/json\r\n"
# A lookup may take this long on a loaded machine; only tests of time itself want the product's 20 ms.
PATIENT = RemoteSettings(answer_s=10.0, command_s=10.0)


class Clock:
    """Real time, and what a test adds to it: to both clocks, or to the wall's alone."""

    def __init__(self):
        self.skipped = 0.0
        self.wall_set = 0.0

    def now(self):
        return time.monotonic() + self.skipped

    def wall(self):
        return time.time() + self.skipped + self.wall_set


def key(number=0):
    return b"key-%016d" % number


def entry(now, body=b'{"score": 0.5}', keep_s=60.0, lines=LINES):
    return Entry(200, lines, body, now, now + keep_s)


async def look(store, wanted, now, seconds=30):
    """The entry, or None; fails where `then` is called twice."""
    answer = asyncio.get_running_loop().create_future()
    store.get(wanted, now, answer.set_result)  # a second result would raise
    return await asyncio.wait_for(answer, seconds)


def remote(wire, service="mood", settings=PATIENT, clock=None, where="redis://somewhere"):
    clock = clock or Clock()
    link = Link(wire, where, settings, clock.now, clock.wall)
    return link, RemoteStore(link, service, Cell())
