"""What is measured goes before all else that runs on this machine: for machines that others use meanwhile.

Every thread of a process and of those it starts gets a real-time priority, in turn (sched(7), SCHED_RR). One that has
chosen to give way to the others (SCHED_BATCH: a replica's model, to its event loop) gets a lower one than they, so that
among themselves little changes. Needs the right to (root, or CAP_SYS_NICE).
"""

import contextlib
import os
import threading
from collections.abc import Iterator

import psutil

_LOOK_S = 0.1
_FIRST, _GIVING_WAY = 2, 1


@contextlib.contextmanager
def before_others(pid: int, wanted: bool) -> Iterator[None]:
    """Of `pid`, and of what comes to be below it meanwhile, within 0.1 s."""
    if not wanted:
        yield
        return
    raise_all(pid)
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_LOOK_S):
            with contextlib.suppress(psutil.NoSuchProcess):
                raise_all(pid)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def raise_all(pid: int) -> None:
    """Raises PermissionError where that is not allowed."""
    process = psutil.Process(pid)
    for one in [process, *process.children(recursive=True)]:
        for thread in _threads(one.pid):
            with contextlib.suppress(ProcessLookupError):
                found = os.sched_getscheduler(thread)
                if found != os.SCHED_RR:
                    priority = _GIVING_WAY if found == os.SCHED_BATCH else _FIRST
                    os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(priority))


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []
