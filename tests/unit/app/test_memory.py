"""Freed memory goes back to the system."""

import asyncio
import ctypes
import sys

import pytest

from plimsoll.app.memory import EVERY_S, keep_trimmed, trimmer


def test_each_minute_until_it_is_cancelled():
    told = []

    async def sleep(seconds):
        told.append(seconds)
        if len(told) > 4:
            raise asyncio.CancelledError

    async def work():
        await keep_trimmed(lambda: told.append("trim"), sleep=sleep)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())
    assert told == [EVERY_S, "trim", EVERY_S, "trim", EVERY_S]


def test_where_there_is_nothing_to_call_it_is_over():
    asyncio.run(keep_trimmed(None))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_what_lies_between_is_given_back():
    trim = trimmer()
    if trim is None:
        pytest.skip("this C library has no malloc_trim")

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    size = 20_000
    kept = [libc.malloc(size) for _ in range(4000)]
    for at in kept:
        ctypes.memset(at, 1, size)
    for at in kept[::2]:
        libc.free(at)
    before = resident()
    trim()
    pages = 2000 * (size // 4096 - 1)
    assert before - resident() > pages // 2
    for at in kept[1::2]:
        libc.free(at)
