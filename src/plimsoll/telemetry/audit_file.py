"""The audit log's file: opened where its chain ended, repaired after a crash, renamed when it is full.

`gateway-0.jsonl` is being written; full ones are `gateway-0.jsonl.000001` and so on, in order. Blocks for the disk.
"""

import fcntl
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from plimsoll.core.errors import HostError
from plimsoll.telemetry.audit_chain import MAX_LINE_BYTES, Head, check, seal, utc

_LOOK_BACK_BYTES: Final = 2**20  # how far a crash may have spoilt the end: a disk's cache, not a whole file
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class AuditFile:
    """`head` is known from the first `open` on, and then is what counts, whatever happens to the file."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.head = Head()
        self._max_bytes = max_bytes
        self._fd = -1
        self._size = 0  # up to here every line is whole
        self._known = False  # is `head` ours from an earlier open?

    def open(self, gateway: str, now: float) -> None:
        """Raises HostError: the file can't be opened, another process has it, or its end is no audit log's; OSError
        where the first line can't be written. `now`: seconds since the epoch."""
        if self._fd >= 0:
            self.give_up()
        try:
            fd = os.open(self.path, _FLAGS, 0o600)
        except OSError as error:
            raise HostError(f"the audit log {self.path} can't be opened: {error.strerror}") from error
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise HostError(f"the audit log {self.path} is in use by another process; give each its own") from None
            os.fchmod(fd, 0o600)
            self._fd = fd
            self._continue(gateway, now)
        except BaseException:
            self.give_up()
            raise

    def usable(self) -> bool:
        """False: closed, or the name leads to another file now."""
        if self._fd < 0:
            return False
        try:
            named, ours = os.stat(self.path), os.fstat(self._fd)
        except OSError:
            return False
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)

    def append(self, lines: bytes, head: Head) -> None:
        """All of `lines` or, with OSError and after `give_up`, none of them; `head` is where the chain stands after."""
        view = memoryview(lines)
        while view:  # a full disk takes a part, then says so
            view = view[os.write(self._fd, view) :]
        self._size += len(lines)
        self.head = head

    def make_room(self, gateway: str, now: float) -> None:
        """Renames a full file and begins the next. Raises as `open` does."""
        if self._size < self._max_bytes:
            return
        os.fsync(self._fd)
        newest = self._newest()
        number = int(newest.rpartition(".")[2]) + 1 if newest else 1
        os.rename(self.path, self.path.with_name(f"{self.path.name}.{number:06}"))
        os.close(self._fd)
        self._fd = -1
        self.open(gateway, now)

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.fsync(self._fd)
        self.give_up()

    def give_up(self) -> None:
        """Closes without a word; what is half written is cut off, here or at the next open."""
        if self._fd >= 0:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            os.close(self._fd)
            self._fd = -1

    # --- opening ------------------------------------------------------------------------------------------------------

    def _continue(self, gateway: str, now: float) -> None:
        self._size = os.fstat(self._fd).st_size
        found, torn = self._last()
        if not self._known:
            self.head = found or self._head_of_last_full()
            self._known = True
        if torn:
            self._set_aside(torn, gateway, now)
        if found is None:
            self._say("start", {"after": self._newest() or ""}, gateway, now)
        elif not torn:
            self._say("start", {}, gateway, now)

    def _last(self) -> tuple[Head | None, bytes]:
        """The last line that is as it was written, and what stands after it: the torn end that a crash leaves, which
        may hold blocks of zeros as well as half a line."""
        start = max(0, self._size - _LOOK_BACK_BYTES)
        data = os.pread(self._fd, self._size - start, start)
        end = len(data)
        while end > 0:
            stop = data.rfind(b"\n", 0, end) + 1
            if not stop:
                break
            begin = data.rfind(b"\n", max(0, stop - 1 - MAX_LINE_BYTES), stop - 1) + 1
            try:
                record, _, digest = check(data[begin:stop])
                return Head(record["seq"], digest), data[stop:]
            except ValueError:
                end = stop - 1
        if start or (self._size and not _cut_first_line(data)):
            raise HostError(
                f"the audit log {self.path} does not end as one; move it away to begin anew, and look who wrote to it"
            )
        return None, data

    def _head_of_last_full(self) -> Head:
        newest = self._newest()
        if newest is None:
            return Head()
        with (self.path.parent / newest).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MAX_LINE_BYTES))
            lines = file.read().splitlines(keepends=True)
        try:
            record, _, digest = check(lines[-1])
        except (ValueError, IndexError):
            raise HostError(f"the audit log {newest} does not end as one; move it away to begin anew") from None
        return Head(record["seq"], digest)

    def _set_aside(self, torn: bytes, gateway: str, now: float) -> None:
        """Half a line proves nothing and must not be joined to the next; it is kept beside the log, not thrown away."""
        keep = self.path.with_name(f"{self.path.name}.torn-{self.head.seq}")
        fd = os.open(keep, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, torn)
        finally:
            os.close(fd)
        self._size -= len(torn)
        os.ftruncate(self._fd, self._size)
        self._say("torn", {"bytes": len(torn), "body": hashlib.sha256(torn).hexdigest()}, gateway, now)

    def _say(self, kind: str, more: dict[str, Any], gateway: str, now: float) -> None:
        self.append(*seal({"time": utc(now), "kind": kind, "gateway": gateway} | more, self.head))

    def _newest(self) -> str | None:
        """The name of the last full file."""
        full = re.compile(re.escape(self.path.name) + r"\.\d{6,}\Z")
        names = [name for name in os.listdir(self.path.parent) if full.match(name)]
        return max(names, key=lambda name: int(name.rpartition(".")[2]), default=None)


def _cut_first_line(data: bytes) -> bool:
    """Is this the beginning of a log's very first lines, cut off, and not somebody's other file?"""
    return b"\n" not in data.rstrip(b"\0") and (data.startswith(b'{"seq":') or not data.strip(b"\0"))
