"""Secrets on a laptop: `SECRETS/NAME/KEY` is one value, as Kubernetes mounts a secret into a pod.

SECRETS is the folder of `--secrets`, else `secrets/` beside the file that refers to it. A file is read again when its
inode, size or time of change differs, so a key is rotated by writing a file. Values leave this object by `read` alone:
messages name files, never what is in them.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from plimsoll.core.errors import HostError

FOLDER = "secrets"
LONGEST_BYTES = 64 * 1024


@dataclass(slots=True)
class SecretFiles:
    """`on_warning` gets one line a file that others can read, once."""

    folder: Path | None = None
    on_warning: Callable[[str], None] | None = None
    _known: dict[Path, tuple[tuple[int, ...], str]] = field(default_factory=dict, repr=False)
    _warned: set[Path] = field(default_factory=set, repr=False)

    def path(self, directory: Path, name: str, key: str) -> Path:
        """`directory`: of the file that holds the reference."""
        return (self.folder or directory / FOLDER) / name / key

    def read(self, directory: Path, name: str, key: str) -> str:
        """The value, without white space around it. Raises LookupError, with one line for people, where there is none
        to be had. Costs a stat where nothing changed."""
        path = self.path(directory, name, key)
        try:
            seen = path.stat()
            mark = (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_mode)
            known = self._known.get(path)
            if known is not None and known[0] == mark:
                return known[1]
            value = self._fresh(path, seen)
        except FileNotFoundError:
            advice = "write the value into it, with mode 0600"
            if name.endswith("-keys"):  # what `plimsoll tenant key` calls them
                advice = f"make it with: plimsoll tenant key {name.removesuffix('-keys')} --key-name {key}"
            raise LookupError(f"there is no file {_shown(path)}; {advice}") from None
        except OSError as error:
            raise LookupError(f"{_shown(path)} cannot be read: {error.strerror}") from None
        self._known[path] = (mark, value)
        return value

    def _fresh(self, path: Path, seen: os.stat_result) -> str:
        if not stat.S_ISREG(seen.st_mode):
            raise LookupError(f"{_shown(path)} is no file")
        with path.open("rb") as stream:
            raw = stream.read(LONGEST_BYTES + 1)
        if len(raw) > LONGEST_BYTES:
            raise LookupError(f"{_shown(path)} is over {LONGEST_BYTES >> 10} KiB")
        try:
            value = raw.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise LookupError(f"{_shown(path)} is not UTF-8 text") from None
        if not value:
            raise LookupError(f"{_shown(path)} is empty")
        if seen.st_mode & (stat.S_IRGRP | stat.S_IROTH) and path not in self._warned:
            self._warned.add(path)
            if self.on_warning is not None:
                self.on_warning(f"{_shown(path)}: other users of this machine can read it; chmod 600 it")
        return value

    def write_line(self, directory: Path, name: str, key: str, line: str) -> Path:
        """Adds a line to a secret, which is made with mode 0600 where there is none. Raises HostError."""
        path = self.path(directory, name, key)
        try:
            for folder in (path.parent.parent, path.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            text = (f"{before.rstrip()}\n" if before.strip() else "") + f"{line}\n"
            aside = path.with_name(f".{path.name}.new")  # a reader sees the old lines or all of the new ones
            aside.unlink(missing_ok=True)
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
            aside.replace(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it holds no text"
            raise HostError(f"{_shown(path)}: cannot be written: {reason}") from None
        return path


def _shown(path: Path) -> str:
    """As one would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path)
