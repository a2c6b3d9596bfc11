"""`plimsoll up`: the controller, its backend and its gateways on this machine, until told to stop.

Start: folder and ports are taken -> spawner and backend -> controller -> services applied -> gateways -> admin API ->
files watched. Stop, in the reverse order of a request's way: no more changes -> the gateways answer what they have ->
the replicas drain -> everything ends. A second Ctrl-C ends it all at once; so does SIGKILL, by the lifelines.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from plimsoll import __version__
from plimsoll.app.child_host import loop_factory, on_signals
from plimsoll.app.gateways import GatewayPlan, Gateways, TlsFiles, gateway_plans, make_audit_folder, make_folder
from plimsoll.app.instance import Instance, RunFolder, told_in_a_line
from plimsoll.app.local import local_backend, local_spawner, machine_room, preloads, warm
from plimsoll.app.ports import LOOPBACK, Claim, claim, is_loopback
from plimsoll.app.saved import SavedFiles
from plimsoll.app.secrets import SecretFiles
from plimsoll.app.sources import named, service_files
from plimsoll.app.try_line import try_line
from plimsoll.control.admin import AdminInfo
from plimsoll.control.admin_server import AdminServer
from plimsoll.control.controller import Controller, ControlSettings
from plimsoll.control.scaling.scaling import live_kit
from plimsoll.control.status import Phase
from plimsoll.control.timeline import Kind, Level
from plimsoll.core.errors import UserError
from plimsoll.ports.spawner import Spawner
from plimsoll.spec import Documents, ModelService, check_here, load_all_files, not_honoured
from plimsoll.telemetry.logs import configure
from plimsoll.telemetry.scaling_record import ScalingRecord

LOG = logging.getLogger(__name__)
GREETING_S = 10.0  # a service that loads longer than this doesn't hold the greeting back
LOADING_S = 2.0  # a service that isn't ready by then is named
GATEWAY_DRAIN_S = 35.0  # a gateway bounds its own drain at 30 s
TRIES_MAX = 3
AUTHORIZE = '-H "authorization: Bearer $KEY"'  # as one types it: the key itself is shown once, when it is made


@dataclass(frozen=True, slots=True)
class UpOptions:
    """`port` 0: any free one. `admin_port` None: the gateway's plus 10. `start_method`: fork or spawn. `host`, `tls`
    and `audit` (a folder for the audit logs) are the gateways'; everything else stays on loopback. `secrets` None: the
    folder of that name beside each service file. `cores`: that scaling may give to replicas; None: see `local`.
    `record`: a folder for what scalers saw and decided."""

    paths: tuple[Path, ...] = ()
    host: str = LOOPBACK
    port: int = 8080
    admin_port: int | None = None
    watch: bool = True
    gateways: int = 1
    start_method: str = "fork"
    tls: TlsFiles | None = None
    audit: Path | None = None
    secrets: Path | None = None
    cores: float | None = None
    record: Path | None = None


@dataclass(frozen=True, slots=True)
class Greeting:
    """`tries`: commands to copy, one a service that is ready."""

    tries: tuple[str, ...]
    admin: str


class Reporter(Protocol):
    """What stands in the terminal; implemented by `cli.run`."""

    def names(self, names: list[str]) -> None:
        """The services there are, before anything is said of them: lines align."""
        ...

    def event(self, event: Mapping[str, Any]) -> None: ...

    def note(self, service: str, text: str) -> None: ...

    def trouble(self, text: str) -> None: ...

    def greeting(self, greeting: Greeting) -> None: ...


def run_up(options: UpOptions, reporter: Reporter) -> int:
    """Runs until SIGINT, SIGTERM or SIGHUP; the exit code. Raises UserError and HostError before anything serves."""
    files = service_files(options.paths)
    found = load_all_files(map(named, files))
    check_here(found)
    if not found.services:
        raise UserError(f"nothing to serve: {', '.join(str(named(file)) for file in files)} hold no ModelService")
    if options.tls is not None:
        options.tls.check()
    if options.audit is not None:
        make_audit_folder(options.audit)
    if options.record is not None:
        make_folder(options.record, "--record")
    with contextlib.ExitStack() as stack:
        stack.enter_context(told_in_a_line())
        # The folder first: another instance of ours on this port is named as such.
        folder = RunFolder.take(options.port) if options.port else None
        if folder is not None:
            stack.callback(folder.remove)
        doors = claim("gateway", options.port, "--port", host=options.host, processes=options.gateways)
        stack.callback(doors.close)
        if folder is None:
            folder = RunFolder.take(doors.port)
            stack.callback(folder.remove)
        admin_port = doors.port + 10 if options.admin_port is None else options.admin_port
        admin = claim("admin API", admin_port, "--admin-port")
        stack.callback(admin.close)
        (folder.path / "logs").mkdir(mode=0o700)
        log = stack.enter_context((folder.path / "logs" / "controller.log").open("a", encoding="utf-8"))
        configure(stream=log)  # the terminal is for what a user has to know
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_Up(options, reporter, files, found, folder, doors, admin).run())


class _Up:
    def __init__(
        self,
        options: UpOptions,
        reporter: Reporter,
        files: list[Path],
        found: Documents,
        folder: RunFolder,
        door: Claim,
        admin: Claim,
    ) -> None:
        self._options, self._reporter = options, reporter
        self._files, self._wanted, self._first = files, found, list(found.services)
        self._secrets = SecretFiles(options.secrets, reporter.trouble)
        self._folder, self._door, self._admin = folder, door, admin
        self._gateway_url = f"{'http' if options.tls is None else 'https'}://{door.authority}"
        self._admin_url = f"http://localhost:{admin.port}"
        self._stop = asyncio.Event()
        self._controller: Controller

    async def run(self) -> int:
        on_signals(self._stopped, signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            on_signals(self._stopped, signal.SIGHUP)
        self._reporter.names([service.name for service in self._first])
        for one in self._wanted:
            for line in not_honoured(one, platform=self._wanted.platform):
                name = one.dump()["metadata"]["name"]
                if not isinstance(one, ModelService):
                    name = f"{type(one).__name__.lower()}/{name}"
                self._reporter.note(name, f"not honoured here: {line}")
        self._warn_of_the_open_door()
        async with AsyncExitStack() as stack:
            spawner = await self._start_controller(stack)
            background = [asyncio.create_task(self._tell_events())]
            try:
                await self._controller.apply(self._wanted, failing=True)  # one missing model: the others serve
                await self._start_doors(stack, spawner)
                if self._options.watch:  # before the greeting: who reads it may save at once
                    background.append(asyncio.create_task(self._saved_files().watch(self._files, self._first)))
                await self._greet()
                await self._stop.wait()
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                self._controller.closing.set()  # `logs -f` and `events -f` end now: nobody waits for them
                self._controller.timeline.close()
        return 0

    def _saved_files(self) -> SavedFiles:
        reporter = self._reporter
        return SavedFiles(
            self._options.paths, self._controller, note=reporter.note, trouble=reporter.trouble, stop=self._stop
        )

    async def _start_controller(self, stack: AsyncExitStack) -> Spawner:
        """What is started here and in `_start_doors` is closed by `stack`, the last first."""
        run_dir = self._folder.path
        spawner = local_spawner(run_dir, self._options.start_method)
        stack.push_async_callback(spawner.close)
        await warm(spawner, self._first)
        backend = local_backend(run_dir, spawner)
        await backend.start()
        stack.push_async_callback(backend.close)
        record = None if self._options.record is None else ScalingRecord(self._options.record)
        if record is not None:
            stack.callback(record.close)
        settings = ControlSettings(
            gateway_url=self._gateway_url,
            gateways=self._options.gateways,
            preload=preloads,
            secrets=self._secrets.read,
            scaling=live_kit() if record is None else replace(live_kit(), record=record),
            room=machine_room(self._options.cores),
        )
        self._controller = Controller(backend, run_dir=run_dir, clock=_LoopClock(), settings=settings)
        await self._controller.start()
        stack.push_async_callback(self._controller.close)
        return spawner

    async def _start_doors(self, stack: AsyncExitStack, spawner: Spawner) -> None:
        """After the services are applied: a gateway must not answer `not_found` for one that is about to come. Who
        connects earlier waits in the backlog."""
        await self._controller.tick()  # the snapshot that gateways get first has the services
        plans = self._gateway_plans()
        gateways = Gateways(spawner, plans, self._reporter.trouble)
        await gateways.start()
        stack.push_async_callback(self._close_gateways, gateways)
        await self._start_admin(stack, plans)

    async def _start_admin(self, stack: AsyncExitStack, plans: list[GatewayPlan]) -> None:
        started_at = time.time()
        info = AdminInfo(
            gateway=self._gateway_url,
            admin=self._admin_url,
            started_at=started_at,
            metrics={plan.name: plan.args["metrics"] for plan in plans},
        )
        self._admin.close()  # the server binds it anew
        unix = self._folder.path / "admin.sock"
        server = AdminServer(self._controller, tcp=("127.0.0.1", self._admin.port), unix=unix, info=info)
        await server.start()
        stack.push_async_callback(server.close)
        self._folder.publish(
            Instance(
                pid=os.getpid(),
                port=self._door.port,
                gateway=self._gateway_url,
                admin=self._admin_url,
                admin_socket=str(unix),
                started_at=started_at,
                version=__version__,
            )
        )

    def _gateway_plans(self) -> list[GatewayPlan]:
        options = self._options
        return gateway_plans(self._folder.path, self._door, options.gateways, tls=options.tls, audit=options.audit)

    async def _close_gateways(self, gateways: Gateways) -> None:
        self._door.close()  # from here on clients are refused instead of waiting in a backlog that nobody empties
        await gateways.close(GATEWAY_DRAIN_S)

    def _stopped(self) -> None:
        if self._stop.is_set():
            self._end_at_once()
        self._stop.set()
        self._reporter.note("", "stopping: answering what is in flight (Ctrl-C again: at once)")

    def _end_at_once(self) -> None:
        """Takes down what it started and leaves, whatever the event loop waits for."""
        import psutil

        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        shutil.rmtree(self._folder.path, ignore_errors=True)
        os._exit(130)

    # What stands in the terminal.

    async def _tell_events(self) -> None:
        async for event in self._controller.timeline.follow():
            by_policy = "policy" in event.details or "held" in event.details
            if event.kind is Kind.APPLIED and event.level is Level.INFO:
                continue
            if event.kind is Kind.SCALED and not by_policy:
                continue  # the command that did it has said so
            told = asdict(event)
            if event.kind is Kind.READY:
                told["message"] += self._budget_of(event.service)
            self._reporter.event(told)

    def _budget_of(self, name: str) -> str:
        service = next((service for service in self._controller.services if service.name == name), None)
        return budget_line(service) if service is not None else ""

    async def _greet(self) -> None:
        """Once every service is ready or has failed: what to type next."""
        loop = asyncio.get_running_loop()
        began, named = loop.time(), False
        while not self._stop.is_set():
            waiting = [one for one in self._controller.statuses() if one.phase is Phase.PROGRESSING]
            waited = loop.time() - began
            if not waiting or waited > GREETING_S:
                break
            if waited > LOADING_S and not named:
                named = True
                for one in waiting:
                    self._reporter.note(one.name, "loading ...")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.02)
        if self._stop.is_set():
            return
        await asyncio.sleep(0.01)  # the lines of the last events come first
        serving = {one.name for one in self._controller.statuses() if one.replicas.ready}
        ready = [service for service in self._first if service.name in serving]
        tries = tuple(self._try_line(service) for service in ready[:TRIES_MAX])
        self._reporter.greeting(Greeting(tries, self._admin_url))

    def _try_line(self, service: ModelService) -> str:
        tls = self._options.tls
        return try_line(
            service,
            self._door.authority if tls is None else self._gateway_url,
            options=" ".join(([tls.curl()] if tls else []) + ([] if self._anonymous(service) else [AUTHORIZE])),
        )

    def _anonymous(self, service: ModelService) -> bool:
        return self._controller.status(service.name).anonymous

    def _warn_of_the_open_door(self) -> None:
        """Who gives an address that other machines reach should know what stands open there."""
        options = self._options
        if is_loopback(options.host):
            return
        tenants = bool(self._wanted.tenants)
        said = ((one.name, one.spec.access.anonymous) for one in self._first)
        free = [name for name, anonymous in said if (not tenants if anonymous is None else anonymous)]
        if options.tls is None:
            trouble = "in clear text; add --tls-cert and --tls-key"
            self._reporter.trouble(f"--host {options.host}: other machines reach the gateway {trouble}")
        if free:
            who = f"anybody there may call {', '.join(free)}"
            self._reporter.trouble(f"--host {options.host}: {who}; add a Tenant, or access: {{anonymous: false}}")


def budget_line(service: ModelService) -> str:
    """`   budget p99 100ms, errors 0.1%`; empty without a budget."""
    latency = service.spec.budget.latency
    parts = [
        f"{name} {value}" for name, value in (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99)) if value
    ]
    shown = parts[-1:]  # the tail is what the budget is about
    if service.spec.budget.error_rate is not None:
        shown.append(f"errors {service.spec.budget.error_rate}")
    return f"   budget {', '.join(shown)}" if shown else ""


class _LoopClock:
    def now(self) -> float:
        return asyncio.get_running_loop().time()
