"""How much memory caches may take: half of what this process may use, however much service files ask for.

The other half is for everything else; a cache that the kernel kills the gateway for saves nobody anything.
"""

from contextlib import suppress
from pathlib import Path

import psutil

SHARE = 0.5
_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def memory_limit(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Bytes: the least of the machine's memory and the limits of this process's control groups (v2 or v1)."""
    limits = [psutil.virtual_memory().total]
    for place, name in _places(cgroups, own):
        # The limit of an outer group holds for its inner ones.
        for folder in (place, *(outer for outer in place.parents if outer.is_relative_to(cgroups))):
            with suppress(OSError, ValueError):  # not there, or `max`
                limits.append(int((folder / name).read_text(encoding="ascii")))
    return min(limits)


def _places(cgroups: Path, own: Path) -> list[tuple[Path, str]]:
    """Folders and file names to look at. Inside a container the group's own path may not be there: then the root is."""
    places = [(cgroups, "memory.max"), (cgroups / "memory", "memory.limit_in_bytes")]
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return places
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        path = path.strip("/")
        if not controllers:
            places.append((cgroups / path, "memory.max"))
        elif "memory" in controllers.split(","):
            places.append((cgroups / "memory" / path, "memory.limit_in_bytes"))
    return places


def shares(wanted: list[int], room: int) -> list[int]:
    """What each gets: what it wants where that fits, else the same part of it for all."""
    total = sum(wanted)
    return list(wanted) if total <= room else [want * room // total for want in wanted]
