"""Calls back at a moment of `time.monotonic`, to some 0.1 ms where the system can.

Event loops' own timers move in steps of a millisecond: at a p50 of 2 ms that would be a quarter of what is measured.
Linux: a timerfd (`man 2 timerfd_create`), through ctypes before Python 3.13 has it. Elsewhere: the loop's timer.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from time import monotonic
from typing import Protocol

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_TFD_NONBLOCK = 0o4000
_TFD_CLOEXEC = 0o2000000


class Alarm(Protocol):
    def set(self, at: float) -> None:
        """One call at `at`, or soon where that has passed. Replaces the one that was set."""
        ...

    def clear(self) -> None: ...

    def close(self) -> None: ...


def new_alarm(callback: Callable[[], None]) -> Alarm:
    if sys.platform == "linux":
        try:
            return _TimerFd(callback)
        except (OSError, AttributeError):  # a libc without it
            pass
    return _LoopTimer(callback)


class _Spec(ctypes.Structure):  # struct itimerspec
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class _TimerFd:
    def __init__(self, callback: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Spec()
        self._given = ctypes.byref(self._spec)
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._due)

    def set(self, at: float) -> None:
        seconds = int(at)
        self._spec.value_s = seconds
        self._spec.value_ns = max(int((at - seconds) * 1e9), 1)  # all zeros would mean never
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._given, None)  # also takes back that it was due

    def clear(self) -> None:
        self._spec.value_s = self._spec.value_ns = 0
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._given, None)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _due(self) -> None:
        self.clear()
        self._callback()


class _LoopTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        self.clear()
        self._handle = self._loop.call_later(max(at - monotonic(), 0.0), self._callback)

    def clear(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    close = clear
