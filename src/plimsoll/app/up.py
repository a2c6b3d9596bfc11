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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from plimsoll import __version__
from plimsoll.app.child_host import loop_factory, on_signals
from plimsoll.app.gateways import GatewayPlan, Gateways
from plimsoll.app.instance import Instance, RunFolder, told_in_a_line
from plimsoll.app.local import local_backend, local_spawner, preloads, warm
from plimsoll.app.ports import Claim, claim
from plimsoll.app.sources import service_files
from plimsoll.app.try_line import try_line
from plimsoll.app.watch import Watched, Watcher, cause, watched
from plimsoll.control.admin import AdminInfo
from plimsoll.control.admin_server import AdminServer
from plimsoll.control.controller import Controller, ControlSettings
from plimsoll.control.status import Phase
from plimsoll.control.timeline import Kind, Level
from plimsoll.core.errors import PlimsollError, SpecErrors, UserError
from plimsoll.ports.spawner import Spawner
from plimsoll.spec import ModelService, load_file, load_files, not_honoured
from plimsoll.telemetry.logs import configure

LOG = logging.getLogger(__name__)
GREETING_S = 10.0  # a service that loads longer than this doesn't hold the greeting back
LOADING_S = 2.0  # a service that isn't ready by then is named
GATEWAY_DRAIN_S = 35.0  # a gateway bounds its own drain at 30 s
TRIES_MAX = 3


@dataclass(frozen=True, slots=True)
class UpOptions:
    """`port` 0: any free one. `admin_port` None: the gateway's plus 10. `start_method`: fork or spawn."""

    paths: tuple[Path, ...] = ()
    port: int = 8080
    admin_port: int | None = None
    watch: bool = True
    gateways: int = 1
    start_method: str = "fork"


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
    services = load_files(_named(files))
    with contextlib.ExitStack() as stack:
        stack.enter_context(told_in_a_line())
        # The folder first: another instance of ours on this port is named as such.
        folder = RunFolder.take(options.port) if options.port else None
        if folder is not None:
            stack.callback(folder.remove)
        doors = claim("gateway", options.port, "--port")
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
            return runner.run(_Up(options, reporter, files, services, folder, doors, admin).run())


def _named(files: list[Path]) -> list[Path]:
    """As one would type them: messages are about `service.yaml`, not `/home/…/service.yaml`."""
    here = Path.cwd()
    return [file.relative_to(here) if file.is_relative_to(here) else file for file in files]


class _Up:
    def __init__(
        self,
        options: UpOptions,
        reporter: Reporter,
        files: list[Path],
        services: list[ModelService],
        folder: RunFolder,
        door: Claim,
        admin: Claim,
    ) -> None:
        self._options, self._reporter = options, reporter
        self._files, self._first = files, services
        self._folder, self._door, self._admin = folder, door, admin
        self._gateway_url = f"http://localhost:{door.port}"
        self._admin_url = f"http://localhost:{admin.port}"
        self._watched: dict[Path, Watched] = {}
        self._stop = asyncio.Event()
        self._controller: Controller

    async def run(self) -> int:
        on_signals(self._stopped, signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            on_signals(self._stopped, signal.SIGHUP)
        self._reporter.names([service.name for service in self._first])
        for service in self._first:
            for line in not_honoured(service):
                self._reporter.note(service.name, f"not honoured here: {line}")
        async with AsyncExitStack() as stack:
            spawner = await self._start_controller(stack)
            background = [asyncio.create_task(self._tell_events())]
            try:
                await self._controller.apply(self._first, failing=True)  # one missing model: the others serve
                await self._start_doors(stack, spawner)
                if self._options.watch:  # before the greeting: who reads it may save at once
                    background.append(asyncio.create_task(self._watch()))
                await self._greet()
                await self._stop.wait()
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                self._controller.closing.set()  # `logs -f` and `events -f` end now: nobody waits for them
                self._controller.timeline.close()
        return 0

    def _by_file(self) -> dict[Path, list[ModelService]]:
        return {
            file: [service for service in self._first if _absolute(service.origin.file) == file] for file in self._files
        }

    async def _start_controller(self, stack: AsyncExitStack) -> Spawner:
        """What is started here and in `_start_doors` is closed by `stack`, the last first."""
        run_dir = self._folder.path
        spawner = local_spawner(run_dir, self._options.start_method)
        stack.push_async_callback(spawner.close)
        await warm(spawner, self._first)
        backend = local_backend(run_dir, spawner)
        await backend.start()
        stack.push_async_callback(backend.close)
        settings = ControlSettings(gateway_url=self._gateway_url, preload=preloads)
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
        run_dir = self._folder.path
        address = f"tcp:127.0.0.1:{self._door.port}"
        return [
            GatewayPlan(
                name=f"gateway-{number}",
                args={
                    "name": f"gateway-{number}",
                    "listen": [address],
                    "control": f"unix:{run_dir}/control.sock",
                    "metrics": f"unix:{run_dir}/gateway-{number}.sock",
                },
                log_path=str(run_dir / "logs" / f"gateway-{number}.log"),
                # The socket is ours: while a gateway that died is started again, clients wait in its backlog.
                fds={address: self._door.fileno()},
            )
            for number in range(self._options.gateways)
        ]

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
            if event.kind in {Kind.APPLIED, Kind.SCALED} and event.level is Level.INFO:
                continue
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
        tries = tuple(try_line(service, f"localhost:{self._door.port}") for service in ready[:TRIES_MAX])
        self._reporter.greeting(Greeting(tries, self._admin_url))

    # Saved files.

    async def _watch(self) -> None:
        try:
            await self._watch_files()
        except Exception as error:  # the system's limit of watches, say: everything else goes on
            self._reporter.trouble(f"saved files are not noticed any more ({error}); use: plimsoll apply FILE")
            LOG.exception("watching ended")

    async def _watch_files(self) -> None:
        self._watched = {file: watched(file, services) for file, services in self._by_file().items()}
        watcher = Watcher(lambda: set().union(*(entry.folders for entry in self._watched.values())), self._stop)
        async for changed in watcher.changes():
            self._look_for_new_files()
            for file, entry in list(self._watched.items()):
                touched = entry.touched(changed)
                if touched:
                    await self._take(file, cause(touched))

    def _look_for_new_files(self) -> None:
        with contextlib.suppress(UserError):
            for file in service_files(self._options.paths):
                self._watched.setdefault(file, Watched(file))

    async def _take(self, file: Path, why: str) -> None:
        """A saved file takes over, or its errors stand in the terminal and nothing changes."""
        if not await asyncio.to_thread(file.exists):
            self._reporter.trouble(f"{file.name} is gone; its services go on (plimsoll delete NAME ends one)")
            return
        (named,) = _named([file])
        try:
            services = load_file(named)
            self._watched[file] = await asyncio.to_thread(watched, file, services)
            before = {one.name: one.revision for one in self._controller.statuses() if one.phase is Phase.READY}
            for one in await self._controller.apply(services, cause=why):
                if one.change == "updated" and before.get(one.name) == one.revision:
                    self._reporter.note(one.name, f"{why}: applied; no replica had to be replaced")
        except PlimsollError as error:
            self._refuse(error)

    def _refuse(self, error: PlimsollError) -> None:
        lines = [str(one) for one in error.errors] if isinstance(error, SpecErrors) else str(error).splitlines()
        for line in lines:
            self._controller.timeline.record("", Kind.REFUSED, line, level=Level.ERROR)


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


def _absolute(file: str) -> Path:
    return Path(file).absolute()


class _LoopClock:
    def now(self) -> float:
        return asyncio.get_running_loop().time()
