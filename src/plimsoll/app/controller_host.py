"""The controller in its process: what it watches, who it answers, and in which order that begins and ends.

Beginning: watches, until all was heard once -> a turn, so that there is something to tell -> the ports. So nobody ever
gets an answer from a controller that knows nothing yet. Ending: the ports first, the Lease last.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from plimsoll.app.cluster_controller import ControllerSettings
from plimsoll.app.controller_pages import controller_app
from plimsoll.app.controller_tls import Certificates
from plimsoll.app.memory import keep_trimmed, trimmer
from plimsoll.app.operator_pages import Page
from plimsoll.backends.kubernetes.api import Api, ApiError, Unreachable, path_of
from plimsoll.backends.kubernetes.backend import KubernetesBackend
from plimsoll.backends.kubernetes.cpu import CpuUse
from plimsoll.backends.kubernetes.names import API_VERSION, LEASE_CONTROLLER, SERVICE_LABEL
from plimsoll.backends.kubernetes.operator.lease import Elected, lease_settings
from plimsoll.backends.kubernetes.operator.world import discovered
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render.scaling import TOLERANCE_MINOR
from plimsoll.backends.kubernetes.secrets import ClusterSecrets
from plimsoll.backends.kubernetes.signals.access import (
    CONFIG_NAME,
    CONFIG_NAMESPACE,
    FrontProxy,
    Permissions,
    front_proxy,
)
from plimsoll.backends.kubernetes.signals.api import MetricsApi
from plimsoll.backends.kubernetes.signals.book import SignalBook
from plimsoll.backends.kubernetes.signals.peer import PeerProtocol
from plimsoll.backends.kubernetes.signals.prometheus import Prometheus, Queried
from plimsoll.backends.kubernetes.signals.rounding import TOLERANCE
from plimsoll.backends.kubernetes.tokens import GatewayTokens
from plimsoll.backends.kubernetes.wanted import (
    PLATFORMS,
    SERVICES,
    TENANTS,
    Wanted,
    is_kept,
    platform_of,
    read_platform,
    read_service,
    read_tenant,
)
from plimsoll.backends.kubernetes.watching import Change, Key, Watch
from plimsoll.control.cluster.controller import ClusterController, ClusterSettings
from plimsoll.control.cluster.places import class_of
from plimsoll.control.stream import SnapshotServer, TcpListen
from plimsoll.core.snapshot import GatewayReport
from plimsoll.spec import ModelService, Platform, Tenant

LOG = logging.getLogger(__name__)

_SECRETS_S = 10.0  # longest wait for those that are named, before gateways are told
_OTHERS_S = 3.0  # longest wait for what it can do without: nodes, the front proxy's authority
_NEEDED = (SERVICES, TENANTS, PLATFORMS)  # without tenants every door would be open
_STUCK_S = 30.0  # a loop that has not turned for so long is dead


class LoopClock:
    def now(self) -> float:
        return asyncio.get_running_loop().time()


class ControllerHost:
    """`run` until `stop`, then `close`. Used from one event loop."""

    def __init__(self, api: Api, settings: ControllerSettings) -> None:
        self._api, self._settings, self._clock = api, settings, LoopClock()
        self._proxy: FrontProxy | None = None
        self.elected = Elected(
            api, settings.namespace, LEASE_CONTROLLER, settings.identity, settings=lease_settings(settings.lease_s)
        )
        self.backend = KubernetesBackend(
            api, kind=self._class_of_node, prices=self._prices, may_write=lambda: self.elected.leading
        )
        self.secrets = ClusterSecrets(api, self._kick)
        self.book = SignalBook(pod_labels=self.backend.labels_of)
        self._certificates: Certificates | None = None
        self._tokens = GatewayTokens(api, settings.namespace)
        tcp = None
        if settings.control_port:
            tcp = TcpListen(settings.host, settings.control_port, self._stream_context, self._tokens.check)
        self.stream = SnapshotServer(None, on_report=self._hear, tcp=tcp)
        self._queried = self._make_queried()
        self.controller = ClusterController(
            self.backend,
            self.stream,
            self.book,
            clock=self._clock,
            settings=ClusterSettings(
                secrets=self.secrets.read,
                leading=lambda: self.elected.leading,
                counts=self.backend.counts.count,
                system=settings.namespace,
                extra=self._queried.of if self._queried is not None else (lambda namespace, name: {}),
            ),
        )
        self._watches = self._make_watches()
        self._platforms: dict[str, Wanted[Platform]] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._pages: list[Page] = []
        self._keda: Any = None
        self._keda_wanted = asyncio.Event()
        self._on_cpu: set[str] = set()
        self._ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Raises HostError where a port is taken or there is no certificate."""
        beginning = asyncio.create_task(self._begin())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({beginning, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if beginning.done():
                beginning.result()
                await self._until(stop)
        finally:
            for task in (beginning, stopping):
                task.cancel()
            await asyncio.gather(beginning, stopping, return_exceptions=True)

    async def close(self) -> None:
        self._ready = False
        await asyncio.gather(*(page.close() for page in self._pages), return_exceptions=True)
        if self._keda is not None:
            await self._keda.close()
        await self.stream.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.secrets.close()
        await self.backend.close()
        await self.elected.release()

    # --- beginning ----------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        settings = self._settings
        if settings.control_port or settings.api_port:
            self._certificates = Certificates(settings.certificates, lambda: self._proxy.ca if self._proxy else "")
            self._go(self._certificates.run())
        if settings.metrics_port:
            app = controller_app(
                self.controller.metrics.metrics,
                ready=self._why_not_ready,
                live=self._why_dead,
                figures=self._figures,
                timeline=self.controller.timeline,
            )
            await self._serve(Page(app, settings.host, settings.metrics_port))
        for watch in self._watches.values():
            self._go(watch.run())
        await asyncio.gather(self.backend.start(), *(self._watches[name].synced.wait() for name in _NEEDED))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OTHERS_S):
                await asyncio.gather(*(watch.synced.wait() for watch in self._watches.values()))
        await self._look_at_version()
        await self.controller.tick()  # which asks for the secrets that are named
        await self.secrets.settled(_SECRETS_S)
        await self.controller.tick()
        self._go(self.elected.run())
        self._go(self.controller.run())
        self._go(keep_trimmed(trimmer()))
        self._go(CpuUse(self._api, lambda: self._on_cpu, self.backend.use_cpu).run())
        if self._queried is not None:
            self._go(self._queried.run())
        await self._open()
        self._ready = True
        LOG.info("ready", extra={"services": len(self._watches[SERVICES].objects), "identity": settings.identity})

    async def _open(self) -> None:
        settings, certificates = self._settings, self._certificates
        await self.stream.start()
        if settings.api_port and certificates is not None:
            metrics = MetricsApi(self.book, Permissions(self._api), proxy=lambda: self._proxy, clock=self._clock.now)
            context = certificates.listening(certificates.apis)
            await self._serve(Page(metrics.app(), settings.host, settings.api_port, context, http=PeerProtocol))
        if settings.scaler_port:
            self._go(self._serve_keda())

    async def _serve_keda(self) -> None:
        """Once a service wants it: gRPC takes 9 MB that others needn't hold."""
        await self._keda_wanted.wait()
        try:
            from plimsoll.backends.kubernetes.signals.keda import KedaScaler
        except ImportError:
            LOG.error("writer: KEDA needs gRPC here; install it with: pip install 'plimsoll-serve[grpc]'")
            return
        keda = KedaScaler(self.book, f"{self._settings.host}:{self._settings.scaler_port}", clock=self._clock.now)
        await keda.start()
        self._keda = keda

    async def _serve(self, page: Page) -> None:
        await page.start()
        self._pages.append(page)

    async def _look_at_version(self) -> None:
        """Of the API server: an HPA of an old one ignores small steps."""
        try:
            minor = (await discovered(self._api, ClusterOptions())).minor
        except (ApiError, Unreachable) as error:
            LOG.warning("the API server's version is not known: %s; its HPAs are taken to ignore small steps", error)
            minor = 0
        self.book.tolerance = 0.0 if minor >= TOLERANCE_MINOR else TOLERANCE

    async def _until(self, stop: asyncio.Event) -> None:
        """A task that ends by itself has failed: so does the process, which is started again."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                tasks = {stopping, *(task for task in self._tasks if not task.done())}
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {stopping}:
                    task.result()
        finally:
            stopping.cancel()

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    # --- what watches tell --------------------------------------------------------------------------------------------

    def _make_watches(self) -> dict[str, Watch[Any]]:
        api = self._api
        proxy = Watch(
            api,
            path_of("v1", "configmaps", CONFIG_NAMESPACE),
            keep=lambda obj: obj,
            on_change=self._on_proxy,
            field_selector=f"metadata.name={CONFIG_NAME}",
        )
        return {
            SERVICES: Watch(api, path_of(API_VERSION, SERVICES), keep=read_service, on_change=self._on_service),
            TENANTS: Watch(api, path_of(API_VERSION, TENANTS), keep=read_tenant, on_change=self._on_tenant),
            PLATFORMS: Watch(api, path_of(API_VERSION, PLATFORMS), keep=read_platform, on_change=self._on_platform),
            "nodes": Watch(api, path_of("v1", "nodes"), keep=lambda obj: obj["metadata"].get("labels") or {}),
            "proxy": proxy,
        }

    def _on_service(self, change: Change, key: Key, wanted: Wanted[ModelService]) -> None:
        if not is_kept(key.namespace, self._settings.namespaces):
            return
        name = f"{key.namespace}/{key.name}"
        if change is Change.DELETED or wanted.deleting:
            self.controller.take_service(name, None)
            return
        if wanted.whole is None:
            LOG.warning("%s goes on as it was: %s", name, wanted.problem)
            return
        service = wanted.whole
        self.controller.take_service(name, service, target="" if wanted.paused else wanted.target)
        scaling = service.spec.scaling
        if scaling.writer == "KEDA":
            self._keda_wanted.set()
        if scaling.policy == "HPA" and scaling.writer == "Controller":
            self._on_cpu.add(key.namespace)

    def _on_tenant(self, change: Change, key: Key, wanted: Wanted[Tenant]) -> None:
        if change is Change.DELETED or wanted.deleting:
            self.controller.take_tenant(key.name, None)
        elif wanted.whole is None:
            LOG.warning("tenant %s goes on as it was: %s", key.name, wanted.problem)
        else:
            self.controller.take_tenant(key.name, wanted.whole)

    def _on_platform(self, change: Change, key: Key, wanted: Wanted[Platform]) -> None:
        if change is Change.DELETED:
            self._platforms.pop(key.name, None)
        elif wanted.whole is not None or wanted.deleting:
            self._platforms[key.name] = wanted
        else:
            LOG.warning("platform %s goes on as it was: %s", key.name, wanted.problem)
        self.controller.take_platform(platform_of(self._platforms))

    def _on_proxy(self, change: Change, key: Key, config: Mapping[str, Any]) -> None:
        try:
            self._proxy = None if change is Change.DELETED else front_proxy(dict(config))
        except ValueError as error:
            self._proxy = None
            LOG.warning("the metrics APIs believe nobody: %s", error)

    def _kick(self) -> None:
        self.controller.wake()

    def _hear(self, report: GatewayReport) -> None:
        self.controller.hear(report)

    # --- what others ask ----------------------------------------------------------------------------------------------

    def _class_of_node(self, node: str) -> str:
        return class_of(self._watches["nodes"].objects.get(Key("", node)) or {}, self.controller.platform)

    def _prices(self) -> Mapping[str, float]:
        platform = self.controller.platform
        return {} if platform is None else {one.name: float(one.price_per_hour) for one in platform.spec.node_classes}

    def _figures(self) -> Sequence[Mapping[str, object]]:
        return [one.as_json() for one in self.controller.figures()]

    def _why_not_ready(self) -> str:
        if self._ready:
            return ""
        watches = (self._watches[name] for name in _NEEDED)
        waits = [watch.problem or watch.path for watch in watches if not watch.synced.is_set()]
        return "; ".join(waits) or "not everything was heard of yet"

    def _why_dead(self) -> str:
        late_s = self._clock.now() - self.controller.turned_at if self._ready else 0.0
        return f"the last turn was {late_s:.0f} s ago" if late_s > _STUCK_S else ""

    def _stream_context(self) -> ssl.SSLContext:
        assert self._certificates is not None
        return self._certificates.stream()

    def _make_queried(self) -> Queried | None:
        settings = self._settings
        if not settings.prometheus:
            return None
        source = Prometheus(settings.prometheus, folder=settings.prometheus_secret)
        return Queried(source, settings.queries, self._service_of_pod)

    def _service_of_pod(self, namespace: str, pod: str) -> str | None:
        labels = self.backend.labels_of(namespace, pod)
        return None if labels is None else labels.get(SERVICE_LABEL)
