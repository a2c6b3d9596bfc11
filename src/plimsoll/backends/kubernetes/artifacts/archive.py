"""Tars: made so that the same files give the same bytes, and taken apart so that a foreign one can do no harm."""

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from plimsoll.core.errors import HostError

_BLOCK = 512
_CHUNK = 1 << 20
_ENTRIES_MAX = 100_000


class UnsafeArchive(HostError):
    """An archive that would write outside its folder, or is no archive of plain files."""


def header(path: str, size: int) -> bytes:
    """Of a plain file, mode 0644, owner 0, time 0; long or non-ASCII names as PAX records."""
    info = tarfile.TarInfo(path)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


class TarStream:
    """The tar of (path, size)s below `root`, readable from any offset without making it: `size` bytes, always the same.
    HostError where a file's size is another by now."""

    def __init__(self, root: Path, files: Iterable[tuple[str, int]]) -> None:
        self._root = root
        self._parts: list[tuple[int, bytes | str]] = []  # (bytes, what): given bytes, or a file's path
        for path, size in files:
            head = header(path, size)
            self._parts += [(len(head), head), (size, path)]
            if size % _BLOCK:
                self._parts.append((_BLOCK - size % _BLOCK, bytes(_BLOCK - size % _BLOCK)))
        self._parts.append((2 * _BLOCK, bytes(2 * _BLOCK)))
        self.size = sum(length for length, _ in self._parts)

    def chunks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes [start, end) in pieces of at most 1 MiB."""
        end = self.size if end is None else min(end, self.size)
        at = 0
        for length, what in self._parts:
            first, last = max(start, at) - at, min(end, at + length) - at
            at += length
            if first >= last:
                continue
            if isinstance(what, bytes):
                yield what[first:last]
            else:
                yield from self._of_file(what, length, first, last)

    def _of_file(self, path: str, size: int, first: int, last: int) -> Iterator[bytes]:
        changed = f"{self._root / path} changed while it was packed; try again when nothing writes there"
        with open(self._root / path, "rb", buffering=0) as stream:
            if os.fstat(stream.fileno()).st_size != size:
                raise HostError(changed)
            stream.seek(first)
            while first < last:
                chunk = stream.read(min(_CHUNK, last - first))
                if not chunk:
                    raise HostError(changed)
                first += len(chunk)
                yield chunk


def tar_bytes(root: Path, paths: Iterable[str]) -> bytes:
    return b"".join(TarStream(root, [(path, os.path.getsize(root / path)) for path in paths]).chunks())


def unpack(archive: Path | io.BufferedIOBase, target: Path, *, max_bytes: int) -> list[str]:
    """Takes plain files and folders out of a tar (also gzip) into `target`; their paths. Raises UnsafeArchive for
    devices, links, paths that lead out, a file that stands there twice, or more than `max_bytes` in all."""
    found: list[str] = []
    total = 0
    try:
        name, stream = (archive, None) if isinstance(archive, Path) else (None, archive)
        with tarfile.open(name, "r|*", fileobj=stream) as tar:
            for number, member in enumerate(tar):
                path = member.name.removeprefix("./").rstrip("/")
                if number >= _ENTRIES_MAX:
                    raise UnsafeArchive(f"the archive holds more than {_ENTRIES_MAX:,} entries")
                if path in {"", "."} or member.isdir():
                    _check(path or "x", member)
                    continue
                _check(path, member)
                total += member.size
                if total > max_bytes:
                    raise UnsafeArchive(f"the archive unpacks to more than {max_bytes:,} bytes")
                _write(tar, member, target / path)
                found.append(path)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnsafeArchive(f"the archive cannot be read: {error}") from error
    return sorted(found)


def _check(path: str, member: tarfile.TarInfo) -> None:
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\0" in path or ".." in parts or "" in parts:
        raise UnsafeArchive(f"the archive holds {path[:200]!r}, which leads out of the model's folder")
    if not (member.isreg() or member.isdir()):
        raise UnsafeArchive(f"the archive holds {path[:200]!r}, which is a link or a device; expected plain files")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None
    try:
        with source, open(target, "xb") as stream:
            while chunk := source.read(_CHUNK):
                stream.write(chunk)
    except FileExistsError:
        raise UnsafeArchive(f"the archive holds {member.name[:200]!r} twice") from None
