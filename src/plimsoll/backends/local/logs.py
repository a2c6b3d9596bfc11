"""The log files of replicas: reading their ends, and keeping them bounded."""

import contextlib
import os
import shutil

_BLOCK = 2**16
_TAIL_MAX = 4 * 2**20  # a tail is looked for in this much of the end of a file


def tail(path: str, lines: int, *, since: int = 0) -> list[str]:
    """The last `lines` lines after byte `since` (the whole file where it has become shorter). Reads from the end,
    so a large file costs no more than a small one. Nothing where there is no file."""
    if lines <= 0:
        return []
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            floor = since if since <= size else 0
            floor = max(floor, size - _TAIL_MAX)
            at, data = size, b""
            while at > floor and data.count(b"\n") <= lines:
                step = min(_BLOCK, at - floor)
                at -= step
                file.seek(at)
                data = file.read(step) + data
    except FileNotFoundError:
        return []
    return data.decode("utf-8", "replace").splitlines()[-lines:]


def size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def rotate(path: str) -> None:
    """Copies the file to `.1` and empties it. Not a rename: the replica goes on writing to the file it has open (in
    append mode, so it begins at the start). A line written between the two steps is lost."""
    shutil.copyfile(path, path + ".1")
    os.truncate(path, 0)


def remove(path: str) -> None:
    for name in (path, path + ".1"):
        with contextlib.suppress(OSError):
            os.unlink(name)


def fair_tail(tails: list[list[str]], lines: int) -> list[list[str]]:
    """As much of the end of each as fits into `lines` altogether: short ones whole, the others alike."""
    left = lines
    shares: dict[int, int] = {}
    for count, index in sorted((len(part), index) for index, part in enumerate(tails)):
        share = min(count, left // (len(tails) - len(shares)))
        shares[index] = share
        left -= share
    return [part[len(part) - shares[index] :] for index, part in enumerate(tails)]
