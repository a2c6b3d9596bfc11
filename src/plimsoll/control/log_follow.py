"""Follows replicas' logs through a backend that only tells the last lines.

Asked four times a second a replica, the new lines are what stands behind the longest part of the old ones that begins
the new ones. More than 2,000 lines in a quarter of a second lose the middle.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from plimsoll.ports.backend import Backend

_WINDOW = 2000
_EVERY_S = 0.25


async def follow_logs(
    backend: Backend, service: str, *, replica: str | None, lines: int, closing: asyncio.Event
) -> AsyncIterator[str]:
    """The last `lines`, then new ones as they come, until `closing` is set."""
    for line in backend.logs(service, replica=replica, lines=lines):
        yield line
    tails = {name: backend.logs(service, replica=name, lines=_WINDOW) for name in _replicas(backend, service, replica)}
    while not closing.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EVERY_S):
                await closing.wait()
        for name in _replicas(backend, service, replica) | set(tails):
            now = backend.logs(service, replica=name, lines=_WINDOW)
            for line in new_lines(tails.get(name, []), now):
                yield line
            tails[name] = now


def _replicas(backend: Backend, service: str, replica: str | None) -> set[str]:
    return {
        seen.id for seen in backend.observe() if seen.service == service and (replica is None or seen.id == replica)
    }


def new_lines(before: list[str], now: list[str]) -> list[str]:
    """What `now` has behind its overlap with `before`; all of it where nothing overlaps."""
    if not before:
        return now
    if now[: len(before)] == before:
        return now[len(before) :]
    for start in range(1, len(before)):  # lines that have left the window
        kept = len(before) - start
        if now[:kept] == before[start:]:
            return now[kept:]
    return now
