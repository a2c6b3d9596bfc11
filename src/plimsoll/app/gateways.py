"""The gateway processes of one instance: what each is told, and how they are kept running: started, restarted when they
die, drained at the end."""

import asyncio
import shlex
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll.app.ports import Claim
from plimsoll.core.errors import HostError, UserError
from plimsoll.ports.spawner import Child, ChildSpec, Spawner
from plimsoll.wire.http1.tls import TlsContext, TlsSettings

ENTRY = "plimsoll.app.gateway:main"
BACKOFF_FIRST_S = 0.05  # clients notice a gateway's absence at once: the first restart does not wait
BACKOFF_MAX_S = 5.0
STEADY_S = 10.0  # one that lived longer starts anew with the first back-off
READY_S = 15.0  # a cold spawn on a busy machine takes 1-2 s


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """One gateway process. `args` are what `plimsoll.app.gateway:main` gets; `fds` are sockets that outlive it."""

    name: str
    args: Mapping[str, Any]
    log_path: str
    fds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the door's certificate (with its chain) and key; `client_ca`: who signs clients' certificates, which
    `optional` makes a client free to show."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    optional: bool = False

    def check(self) -> None:
        """Raises HostError, naming the file, where a gateway could not start with them."""
        ca = str(self.client_ca) if self.client_ca else None
        TlsContext(TlsSettings(str(self.cert), str(self.key), ca))

    def args(self) -> dict[str, str]:
        found = {"cert": self.cert, "key": self.key} | ({"client_ca": self.client_ca} if self.client_ca else {})
        args = {name: str(path.absolute()) for name, path in found.items()}
        return args | ({"client_cert": "optional"} if self.client_ca and self.optional else {})

    def curl(self) -> str:
        """Options with which curl trusts this certificate, whoever signed it, and shows one of its own."""
        own = " --cert CLIENT.pem --key CLIENT.key" if self.client_ca and not self.optional else ""
        return f"--cacert {shlex.quote(str(self.cert))}{own}"


def gateway_plans(
    run_dir: Path, door: Claim, count: int, *, tls: TlsFiles | None = None, audit: Path | None = None
) -> list[GatewayPlan]:
    plans = []
    for number in range(count):
        name = f"gateway-{number}"
        args: dict[str, Any] = {
            "name": name,
            "listen": [door.address],
            "control": f"unix:{run_dir}/control.sock",
            "metrics": f"unix:{run_dir}/{name}.sock",
        }
        if count > 1:
            args["metrics_on_door"] = False  # a scrape would see one of them, another one each time
        if tls is not None:
            args["tls"] = tls.args()
        if audit is not None:
            args["audit"] = str(audit.absolute() / f"{name}.jsonl")
        # The socket is ours: while a gateway that died is started again, clients wait in its backlog.
        fds = {door.address: door.fileno(number)}
        plans.append(GatewayPlan(name, args, str(run_dir / "logs" / f"{name}.log"), fds))
    return plans


def make_audit_folder(folder: Path) -> None:
    """Raises UserError where it can't be made or written to."""
    make_folder(folder, "--audit")


def make_folder(folder: Path, option: str) -> None:
    """The one that `option` names. Raises UserError where it can't be made or written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".plimsoll"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be written to: {error.strerror}") from None


class Gateways:
    """`on_trouble` gets one line whenever a gateway ended that should run."""

    def __init__(self, spawner: Spawner, plans: list[GatewayPlan], on_trouble: Callable[[str], None]) -> None:
        self._keepers = [_Keeper(spawner, plan, on_trouble) for plan in plans]

    async def start(self) -> None:
        """Returns once every gateway accepts connections. Raises HostError where one doesn't get that far."""
        await asyncio.gather(*(keeper.start() for keeper in self._keepers))

    async def close(self, drain_s: float) -> None:
        """SIGTERM, and SIGKILL for one that is still there after `drain_s`."""
        await asyncio.gather(*(keeper.close(drain_s) for keeper in self._keepers))


class _Keeper:
    def __init__(self, spawner: Spawner, plan: GatewayPlan, on_trouble: Callable[[str], None]) -> None:
        self._spawner, self._plan, self._on_trouble = spawner, plan, on_trouble
        self._child: Child | None = None
        self._exited = asyncio.Event()
        self._ready = asyncio.Event()
        self._reason = ""
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._spawn()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._ready, self._exited)]
        try:
            await asyncio.wait(waits, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._ready.is_set():
            await self.close(0.0)
            raise HostError(f"{self._plan.name} did not start: {self._reason or 'no sign of life'}")
        self._task = asyncio.create_task(self._keep())

    async def close(self, drain_s: float) -> None:
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._child is None or self._exited.is_set():
            return
        self._child.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(drain_s):
                await self._exited.wait()
        except TimeoutError:
            self._child.signal(signal.SIGKILL)
            await self._exited.wait()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        backoff, started = BACKOFF_FIRST_S, loop.time()
        while True:
            await self._exited.wait()
            if loop.time() - started > STEADY_S:
                backoff = BACKOFF_FIRST_S
            self._on_trouble(f"{self._plan.name} ended ({self._reason}); starting it again")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_MAX_S)
            started = loop.time()
            try:
                await self._spawn()
            except HostError as error:
                self._reason = str(error)

    async def _spawn(self) -> None:
        self._exited.clear()
        self._ready.clear()
        spec = ChildSpec(ENTRY, self._plan.args, name=self._plan.name, log_path=self._plan.log_path)
        try:
            self._child = await self._spawner.spawn(
                spec, on_status=self._on_status, on_exit=self._on_exit, fds=self._plan.fds
            )
        except HostError:
            self._exited.set()
            raise

    def _on_status(self, event: dict[str, Any]) -> None:
        if event.get("event") == "ready":
            self._ready.set()
        elif event.get("event") == "failed":
            self._reason = str(event.get("reason", ""))

    def _on_exit(self, status: int) -> None:
        if not self._reason or status < 0:
            self._reason = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        self._exited.set()
