"""The warm fork server: a process that has imported what every replica needs, and forks replicas from there.

`python -m plimsoll.backends.local.forkserver FD`, FD being a Unix socket to its owner (`messages` has the protocol).
It has one thread, no event loop, no session of an inference engine and no gRPC, because none of these survives a fork.
It forks from its main thread only: PR_SET_PDEATHSIG fires when the forking *thread* ends. What it imports is frozen out
of the garbage collector, or the first collection in each child would copy every page it shares.

A replica may ask it for siblings (its model workers) over the listening socket. Those join the process group of the
replica that asked, so that killing or measuring a replica takes its workers along, and they end with the connection.
When the owner's end of the first connection closes, the server kills every child with its group and ends.
"""

import contextlib
import gc
import importlib
import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import warnings
from dataclasses import dataclass
from typing import Any, NoReturn

from plimsoll.backends.local import child as child_process
from plimsoll.backends.local.messages import Channel, Message

_ALWAYS = ("numpy", "msgspec", "httptools", "uvloop")
_log = logging.getLogger("plimsoll.forkserver")


@dataclass(slots=True, eq=False)
class _Child:
    id: int
    pid: int
    leader: bool  # of its own process group
    asked_by: Channel


class ForkServer:
    def __init__(self, owner: Channel) -> None:
        self._owner = owner
        self._channels: dict[int, Channel] = {owner.fileno(): owner}
        self._writing: set[int] = set()
        self._children: dict[int, _Child] = {}  # by pid
        self._listener: socket.socket | None = None
        self._socket_path = ""
        self._kept: frozenset[int] = frozenset()  # descriptors that imported libraries opened: a child keeps them
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)

    def serve(self) -> None:
        """Runs until the owner is gone."""
        # Interpreter-level no-op handlers: the wake-up descriptor makes poll() return.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            while True:
                self._turn()
        except EOFError:
            _log.info("the owner is gone")
        finally:
            self._end()

    def _turn(self) -> None:
        watch = select.poll()  # made anew: a handful of descriptors, and nothing that a child would have to close
        watch.register(self._wake_read, select.POLLIN)
        if self._listener is not None:
            watch.register(self._listener, select.POLLIN)
        for fd in self._channels:
            watch.register(fd, select.POLLIN | (select.POLLOUT if fd in self._writing else 0))
        for fd, happened in watch.poll():
            if fd == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 512)
                self._reap()
            elif self._listener is not None and fd == self._listener.fileno():
                with contextlib.suppress(OSError):
                    channel = Channel(self._listener.accept()[0])
                    self._channels[channel.fileno()] = channel
                    self._tell(channel, {"op": "up", "pid": os.getpid()})
            elif fd in self._channels:
                self._serve_channel(self._channels[fd], happened)

    def _serve_channel(self, channel: Channel, happened: int) -> None:
        try:
            if happened & select.POLLOUT and channel.flush():
                self._writing.discard(channel.fileno())
            if happened & ~select.POLLOUT:
                for message, fds in channel.receive():
                    self._obey(channel, message, fds)
        except (EOFError, LookupError, TypeError, ValueError) as error:
            if channel is self._owner:
                raise
            if not isinstance(error, EOFError):
                _log.warning("a connection is dropped: %r", error)
            self._drop(channel)

    def _obey(self, channel: Channel, message: Message, fds: list[int]) -> None:
        match message["op"]:
            case "init" if channel is self._owner:
                self._initialise(message)
            case "spawn":
                try:
                    pid = self._fork(channel, message, fds)
                    self._tell(channel, {"op": "spawned", "id": message["id"], "pid": pid})
                except OSError as error:
                    self._tell(channel, {"op": "refused", "id": message["id"], "reason": str(error)})
                finally:
                    for fd in fds:
                        os.close(fd)
            case "signal":
                for child in self._children.values():
                    if child.id == message["id"] and child.asked_by is channel:
                        os.kill(child.pid, message["signal"])  # not reaped yet, so the pid is still its own

    def _initialise(self, message: Message) -> None:
        before = _open_fds()
        gc.disable()
        for name in (*_ALWAYS, *message["modules"], *message["preload"]):
            try:
                importlib.import_module(name)
            except Exception as error:  # a library may fail in any way; whoever needs it will say so better
                _log.warning("not imported: %s: %s", name, error)
        gc.collect()
        gc.freeze()
        self._kept = frozenset(_open_fds() - before)
        if threading.active_count() > 1:
            _log.warning("an imported module started threads: %s", threading.enumerate())
        self._socket_path = message["socket"]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._socket_path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        old_mask = os.umask(0o177)  # 0600 from the first moment
        listener.bind(self._socket_path)
        os.umask(old_mask)
        listener.listen(64)
        self._listener = listener
        self._tell(self._owner, {"op": "up", "pid": os.getpid()})

    def _fork(self, channel: Channel, message: Message, fds: list[int]) -> int:
        group = 0 if channel is self._owner else self._group_of(channel)
        sys.stdout.flush()
        sys.stderr.flush()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_child(message["launch"], fds, group, server)
        with contextlib.suppress(OSError):  # here and in the child: whoever comes first
            os.setpgid(pid, group or pid)
        self._children[pid] = _Child(message["id"], pid, group == 0, channel)
        return pid

    def _become_child(self, launch: dict[str, Any], fds: list[int], group: int, server: int) -> NoReturn:
        code = 1
        try:
            child_process.die_with_parent(server)
            child_process.default_signals()
            os.setpgid(0, group)
            self._let_go(set(fds))
            status_fd, lifeline_fd, *extra = fds
            named = dict(zip(launch["fd_names"], extra, strict=True))
            outputs = tuple(named.pop(name) for name in ("stdout", "stderr") if launch["log_path"] is None)
            child_process.redirect(launch["log_path"], outputs)
            gc.enable()
            logging.getLogger().handlers.clear()  # the child sets up its own
            code = child_process.run(launch, status_fd, lifeline_fd, named)
        except BaseException:
            _log.exception("a child could not be settled")
        finally:
            child_process.finish(code)
        raise AssertionError("finish() does not return")

    def _let_go(self, own: set[int]) -> None:
        """Closes the server's descriptors in a child. Sockets are detached first: their objects live on in the frames
        below us, and must not close a number that by then is somebody else's."""
        for channel in self._channels.values():
            channel.sock.detach()
        if self._listener is not None:
            self._listener.detach()
        for fd in _open_fds() - own - self._kept - {0, 1, 2}:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _group_of(self, channel: Channel) -> int:
        """The process group of the child at the other end; 0 (a group of its own) where that is not to be known."""
        peer = _peer_pid(channel.sock)
        if peer not in self._children:
            return 0
        with contextlib.suppress(OSError):
            return os.getpgid(peer)
        return 0

    def _reap(self) -> None:
        for child in list(self._children.values()):
            try:
                if hasattr(os, "waitid"):  # macOS has it from Python 3.13
                    if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                        continue
                    self._kill_group(child)  # before it is reaped: until then the group's number can't be another's
                ended, status = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = child.pid, 0
            if ended == 0:
                continue
            del self._children[child.pid]
            self._tell(child.asked_by, {"op": "exit", "id": child.id, "status": os.waitstatus_to_exitcode(status)})

    def _kill_group(self, child: _Child) -> None:
        with contextlib.suppress(OSError):
            if child.leader:
                os.killpg(child.pid, signal.SIGKILL)
            else:
                os.kill(child.pid, signal.SIGKILL)

    def _tell(self, channel: Channel, message: Message) -> None:
        if channel.fileno() not in self._channels:
            return
        try:
            if not channel.send(message):
                self._writing.add(channel.fileno())
        except EOFError:
            if channel is self._owner:
                raise
            self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        """Its owner is gone, and with it the reason for its children."""
        self._writing.discard(channel.fileno())
        self._channels.pop(channel.fileno(), None)
        channel.close()
        for child in self._children.values():
            if child.asked_by is channel:
                self._kill_group(child)

    def _end(self) -> None:
        for child in self._children.values():
            self._kill_group(child)
        if self._socket_path:
            with contextlib.suppress(OSError):
                os.unlink(self._socket_path)


def _open_fds() -> set[int]:
    return {int(name) for name in os.listdir("/dev/fd")}


def _peer_pid(sock: socket.socket) -> int:
    if hasattr(socket, "SO_PEERCRED"):  # Linux: struct ucred
        pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)
    with contextlib.suppress(OSError):  # macOS, sys/un.h: SOL_LOCAL 0, LOCAL_PEERPID 2
        return sock.getsockopt(0, 2)
    return 0


def _main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    os.environ.update(child_process.thread_environment(1))  # before numpy: one thread, or the fork would lose some
    # Python 3.12 warns of a fork beside threads; onnxruntime leaves one that no child uses.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    ForkServer(Channel(socket.socket(fileno=fd))).serve()


if __name__ == "__main__":
    _main()
