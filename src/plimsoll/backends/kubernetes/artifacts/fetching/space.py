"""Room on the disk: looked at before a download, and said in figures when it ends after all."""

import errno
import shutil
from pathlib import Path

from plimsoll.core.errors import HostError
from plimsoll.core.units import format_bytes

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class NoRoom(HostError):
    """The disk (or a quota, or a size limit) is full."""


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def check_room(folder: Path, need_bytes: int) -> None:
    free = free_bytes(folder)
    if need_bytes > free:
        raise no_room(folder, need_bytes, free)


def no_room(folder: Path, need_bytes: int, free: int | None = None) -> NoRoom:
    free = free_bytes(folder) if free is None else free
    why = "are free" if free < need_bytes else "are free, but a quota or a limit on files' sizes ends before"
    return NoRoom(
        f"no room for the model: it needs {format_bytes(need_bytes)} more in {folder}, where {format_bytes(free)} "
        f"{why}; give the volume (emptyDir sizeLimit, ephemeral-storage, model cache) more"
    )


def is_full(error: OSError) -> bool:
    return error.errno in _FULL
