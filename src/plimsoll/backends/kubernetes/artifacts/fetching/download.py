"""One blob into one file: goes on where it broke off, is tried again with back-off, and checked at the end."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from plimsoll.backends.kubernetes.artifacts.fetching.space import is_full, no_room
from plimsoll.backends.kubernetes.artifacts.listing import DigestMismatch, sha256_of_file
from plimsoll.backends.kubernetes.artifacts.retrying import Retries
from plimsoll.backends.kubernetes.artifacts.web import Unreachable

_log = logging.getLogger("plimsoll.fetch")
_EVERY_S = 5.0  # between two lines about progress


class Opened(Protocol):
    """`start`: where the bytes begin; 0 where the other side can't begin in the middle, or has something new."""

    start: int

    def chunks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Blob:
    """`path`: where it lies in the model's folder. `size`: None where it isn't known before. `sha256`: hex, "" where it
    isn't known. `version`: changes with the content, "" where nothing tells. `unpack`: an archive. `open(start)`."""

    path: str
    size: int | None
    open: Callable[[int], AbstractContextManager[Opened]] = field(compare=False)
    sha256: str = ""
    version: str = ""
    unpack: bool = False


class Progress:
    """Of a whole model, over all of its blobs, as log lines: the first, one every 5 s, the last."""

    def __init__(self, uri: str, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._uri, self._total, self._clock = uri, total, clock
        self._lock = threading.Lock()
        self._began = self._told = clock()
        self.done = self.fetched = 0
        self.stopped = threading.Event()

    def had(self, count: int) -> None:
        """Bytes of an earlier attempt; fewer than 0 where they turn out to be useless."""
        with self._lock:
            self.done += count

    def add(self, count: int) -> None:
        with self._lock:
            self.done += count
            self.fetched += count
            now = self._clock()
            if now - self._told < _EVERY_S:
                return
            self._told = now
        self.tell("fetching")

    def tell(self, message: str) -> None:
        took = max(self._clock() - self._began, 1e-9)
        extra = {"uri": self._uri, "done_bytes": self.done, "bytes_per_second": int(self.fetched / took)}
        _log.info(message, extra=extra if self._total is None else extra | {"total_bytes": self._total})


class Stopped(Exception):
    """Another blob failed; this one needn't go on."""


def download(
    blob: Blob, part: Path, progress: Progress, *, sleep: Callable[[float], None] = time.sleep, tries: int = 6
) -> None:
    """Until `part` is whole and has its SHA-256. Raises Unreachable after `tries` without a byte, Refused,
    NoRoom, DigestMismatch (after one whole second try: what was resumed may have been of something older)."""
    for attempt in (0, 1):
        _whole(blob, part, progress, sleep, tries)
        if not blob.sha256:
            return
        found, size = sha256_of_file(part)
        if found == blob.sha256:
            return
        part.unlink()
        progress.had(-size)
        if attempt:
            raise DigestMismatch(f"{blob.path}: SHA-256 {found}, expected {blob.sha256}; what is there was changed")
        _log.warning("fetched bytes have another digest; once more", extra={"file": blob.path, "got": found})


def _whole(blob: Blob, part: Path, progress: Progress, sleep: Callable[[float], None], tries: int) -> None:
    retries = Retries(tries)
    at = part.stat().st_size if part.exists() else 0
    progress.had(at)
    while blob.size is None or at != blob.size or not part.exists():
        try:
            at = _some(blob, part, at, progress, retries)
            if blob.size is None or at == blob.size:
                return
            raise Unreachable(f"{blob.path}: {at:,} bytes, expected {blob.size:,}")
        except Unreachable as error:
            at = part.stat().st_size if part.exists() else 0
            wait = retries.after_failure(error.retry_after_s)
            if wait is None:
                raise
            _log.warning("fetching goes on after a pause", extra={"why": str(error), "wait_s": wait, "done_bytes": at})
            sleep(wait)


def _some(blob: Blob, part: Path, at: int, progress: Progress, retries: Retries) -> int:
    """From `at` as far as it goes; the bytes that `part` then holds."""
    if blob.size is not None and at > blob.size:
        progress.had(-at)
        at = 0
    with blob.open(at) as opened, open(part, "r+b" if part.exists() else "w+b") as stream:
        if opened.start != at:
            progress.had(opened.start - at)
        at = opened.start
        stream.truncate(at)
        stream.seek(at)
        try:
            for chunk in opened.chunks():
                if progress.stopped.is_set():
                    raise Stopped
                stream.write(chunk)
                at += len(chunk)
                progress.add(len(chunk))
                retries.progressed()
            stream.flush()  # to the disk it goes once, when all is checked
        except OSError as error:
            if is_full(error):
                raise no_room(part.parent, (blob.size or at) - at) from error
            raise
    return at
