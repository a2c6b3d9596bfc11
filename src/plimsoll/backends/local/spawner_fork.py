"""Children forked from warm servers: a replica starts in milliseconds instead of a third of a second.

One fork server (`forkserver`) for each set of preloaded modules, started when first needed, so that a replica which
needs no scikit-learn doesn't carry it. A fork server that dies takes its children along; their exits are reported, and
the next `spawn` starts a new one. It lives in a session of its own: no Ctrl-C, Ctrl-\\, Ctrl-Z or hang-up of the
owner's terminal reaches it or its children, who end by SIGTERM, or with their owner.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from plimsoll.backends.local.child import launch_of, thread_environment
from plimsoll.backends.local.messages import Channel, Message
from plimsoll.backends.local.status_pipe import StatusPipe
from plimsoll.core.errors import HostError
from plimsoll.ports.spawner import ChildSpec

_START_S = 60.0  # for a fork server to import everything: 0.3-2 s here, much more on a cold disk
_TERM_S = 5.0  # close(): from SIGTERM to SIGKILL


class ForkedChild:
    """One child, seen from the loop that asked for it."""

    def __init__(self, link: "_Link", number: int, status: StatusPipe, lifeline: int, on_exit: Callable[[int], None]):
        self.pid = 0
        self.ended = asyncio.Event()
        self._exit: int | None = None
        self._held = True  # `spawn` has not returned yet: its caller hears of no exit before it has the child
        self._link, self._number, self._status, self._lifeline, self._on_exit = link, number, status, lifeline, on_exit

    def signal(self, number: int) -> None:
        # Sent by the fork server, who alone knows that the pid has not been reaped and reused.
        if not self.ended.is_set():
            self._link.send({"op": "signal", "id": self._number, "signal": int(number)})

    def end(self, status: int) -> None:
        self._exit = status
        if self._held or self.ended.is_set():
            return
        self.ended.set()
        self._status.finish()
        os.close(self._lifeline)
        self._on_exit(status)

    def hand_over(self) -> None:
        self._held = False
        if self._exit is not None:
            asyncio.get_running_loop().call_soon(self.end, self._exit)

    def abandon(self) -> None:
        self._on_exit = lambda _: None
        self._held = False
        if self._exit is not None:
            self.end(self._exit)


class _Link:
    """The owner's end of one connection to a fork server."""

    def __init__(self, sock: socket.socket, process: "subprocess.Popen[bytes] | None", server: str) -> None:
        self.children: dict[int, ForkedChild] = {}
        self.lost = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._up: asyncio.Future[int] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._numbers = itertools.count(1)
        self._channel = Channel(sock)
        self._process = process
        self._server = server
        self._loop.add_reader(self._channel.fileno(), self._read)

    async def up(self) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self._up), _START_S)
        except TimeoutError:
            raise HostError(f"{self._server} did not come up within {_START_S:g} s") from None

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        if self.lost.is_set():
            return
        try:
            if not self._channel.send(message, fds):
                self._loop.add_writer(self._channel.fileno(), self._write)
        except EOFError:
            self._lose()

    async def spawn(
        self,
        launch: dict[str, Any],
        fds: Sequence[int],
        on_status: Callable[[dict[str, Any]], None],
        on_exit: Callable[[int], None],
    ) -> ForkedChild:
        """Takes over `fds`: they are closed when the server has answered."""
        number = next(self._numbers)
        status_read, status_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe()
        sent = (status_write, lifeline_read, *fds)
        child = ForkedChild(self, number, StatusPipe(status_read, on_status), lifeline_write, on_exit)
        self.children[number] = child
        answer = self._answers[number] = self._loop.create_future()
        answer.add_done_callback(lambda _: _close(sent))
        self.send({"op": "spawn", "id": number, "launch": launch}, sent)
        if self.lost.is_set() and not answer.done():
            answer.set_exception(HostError(f"{self._server} is gone"))
        try:
            child.pid = await asyncio.shield(answer)
        except asyncio.CancelledError:
            # Nobody will hold it: end it as soon as it is there. (The server obeys in order.)
            self.send({"op": "signal", "id": number, "signal": int(signal.SIGKILL)})
            child.abandon()
            raise
        except HostError:
            self.children.pop(number, None)
            child.abandon()
            child.end(0)
            raise
        child.hand_over()
        return child

    def _read(self) -> None:
        try:
            for message, _ in self._channel.receive():
                self._hear(message)
        except EOFError:
            self._lose()

    def _write(self) -> None:
        try:
            if self._channel.flush():
                self._loop.remove_writer(self._channel.fileno())
        except EOFError:
            self._lose()

    def _hear(self, message: Message) -> None:
        match message["op"]:
            case "up":
                if not self._up.done():
                    self._up.set_result(message["pid"])
            case "spawned":
                child = self.children.get(message["id"])
                if child is not None:
                    child.pid = message["pid"]
                self._answer(message["id"]).set_result(message["pid"])
            case "refused":
                reason = f"this machine starts no more processes: {message['reason']}"
                self._answer(message["id"]).set_exception(HostError(reason))
            case "exit":
                child = self.children.pop(message["id"], None)
                if child is not None:
                    child.end(message["status"])

    def _answer(self, number: int) -> "asyncio.Future[int]":
        return self._answers.pop(number, None) or self._loop.create_future()

    def _lose(self) -> None:
        """The server is gone, and by the kernel's or the lifeline's doing its children too."""
        if self.lost.is_set():
            return
        self.lost.set()
        self._loop.remove_reader(self._channel.fileno())
        self._loop.remove_writer(self._channel.fileno())
        self._channel.close()
        error = HostError(f"{self._server} ended")
        for waiting in (self._up, *self._answers.values()):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # seen: nobody may be waiting any more
        self._answers.clear()
        for child in list(self.children.values()):
            if child.pid:
                # It died this instant, so its number is not another's yet. Reaches stopped ones on every system.
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.end(-int(signal.SIGKILL))
        self.children.clear()

    async def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            running = list(self.children.values())
            for child in running:
                child.signal(number)
            if running:
                waits = [asyncio.ensure_future(child.ended.wait()) for child in running]
                _, late = await asyncio.wait(waits, timeout=_TERM_S)
                for wait in late:
                    wait.cancel()
        if not self.lost.is_set():
            self._channel.sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.lost.wait(), _TERM_S)
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, _TERM_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._lose()


