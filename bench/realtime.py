"""What is measured goes before all else that runs on this machine: for machines that others use meanwhile.

Every thread of a process and of those it starts gets the lowest real-time priority, in turn (sched(7), SCHED_RR), also
those that have chosen another class. Among themselves nothing changes: none of them is interrupted when another wakes.
Needs the right to (root, or CAP_SYS_NICE).
"""

import contextlib
import os
import threading
from collections.abc import Iterator

import psutil

_LOOK_S = 0.1


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
                if os.sched_getscheduler(thread) != os.SCHED_RR:
                    os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1))


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []
