"""The replica's end of a worker process: starts it, speaks frames with it, notices its death, starts another."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from plimsoll.core.errors import HostError, ModelLoadError, ReplicaLost, RequestError
from plimsoll.core.request import Inputs
from plimsoll.core.tensors import ModelInfo
from plimsoll.models.source import ModelSource, preload_modules
from plimsoll.ports.spawner import Child, ChildSpec, Spawner
from plimsoll.server import framing
from plimsoll.server.runner import OnDone

ENTRY = "plimsoll.app.worker:main"
_SIGKILL = 9


class WorkerProcess(asyncio.Protocol):
    """One worker. `on_message` gets each frame, `on_lost` is called once when it has ended unasked."""

    def __init__(self, on_message: Callable[[list[Any]], None], on_lost: Callable[[str], None]) -> None:
        self._reader = framing.FrameReader(on_message)
        self._on_lost = on_lost
        self._transport: asyncio.WriteTransport | None = None
        self._child: Child | None = None
        self._status: int | None = None
        self._told = False

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        # The exit status tells more than a closed socket: give it a moment to arrive.
        if not self._told:
            asyncio.get_running_loop().call_later(0.05, self._lost)

    def send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def kill(self) -> None:
        """Silently: `on_lost` is not called."""
        self._told = True
        if self._child is not None:
            self._child.signal(_SIGKILL)
        if self._transport is not None:
            self._transport.close()

    def _exited(self, status: int) -> None:
        self._status = status
        self._lost()

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
    """The model in a worker process, for models that hold the interpreter lock, crash or hang."""

    def __init__(
        self,
        source: ModelSource,
        spawner: Spawner,
        *,
        max_batch: int,
        load_timeout_s: float,
        name: str,
        cpus: tuple[int, ...] = (),
        on_restart_failed: Callable[[str], None],
    ) -> None:
        self._spawner = spawner
        self._load_timeout_s = load_timeout_s
        self._spec = ChildSpec(
            entry=ENTRY,
            args={"role": "model", "source": msgspec.to_builtins(source), "max_batch": max_batch},
            name=f"{name}-model",
            cpus=cpus,
            threads=source.threads,
            preload=preload_modules(source),
        )
        self._worker: WorkerProcess | None = None
        self._loaded: asyncio.Future[ModelInfo] | None = None
        self._waiting: Sequence[Inputs] | None = None  # a batch that came while a new worker starts
        self._busy = False
        self._restart: asyncio.Task[None] | None = None
        self._on_restart_failed = on_restart_failed
        self.warm_up_times: list[tuple[int, float]] = []
        self.restarts = 0
        self.on_done: OnDone = lambda results, seconds: None

    async def start(self) -> ModelInfo:
        self._loaded = asyncio.get_running_loop().create_future()
        self._worker = WorkerProcess(self._message, self._lost)
        await self._worker.start(self._spawner, self._spec)
        return await self._loaded

    def run(self, batch: Sequence[Inputs]) -> None:
        if self._restart is not None or self._worker is None:
            self._waiting = batch
            return
        self._busy = True
        self._worker.send(framing.encode(["run", [framing.pack(inputs) for inputs in batch]]))

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
                if message[1] is not None:
                    error = framing.unpack(message[1])
                    assert isinstance(error, RequestError)
                    self.on_done(error, message[3])
                else:
                    self.on_done([framing.unpack(result) for result in message[2]], message[3])
            case "loaded":
                self.warm_up_times = [(size, seconds) for size, seconds in message[2]]
                if self._loaded is not None and not self._loaded.done():
                    self._loaded.set_result(msgspec.convert(message[1], ModelInfo))
            case "failed":
                if self._loaded is not None and not self._loaded.done():
                    reason, file, line, detail = message[1:]
                    self._loaded.set_exception(ModelLoadError(reason, file=file, line=line, detail=detail))

    def _lost(self, reason: str) -> None:
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(ModelLoadError(f"{reason} while it loaded"))
            return
        was_busy = self._busy
        self._replace()
        if was_busy:
            # Not ModelFailed: the gateway tries it again, alone, elsewhere; it may have been a batch mate's doing.
            self.on_done(ReplicaLost(f"{reason} while it computed"), 0.0)

    def _replace(self) -> None:
        self._busy = False
        if self._worker is not None:
            self._worker.kill()
        if self._restart is None:
            self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        try:
            await asyncio.wait_for(self.start(), self._load_timeout_s)
        except (ModelLoadError, HostError, TimeoutError) as error:
            self._on_restart_failed(str(error) or f"load() did not finish within {self._load_timeout_s:g} s")
            return
        finally:
            self._restart = None
        self.restarts += 1
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.run(waiting)