class ForkSpawner:
    """`ports.spawner.Spawner`. `modules`: dotted names that every child is likely to need; missing ones are logged.

    `run_dir` must be short enough for a Unix socket's path (103 bytes with `/fork-9.sock` on macOS).
    """

    def __init__(self, run_dir: str | Path, *, modules: Sequence[str] = ()) -> None:
        self._run_dir = Path(run_dir)
        self._modules = tuple(modules)
        self._paths: dict[tuple[str, ...], str] = {}
        self._links: dict[tuple[str, ...], asyncio.Task[_Link]] = {}
        self._closed = False
        self._only: _Link | None = None  # over a connection: everything goes there

    @classmethod
    async def connect(cls, path: str) -> "ForkSpawner":
        """For a child that wants siblings: `path` as `server_path` gave it to its owner. They end with this process,
        or with `close`, and belong to this process's group. Raises HostError."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise HostError(f"no fork server answers at {path}: {error}") from None
        spawner = cls(os.path.dirname(path))
        spawner._only = _Link(sock, None, f"the fork server at {path}")
        await spawner._only.up()
        return spawner

    def server_path(self, preload: Sequence[str] = ()) -> str:
        """Where the fork server for these modules listens, or will once it is started: for `connect`."""
        key = tuple(sorted(set(preload)))
        return self._paths.setdefault(key, str(self._run_dir / f"fork-{len(self._paths)}.sock"))

    async def warm(self, preload: Sequence[str] = ()) -> None:
        """Starts the server for these modules now, so that the first child need not wait for it."""
        await self._link(preload)

    async def spawn(
        self,
        spec: ChildSpec,
        *,
        on_status: Callable[[dict[str, Any]], None],
        on_exit: Callable[[int], None],
        fds: Mapping[str, int] | None = None,
    ) -> ForkedChild:
        link = await self._link(spec.preload)
        extra = dict(fds or {})
        if spec.log_path is None:
            extra |= {"stdout": 1, "stderr": 2}  # ours: the server's own go to its log
        return await link.spawn(
            launch_of(spec, tuple(extra)), [os.dup(fd) for fd in extra.values()], on_status, on_exit
        )

    async def close(self) -> None:
        self._closed = True
        tasks = list(self._links.values())
        self._links.clear()
        links = [self._only] if self._only is not None else []
        for task in tasks:
            with contextlib.suppress(HostError):
                links.append(await task)
        await asyncio.gather(*(link.close() for link in links))

    async def _link(self, preload: Sequence[str]) -> _Link:
        if self._closed:
            raise HostError("no process is started any more: this is the end")
        if self._only is not None:
            return self._only
        key = tuple(sorted(set(preload)))
        task = self._links.get(key)
        old: _Link | None = None
        if task is not None and task.done():
            if task.exception() is not None:
                task = None
            elif task.result().lost.is_set():
                old, task = task.result(), None
        if task is None:
            task = self._links[key] = asyncio.ensure_future(self._start(key, old))
        return await asyncio.shield(task)

    async def _start(self, key: tuple[str, ...], old: _Link | None) -> _Link:
        if old is not None:
            await old.close()  # reaps it
        path = self.server_path(key)
        logs = self._run_dir / "logs"
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_path = logs / Path(path).with_suffix(".log").name
        sock, process = _start_server(str(log_path))
        link = _Link(sock, process, f"the fork server (its log is {log_path})")
        link.send({"op": "init", "modules": self._modules, "preload": key, "socket": path})
        try:
            await link.up()
        except HostError:
            process.kill()
            await asyncio.to_thread(process.wait)
            raise
        return link


def _start_server(log_path: str) -> "tuple[socket.socket, subprocess.Popen[bytes]]":
    ours, theirs = socket.socketpair()
    try:
        with open(log_path, "ab") as log:
            process = subprocess.Popen(
                # -P: a file called numpy.py in the folder we happen to be in is not the one to import.
                [sys.executable, "-P", "-m", "plimsoll.backends.local.forkserver", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, **thread_environment(1)},
            )
    except OSError as error:
        ours.close()
        raise HostError(f"the fork server does not start: {error}") from None
    finally:
        theirs.close()
    return ours, process


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
