"""Messages between a fork server and those who ask it for children: JSON with descriptors beside it.

One message is 4 bytes of length (big-endian), then that much JSON. Descriptors ride along by SCM_RIGHTS on the first
byte, so that they are here before the message is complete; the key `fds` says how many belong to it.
A stream socket, not SOCK_SEQPACKET, because macOS has none for Unix sockets.

Every message has `op`. Owner to server: `init` (modules, preload, socket), `spawn` (id, launch), `signal` (id, signal).
Server to owner: `up` (pid), `spawned` (id, pid), `refused` (id, reason), `exit` (id, status).
"""

import array
import json
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

_MAX_FDS = 16
_MAX_MESSAGE = 16 * 2**20
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # absent on macOS


class Channel:
    """One end of a non-blocking connection. Never blocks; a peer that is gone or talks nonsense shows as EOFError."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._read = bytearray()
        self._fds: deque[int] = deque()
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> bool:
        """True once all is handed to the kernel; else call `flush` when writable, with `fds` still open."""
        body = json.dumps({**message, "fds": len(fds)}).encode()
        self._unsent.append((memoryview(len(body).to_bytes(4, "big") + body), tuple(fds)))
        return self.flush()

    def flush(self) -> bool:
        while self._unsent:
            data, fds = self._unsent[0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self.sock.sendmsg([data], ancillary)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                raise EOFError(str(error)) from None
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], ())
        return True

    def receive(self) -> list[tuple[Message, list[int]]]:
        """The messages completed by one read, oldest first. Raises EOFError when the peer is gone."""
        try:
            data, ancillary, _, _ = self.sock.recvmsg(2**16, socket.CMSG_LEN(4 * _MAX_FDS), _CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise EOFError(str(error)) from None
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                for fd in fds:
                    os.set_inheritable(fd, False)
                self._fds.extend(fds)
        if not data:
            raise EOFError("the other end closed")
        self._read += data
        return self._complete()

    def _complete(self) -> list[tuple[Message, list[int]]]:
        messages: list[tuple[Message, list[int]]] = []
        while len(self._read) >= 4:
            size = int.from_bytes(self._read[:4], "big")
            if size > _MAX_MESSAGE:
                raise EOFError(f"a message of {size} bytes")
            if len(self._read) < 4 + size:
                break
            try:
                message: Message = json.loads(self._read[4 : 4 + size])
                messages.append((message, [self._fds.popleft() for _ in range(message["fds"])]))
            except (ValueError, TypeError, LookupError) as error:
                raise EOFError(f"no message of ours: {error}") from None
            del self._read[: 4 + size]
        return messages

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popleft())
        self.sock.close()
