"""The owner's end of a child's status pipe: one JSON object a line, from a process that may write anything."""

import asyncio
import json
import logging
import os
from collections.abc import Callable
from typing import Any

_LINE_MAX = 2**20  # a "ready" event with thousands of tensors fits; a child gone mad does not fill our memory
_log = logging.getLogger(__name__)


class StatusPipe:
    """Calls `on_status` on the loop for each event. `finish` reads what is left, so that no event is told after the
    exit of the child that sent it."""

    def __init__(self, fd: int, on_status: Callable[[dict[str, Any]], None]) -> None:
        self._fd = fd
        self._on_status = on_status
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def finish(self) -> None:
        while self._fd >= 0 and self._read():
            pass
        self._close()

    def _read(self) -> bool:
        """True where there may be more."""
        try:
            data = os.read(self._fd, 2**16)
        except (BlockingIOError, InterruptedError):
            return False
        if not data:
            self._close()
            return False
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray() if len(rest) > _LINE_MAX else bytearray(rest)
        for line in lines:
            self._tell(bytes(line))
        return True

    def _tell(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            self._on_status(event)
        else:
            _log.warning("a child wrote a status line that is no event: %.100r", line)

    def _close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
