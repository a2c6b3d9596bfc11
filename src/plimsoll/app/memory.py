"""Gives back to the system what was freed in between: the C library by itself does so only at the heap's end."""

import asyncio
import ctypes
from collections.abc import Awaitable, Callable

EVERY_S = 60.0  # a walk over 100 MB takes some milliseconds


def trimmer() -> Callable[[], object] | None:
    """glibc's `malloc_trim`; None where the C library has none, as musl and macOS."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(0)


async def keep_trimmed(
    trim: Callable[[], object] | None, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Until cancelled; at once over where there is nothing to call."""
    while trim is not None:
        await sleep(EVERY_S)
        trim()
