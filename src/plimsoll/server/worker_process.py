"""The replica's end of a worker process: starts it, speaks frames with it, notices its death, starts another."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from plimsoll.core.errors import HostError, Invalid, ModelLoadError, ReplicaLost, RequestError
from plimsoll.core.request import Inputs, Outputs
from plimsoll.core.tensors import ModelInfo
from plimsoll.models.source import ModelSource, preload_modules
from plimsoll.ports.spawner import Child, ChildSpec, Spawner
from plimsoll.server import framing
from plimsoll.server.runner import OnDone

ENTRY = "plimsoll.app.worker:main"
_SIGKILL = 9
_log = logging.getLogger(__name__)
_LAST_WORD_S = 0.05  # between a worker's exit status and the end of its socket, whichever comes first


class WorkerProcess(asyncio.Protocol):
    """One worker. `on_message` gets each frame, `on_lost` is called once when it has ended unasked."""

    def __init__(self, on_message: Callable[[list[Any]], None], on_lost: Callable[[str], None]) -> None:
        self._reader = framing.FrameReader(on_message)
        self._on_lost = on_lost
        self._transport: asyncio.WriteTransport | None = None
        self._child: Child | None = None
        self._status: int | None = None
        self._hung_up = False
        self._told = False
        self._feeding = False  # more is due in the loop's next turn

    async def start(self, spawner: Spawner, spec: ChildSpec) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._child = await spawner.spawn(
                spec, on_status=lambda status: None, on_exit=self._exited, fds={"socket": theirs.fileno()}
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        await asyncio.get_running_loop().create_connection(lambda: self, sock=ours)

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    @property
    def lost(self) -> bool:
        return self._told

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is registered nowhere as one

    def data_received(self, data: bytes) -> None:
        if self._reader.feed(data) and not self._feeding:
            self._feeding = True
            asyncio.get_running_loop().call_soon(self._feed_more)

    def _feed_more(self) -> None:
        self._feeding = False
        if not self._told:
            self.data_received(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._hung_up = True
        while not self._told and self._reader.feed(b""):
            pass
        self._ending()

    def send(self, *pieces: framing.Frame) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(pieces)

    def kill(self) -> None:
        """Silently: `on_lost` is not called."""
        self._told = True
        if self._child is not None:
            self._child.signal(_SIGKILL)
        if self._transport is not None:
            self._transport.close()

    def _exited(self, status: int) -> None:
        self._status = status
        self._ending()

    def _ending(self) -> None:
        """The exit status tells why, and its last message ("failed") may still be in the socket: wait for both."""
        if self._told:
            return
        if self._hung_up and self._status is not None:
            self._lost()
        else:
            asyncio.get_running_loop().call_later(_LAST_WORD_S, self._lost)

    def _lost(self) -> None:
        if self._told:
            return
        self._told = True
        if self._transport is not None:
            self._transport.close()
        how = "ended" if self._status is None else _describe_exit(self._status)
        self._on_lost(f"the model's process {how}")


def _describe_exit(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"


class ProcessRunner:
    """The model in a worker process, for models that hold the interpreter lock, crash or hang.

    While a new worker loads, `free` is False and the queue keeps what waits: nothing is handed out that might expire.
    """

    def __init__(
        self,
        source: ModelSource,
        spawner: Spawner,
        *,
        max_batch: int,
        bulk_items: int,
        load_timeout_s: float,
        name: str,
        cpus: tuple[int, ...] = (),
        on_restart_failed: Callable[[str], None],
    ) -> None:
        self._spawner = spawner
        self._load_timeout_s = load_timeout_s
        self._spec = ChildSpec(
            entry=ENTRY,
            args={
                "role": "model",
                "source": msgspec.to_builtins(source),
                "max_batch": max_batch,
                "bulk_items": bulk_items,
            },
            name=f"{name}-model",
            cpus=cpus,
            threads=source.threads,
            preload=preload_modules(source),
        )
        self._worker: WorkerProcess | None = None
        self._loaded: asyncio.Future[ModelInfo] | None = None
        self._busy = False
        self._misfits: dict[int, RequestError] = {}  # of the batch in hand: inputs that could not travel
        self._restart: asyncio.Task[None] | None = None
        self._on_restart_failed = on_restart_failed
        self.free = False
        self.takes_ahead = False  # a batch that dies with its process must be the only one there
        self.warm_up_times: list[tuple[int, float]] = []
        self.restarts = 0
        self.on_done: OnDone = lambda results, seconds: None
        self.on_free: Callable[[], None] = lambda: None

    @property
    def pid(self) -> int:
        return self._worker.pid if self._worker is not None else 0

    async def start(self) -> ModelInfo:
        self._loaded = asyncio.get_running_loop().create_future()
        self._worker = WorkerProcess(self._message, self._lost)
        await self._worker.start(self._spawner, self._spec)
        info = await self._loaded
        self.free = True
        return info

    def run(self, batch: Sequence[Inputs]) -> None:
        assert self._worker is not None
        packed = [framing.pack(inputs) for inputs in batch]
        try:
            frame = framing.encode(["run", packed])
        except RequestError:
            fits = self._fitting(packed)
            if not fits:
                # A batch without an ending would stop the queue.
                asyncio.get_running_loop().call_soon(self.on_done, self._misfits.popitem()[1], 0.0)
                self._misfits.clear()
                return
            frame = framing.encode(["run", fits])
        self._busy = True
        self._worker.send(frame)

    def _fitting(self, batch: list[list[Any]]) -> list[list[Any]]:
        """Those that can travel; a body nested hundreds of lists deep can't."""
        fits = []
        for index, packed in enumerate(batch):
            try:
                framing.encode(packed)
            except RequestError as error:
                self._misfits[index] = Invalid(f"the inputs can't be handed to the model's process: {error}")
            else:
                fits.append(packed)
        return fits

    def overdue(self) -> bool:
        self._replace()
        return True

    async def close(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
        if self._worker is not None:
            self._worker.kill()

    def _message(self, message: list[Any]) -> None:
        match message[0]:
            case "done":
                self._busy = False
                misfits, self._misfits = self._misfits, {}
                if message[1] is not None:
                    error = framing.unpack(message[1])
                    assert isinstance(error, RequestError)
                    self.on_done(error, message[3])
                else:
                    results: list[Outputs | Exception] = [framing.unpack(result) for result in message[2]]
                    for index, misfit in sorted(misfits.items()):
                        results.insert(index, misfit)
                    self.on_done(results, message[3])
            case "loaded":
                self.warm_up_times = [(size, seconds) for size, seconds in message[2]]
                if self._loaded is not None and not self._loaded.done():
                    self._loaded.set_result(msgspec.convert(message[1], ModelInfo))
            case "failed":
                assert self._worker is not None
                self._worker.kill()  # it is ending: that it does is no further news
                reason, file, line, detail = message[1:]
                self._load_failed(ModelLoadError(reason, file=file, line=line, detail=detail))

    def _load_failed(self, error: ModelLoadError) -> None:
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(error)

    def _lost(self, reason: str) -> None:
        if self._loaded is not None and not self._loaded.done():
            self._load_failed(ModelLoadError(f"{reason} while it loaded"))
            return
        was_busy = self._busy
        _log.warning("%s; it is replaced", reason, extra={"worker_pid": self.pid, "computing": was_busy})
        self._replace()
        if was_busy:
            # Not ModelFailed: the gateway tries it again, alone, elsewhere; it may have been a batch mate's doing.
            self.on_done(ReplicaLost(f"{reason} while it computed", retry_after_s=1), 0.0)

    def _replace(self) -> None:
        self._busy = self.free = False
        self._misfits.clear()
        if self._worker is not None:
            self._worker.kill()
        if self._restart is None:
            self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        try:
            await asyncio.wait_for(self.start(), self._load_timeout_s)
        except (ModelLoadError, HostError, TimeoutError) as error:
            if self._worker is not None:
                self._worker.kill()
            reason = str(error) or f"load() did not finish within {self._load_timeout_s:g} s"
            self._on_restart_failed(f"the model's process could not be replaced: {reason}")
            return
        finally:
            self._restart = None
        self.restarts += 1
        _log.info("the model's process is replaced", extra={"worker_pid": self.pid, "restarts": self.restarts})
        self.on_free()
