"""Children by plain exec: a new interpreter each, a third of a second slower than a fork, safe on every system.

For macOS, where a fork without exec breaks system libraries, and for `--start-method spawn`. No affinity where the
system has none. As with forked children no signal of the owner's terminal reaches them.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plimsoll.backends.local.child import launch_of, thread_environment
from plimsoll.backends.local.status_pipe import StatusPipe
from plimsoll.core.errors import HostError
from plimsoll.ports.spawner import ChildSpec

_TERM_S = 5.0  # close(): from SIGTERM to SIGKILL


class ExecChild:
    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        status: StatusPipe,
        lifeline: int,
        on_exit: Callable[[int], None],
        *,
        leader: bool,
    ) -> None:
        self.ended = asyncio.Event()
        self._process, self._status, self._lifeline, self._on_exit = process, status, lifeline, on_exit
        self._leader = leader
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        with contextlib.suppress(AttributeError, OSError):  # Linux
            self._pidfd = os.pidfd_open(process.pid)
            self._loop.add_reader(self._pidfd, self._end)
        if self._pidfd < 0:
            threading.Thread(target=self._wait, name=f"wait-{process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        if not self.ended.is_set():
            self._process.send_signal(number)  # looks first whether it has been reaped

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._leader and self._process.returncode is None:
            # What the model's author left behind. Not reaped yet, so the group's number is still its own.
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        self.ended.set()
        self._status.finish()
        os.close(self._lifeline)
        self._on_exit(status)


class ExecSpawner:
    """`ports.spawner.Spawner`. `own_group=False` is for a replica's workers: they stay in the replica's process group,
    so that killing or measuring the replica takes them along."""

    def __init__(self, *, own_group: bool = True) -> None:
        self._own_group = own_group
        self._children: set[ExecChild] = set()

    def server_path(self, preload: Sequence[str] = ()) -> str:
        """No fork server: a child that wants workers starts them by exec as well."""
        return ""

    async def spawn(
        self,
        spec: ChildSpec,
        *,
        on_status: Callable[[dict[str, Any]], None],
        on_exit: Callable[[int], None],
        fds: Mapping[str, int] | None = None,
    ) -> ExecChild:
        extra = dict(fds or {})
        status_read, status_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe()
        passed = (status_write, lifeline_read, *extra.values())
        launch = launch_of(spec, tuple(extra)) | {"fd_numbers": passed, "parent": os.getpid()}
        try:
            process = self._start(launch, passed)
        except OSError as error:
            os.close(status_read)
            os.close(lifeline_write)
            raise HostError(f"this machine starts no more processes: {error}") from None
        finally:
            os.close(status_write)
            os.close(lifeline_read)

        def ended(status: int) -> None:
            self._children.discard(child)
            on_exit(status)

        child = ExecChild(process, StatusPipe(status_read, on_status), lifeline_write, ended, leader=self._own_group)
        self._children.add(child)
        return child

    async def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            running = list(self._children)
            for child in running:
                child.signal(number)
            if running:
                waits = [asyncio.ensure_future(child.ended.wait()) for child in running]
                _, late = await asyncio.wait(waits, timeout=_TERM_S)
                for wait in late:
                    wait.cancel()

    def _start(self, launch: Mapping[str, Any], passed: Sequence[int]) -> "subprocess.Popen[bytes]":
        # A file without a name: args may be larger than a pipe's buffer or a command line.
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(launch).encode())
            file.flush()
            file.seek(0)  # the child shares our position
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "plimsoll.backends.local.child", str(file.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(file.fileno(), *passed),
                start_new_session=self._own_group,
                env={**os.environ, **thread_environment(launch["threads"]), **launch["env"]},
            )
