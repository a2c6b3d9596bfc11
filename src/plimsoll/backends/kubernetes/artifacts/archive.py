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


def tar_size(files: Iterable[tuple[str, int]]) -> int:
    """Bytes of the tar of (path, size)s."""
    return sum(len(header(path, size)) + -(-size // _BLOCK) * _BLOCK for path, size in files) + 2 * _BLOCK


def tar_chunks(root: Path, files: Iterable[tuple[str, int]]) -> Iterator[bytes]:
    """The tar of (path, size)s in pieces of at most 1 MiB. HostError where a file's size is another by now."""
    for path, size in files:
        yield header(path, size)
        left = size
        with open(root / path, "rb") as stream:
            while left and (chunk := stream.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
            if left or stream.read(1):
                raise HostError(f"{root / path} changed while it was packed; try again when nothing writes there")
        if size % _BLOCK:
            yield bytes(_BLOCK - size % _BLOCK)
    yield bytes(2 * _BLOCK)


def tar_bytes(root: Path, paths: Iterable[str]) -> bytes:
    return b"".join(tar_chunks(root, [(path, os.path.getsize(root / path)) for path in paths]))


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
