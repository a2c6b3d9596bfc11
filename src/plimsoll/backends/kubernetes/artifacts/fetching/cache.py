"""Models kept by digest, for all pods of a node or of a namespace.

    CACHE/sha256/HEX/     a model's folder, whole; its modification time is when it was last used
    CACHE/.locks/HEX      held by whoever fetches it; others wait
    CACHE/.gone-…         on its way out

Only what has a digest is kept. A cache that can't be written to is looked into and left as it is.
"""

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plimsoll.backends.kubernetes.artifacts.fetching.fetch import (
    PARTIAL,
    SOURCE_FILE,
    Fetched,
    Fetcher,
    already,
    fetch_model,
)
from plimsoll.backends.kubernetes.artifacts.fetching.space import NoRoom, check_room, is_full, no_room
from plimsoll.backends.kubernetes.artifacts.listing import LISTING_FILE, is_digest
from plimsoll.core.errors import HostError
from plimsoll.core.units import format_bytes

_log = logging.getLogger("plimsoll.fetch")
_CHUNK = 1 << 20


class DoesNotFit(NoRoom):
    """The cache may not hold it beside what must stay."""


class ModelCache:
    """`max_bytes`: None for no bound."""

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self._folder, self._kept = folder, folder / "sha256"

    def writable(self) -> bool:
        try:
            (self._folder / ".locks").mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        return os.access(self._folder / ".locks", os.W_OK)

    def place(self, digest: str) -> Path:
        return self._kept / digest.partition(":")[2]

    def has(self, digest: str) -> bool:
        return (self.place(digest) / SOURCE_FILE).is_file()

    def keep(self, uri: str, digest: str, fetcher: Fetcher, *, wanted: frozenset[str] = frozenset()) -> Fetched:
        """Fetches it unless it is there; others that want the same wait meanwhile. What was used longest ago goes to
        make room, but nothing of `wanted` (digests); where that isn't enough, this one: raises DoesNotFit. As
        `fetch_model`."""
        assert is_digest(digest)
        with self._lock(digest):
            there = already(self.place(digest), uri, digest)
            if there is None:
                self.evict(wanted | {digest})
                there = self._fetched(uri, digest, fetcher, wanted | {digest})
                self.evict(wanted | {digest})
                if self.max_bytes is not None and self.held_bytes() > self.max_bytes:
                    self._throw_out(digest)
                    size, most = format_bytes(there.listing.size), format_bytes(self.max_bytes)
                    raise DoesNotFit(f"{uri} takes {size}: too much for a cache of {most} beside what is in use")
            os.utime(self.place(digest))
            return there

    def _fetched(self, uri: str, digest: str, fetcher: Fetcher, stay: frozenset[str]) -> Fetched:
        """Whatever the bound, a volume may be full: then others go, one by one."""
        while True:
            try:
                return fetch_model(uri, digest, self.place(digest), fetcher)
            except NoRoom:
                if not self._evict(stay, lambda _, gone: gone > 0):
                    raise

    def give(self, uri: str, digest: str, target: Path) -> Fetched | None:
        """From the cache into `target`: hard links where both lie on one mount, else copies; every byte is checked.
        None where the cache doesn't have it (or has it damaged). Raises NoRoom, HostError."""
        place = self.place(digest)
        there = already(place, uri, digest)
        if there is None:
            return None
        try:
            self._copy(place, there, target)
            os.utime(place)
        except FileNotFoundError:
            return None  # it was thrown out under our hands
        except PermissionError:
            pass  # read-only: who fills it looks at what is wanted
        except OSError as error:
            if is_full(error):
                raise no_room(target, there.listing.size) from error
            if error.errno != errno.EROFS:  # as above
                raise HostError(f"{error.filename or target}: {error.strerror or error}") from error
        return already(target, uri, digest)

    def _copy(self, place: Path, there: Fetched, target: Path) -> None:
        staging = target / PARTIAL / "copy"
        shutil.rmtree(target / PARTIAL, ignore_errors=True)
        staging.mkdir(parents=True)
        names = [LISTING_FILE, *(file.path for file in there.listing.files)]
        linked = _links(place / LISTING_FILE, staging)
        if not linked:
            check_room(staging, there.listing.size)
        for name in names:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            if linked:
                os.link(place / name, staging / name)
            else:
                shutil.copyfile(place / name, staging / name)
        for old in target.iterdir():
            if old.name != PARTIAL:
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for new in sorted(staging.iterdir()):
            os.replace(new, target / new.name)
        shutil.copyfile(place / SOURCE_FILE, target / f"{SOURCE_FILE}.new")
        os.replace(target / f"{SOURCE_FILE}.new", target / SOURCE_FILE)
        shutil.rmtree(target / PARTIAL)

    # --- what goes ------------------------------------------------------------------------------------------------

    def evict(self, wanted: frozenset[str]) -> list[str]:
        """Digests that went: first what never got whole, then those used longest ago, until the rest is within
        `max_bytes`. Nothing of `wanted` goes, nor what somebody fetches right now."""
        most = self.max_bytes
        return [] if most is None else self._evict(wanted, lambda held, _: held <= most)

    def _evict(self, stay: frozenset[str], enough: Callable[[int, int], bool]) -> list[str]:
        """`enough`: of the bytes that are held still, and how many models have gone."""
        kept = sorted(((one / SOURCE_FILE).is_file(), one.stat().st_mtime, one.name, _size(one)) for one in self._all())
        total = sum(size for *_, size in kept)
        gone: list[str] = []
        for *_, name, size in kept:
            if enough(total, len(gone)):
                break
            digest = f"sha256:{name}"
            if digest in stay or not self._remove(digest):
                continue
            _log.info("left the cache", extra={"digest": digest, "bytes": size})
            gone.append(digest)
            total -= size
        return gone

    def held_bytes(self) -> int:
        return sum(_size(one) for one in self._all())

    def _all(self) -> Iterator[Path]:
        if self._kept.is_dir():
            yield from (one for one in self._kept.iterdir() if one.is_dir())

    def _remove(self, digest: str) -> bool:
        with self._lock(digest, wait=False) as held:
            if not held:
                return False
            self._throw_out(digest)
            return True

    def _throw_out(self, digest: str) -> None:
        gone = self._folder / f".gone-{self.place(digest).name}"
        shutil.rmtree(gone, ignore_errors=True)
        os.replace(self.place(digest), gone)  # nobody finds it half deleted
        shutil.rmtree(gone, ignore_errors=True)

    @contextmanager
    def _lock(self, digest: str, *, wait: bool = True) -> Iterator[bool]:
        """The kernel lets go of it when its holder dies."""
        folder = self._folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / digest.partition(":")[2], os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(fd)


def _links(file: Path, folder: Path) -> bool:
    probe = folder / ".probe"
    try:
        os.link(file, probe)
    except OSError:
        return False
    probe.unlink()
    return True


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:  # being fetched
            continue
    return total


def fetch_through(
    cache: ModelCache | None, uri: str, digest: str, target: Path, fetcher: Fetcher, *, note: Callable[[str], None]
) -> Fetched:
    """From the cache if it has it, else through it where it can be written to, else past it. As `fetch_model`."""
    if cache is None or not digest:
        return fetch_model(uri, digest, target, fetcher)
    there = already(target, uri, digest)
    if there is not None:
        return there
    given = cache.give(uri, digest, target)
    if given is None and cache.writable():
        with suppress(NoRoom):  # past it, then
            cache.keep(uri, digest, fetcher)
            given = cache.give(uri, digest, target)
    if given is not None:
        note("from the cache")
        return given
    return fetch_model(uri, digest, target, fetcher)
