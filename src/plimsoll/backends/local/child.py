"""What runs in a child before its entry point, whichever way the process was started.

`python -m plimsoll.backends.local.child FD` is the exec spawner's child: FD holds its launch as JSON. The fork server
calls `run` itself after the fork. Imports nothing heavy at the top: this is on the way from "wanted" to "ready".
"""

import contextlib
import ctypes
import errno
import gc
import importlib
import io
import json
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plimsoll.ports.spawner import ChildContext, ChildSpec

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                    "VECLIB_MAXIMUM_THREADS")  # fmt: skip
EXIT_FAILED = 3  # the entry point never got to work; a "failed" event said why

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def launch_of(spec: ChildSpec, fd_names: tuple[str, ...]) -> dict[str, Any]:
    """The JSON form of a spec. `fd_names`: the names of the extra descriptors, in the order they are sent."""
    return {
        "entry": spec.entry, "args": dict(spec.args), "name": spec.name, "log_path": spec.log_path,
        "cpus": list(spec.cpus), "threads": spec.threads, "preload": list(spec.preload), "env": dict(spec.env),
        "directory": spec.directory, "fd_names": list(fd_names),
    }  # fmt: skip


def thread_environment(threads: int) -> dict[str, str]:
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def die_with_parent(parent: int) -> None:
    """Linux: SIGKILL when the thread that forked us ends, which reaches even a stopped process. Elsewhere nothing."""
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked: no signal will come any more
        os._exit(1)


def default_signals() -> None:
    """As after exec, but SIGINT ignored: Ctrl-C is for the owner, who drains."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def redirect(log_path: str | None, outputs: tuple[int, ...] = ()) -> None:
    """stdout and stderr to the log file (appended, so that truncating it needs no word to us) or to `outputs`."""
    if log_path is not None:
        try:
            log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # the disk is full: better served without a log than not at all
            log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        outputs = (log, log)
    for target, fd in zip((1, 2), outputs, strict=False):
        os.dup2(fd, target)
    for fd in {fd for fd in outputs if fd > 2}:
        os.close(fd)
    # New objects: the old ones may remember that a file they could seek in was there.
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.BufferedWriter(_Output(fd, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
        )
        for fd in (1, 2)
    )


class _Output(io.FileIO):
    """Drops what a full disk refuses: a model that prints must not fail its requests for it."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return memoryview(data).nbytes


def run(launch: Mapping[str, Any], status_fd: int, lifeline_fd: int, fds: Mapping[str, int]) -> int:
    """Settles the process and runs its entry point. The exit status; whatever goes wrong is told on the status pipe."""
    try:
        _settle(launch)
        # A copy: the entry may close its own, or make it non-blocking by watching it on a loop.
        threading.Thread(target=_end_with_owner, args=(os.dup(lifeline_fd),), name="lifeline", daemon=True).start()
        module, _, function = launch["entry"].partition(":")
        entry = getattr(importlib.import_module(module), function)
        entry(ChildContext(args=launch["args"], status_fd=status_fd, lifeline_fd=lifeline_fd, fds=fds))
        return 0
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
        return 1
    except BaseException as error:
        traceback.print_exc()
        _tell_failure(status_fd, error)
        return EXIT_FAILED


def finish(code: int) -> None:
    """Ends without the interpreter's tear-down: destructors of libraries imported before a fork may hang or crash."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code & 0xFF)


def _settle(launch: Mapping[str, Any]) -> None:
    os.environ.update(thread_environment(launch["threads"]))  # for libraries that are imported from here on
    os.environ.update(launch["env"])
    paths = [path for path in launch["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [path for path in paths if path not in sys.path]  # as a new interpreter would
    if launch["directory"]:
        os.chdir(launch["directory"])
    if launch["cpus"] and hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, launch["cpus"])
        except OSError as error:
            print(f"plimsoll: could not pin to cores {launch['cpus']}: {error}", file=sys.stderr)  # noqa: T201
    if launch["name"] and _libc is not None:
        _libc.prctl(_PR_SET_NAME, launch["name"].encode()[:15], 0, 0, 0)  # the kernel keeps 15 bytes
    if "numpy.random" in sys.modules:  # `random` reseeds itself after a fork; numpy's global generator does not
        sys.modules["numpy.random"].seed()
    if launch["threads"] != 1 and "numpy" in sys.modules:
        # An imported BLAS has read its variables already (the fork server sets them to 1).
        with contextlib.suppress(ImportError):
            importlib.import_module("threadpoolctl").threadpool_limits(launch["threads"])


def _end_with_owner(lifeline_fd: int) -> None:
    """A thread of its own, because the main one may be busy loading a model when the owner dies."""
    watch = select.poll()
    watch.register(lifeline_fd, select.POLLIN)
    while True:
        watch.poll()
        with contextlib.suppress(BlockingIOError):
            if not os.read(lifeline_fd, 1):
                break
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with what the model's author started
    os.kill(os.getpid(), signal.SIGKILL)


def _tell_failure(status_fd: int, error: BaseException) -> None:
    event: dict[str, Any] = {"event": "failed", "reason": f"{type(error).__name__}: {error}"[:500]}
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        event |= {"file": frames[-1].filename, "line": frames[-1].lineno}
    with contextlib.suppress(OSError):
        os.write(status_fd, json.dumps(event).encode() + b"\n")


def _exec_main() -> None:
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        launch = json.loads(file.read())
    status_fd, lifeline_fd, *extra = launch["fd_numbers"]
    for fd in (status_fd, lifeline_fd, *extra):
        os.set_inheritable(fd, False)  # what the model's author starts gets none of them
    die_with_parent(launch["parent"])
    default_signals()
    redirect(launch["log_path"])
    for name in launch["preload"]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    finish(run(launch, status_fd, lifeline_fd, dict(zip(launch["fd_names"], extra, strict=True))))


if __name__ == "__main__":
    _exec_main()
