"""Looking at processes that run already: a replica's whole group (it and its workers), memory, cores."""

import contextlib
import os
from collections.abc import Iterable, Sequence

import psutil


def group_members(leaders: Iterable[int]) -> dict[int, list[int]]:
    """The processes of each group, by the pid of its leader. One look at the process list, about 1 ms for 500."""
    found: dict[int, list[int]] = {leader: [] for leader in leaders}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            members = found.get(os.getpgid(pid))
            if members is not None:
                members.append(pid)
    return found


def resident_bytes(pids: Iterable[int]) -> int:
    """The sum of their resident sets. Pages shared with the fork server (about 35 MB) count in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss
    return total


def cpu_seconds(pids: Iterable[int]) -> float:
    """What they have computed since they began, user and system. Less than before: one of them has ended."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def free_memory() -> int:
    """Bytes that new processes could take without anybody swapping."""
    return int(psutil.virtual_memory().available)


def available_cores() -> tuple[int, ...]:
    """Those that this process may run on; none where the system has no affinity."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def pin(pids: Iterable[int], cores: Sequence[int]) -> None:
    """Moves running processes, each with all its threads (the system call takes one thread at a time)."""
    if not hasattr(os, "sched_setaffinity") or not cores:
        return
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(int(thread), cores)
