"""The controller on a cluster: services wanted in, counts, snapshots and signals out.

    controller = ClusterController(backend, stream, …)
    controller.take_service("shop/mood", service, target="mood-7c9ab1f2d0")     # as watches tell it
    await controller.run()

Several run at once. Each hears every gateway, decides and publishes, so that no autoscaler and no gateway ever meets
silence; only the one that leads writes counts. A turn is a list of named steps, each second and at once when a request
waits for a first replica or somebody changed what is wanted. Replicas' own news wait for the next second: gateways
watch endpoints themselves.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from plimsoll.control.cluster.edge import ClusterEdge, NamespacedSecrets
from plimsoll.control.cluster.places import ClusterPlaces
from plimsoll.control.cluster.service import ClusterService
from plimsoll.control.cluster.told import Figures, PodRates, figures_of, signal_of
from plimsoll.control.cluster.views import refresh_view
from plimsoll.control.cluster.writing import count_to_write
from plimsoll.control.scaling.scaler import Kit
from plimsoll.control.scaling.scaling import Scaling, live_kit
from plimsoll.control.service_state import by_service
from plimsoll.control.stream import SnapshotServer
from plimsoll.control.timeline import Kind, Level, Timeline
from plimsoll.core.snapshot import GatewayReport, ServiceView, Snapshot
from plimsoll.ports.backend import Backend, DesiredReplicas, ObservedReplica, ReplicaPhase, ReplicaTemplate
from plimsoll.ports.clock import Clock
from plimsoll.ports.signals import SignalSink
from plimsoll.spec import ModelService, Platform, Tenant
from plimsoll.telemetry.serving import ControllerMetrics

LOG = logging.getLogger(__name__)

_IDLE_S = 5.0  # of a thousand services most are asleep
_POD_START_S = 10.0  # until a first start was seen: an image that is there, an interpreter, a small model


def _nothing(namespace: str, name: str) -> Mapping[str, float]:
    return {}


def _cluster_kit() -> Kit:
    return replace(live_kit(), start_s=_POD_START_S, idle_s=_IDLE_S)


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """`system`: Plimsoll's own namespace. `leading`: asked before each write. `extra`: a service's figures from
    elsewhere, by namespace and name. `counts`: what a workload asks for now, by namespace and name; None: not known."""

    secrets: NamespacedSecrets
    leading: Callable[[], bool]
    counts: Callable[[str, str], int | None]
    system: str = "plimsoll-system"
    tick_s: float = 1.0
    soonest_s: float = 0.05  # between two turns, however much happens
    keep_events: int = 2000
    extra: Callable[[str, str], Mapping[str, float]] = field(default=_nothing)
    scaling: Kit = field(default_factory=_cluster_kit)


class ClusterController:
    """Used from one event loop. Backend, stream and sink are its caller's to start and close."""

    def __init__(
        self,
        backend: Backend,
        stream: SnapshotServer,
        signals: SignalSink,
        *,
        clock: Clock,
        settings: ClusterSettings,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.timeline = Timeline(wall, keep=settings.keep_events)
        self.metrics = ControllerMetrics()
        self._backend, self._stream, self._signals = backend, stream, signals
        self._clock, self._settings, self._wall = clock, settings, wall
        self._edge = ClusterEdge(settings.secrets, self.timeline, gateways=1, system=settings.system)
        self._places = ClusterPlaces()
        self._scaling = Scaling(settings.scaling, self.timeline, stream.reports, wall, places=self._places)
        self._services: dict[str, ClusterService] = {}
        self._rates = PodRates()
        self._seen: tuple[ObservedReplica, ...] = ()
        self._version = 0
        self._led = False
        self.turned_at = 0.0  # on the clock: the end of the last turn
        self._kick = asyncio.Event()

    # --- what watches tell --------------------------------------------------------------------------------------------

    def take_service(self, name: str, service: ModelService | None, *, target: str = "") -> None:
        """`name`: NAMESPACE/NAME. None: it is gone. `target`: the workload to scale, as the operator says; "": none."""
        if service is None:
            self._services.pop(name, None)
            self._edge.forget("ModelService", name)
            for family in (self.metrics.replicas, self.metrics.replicas_wanted):
                family.forget(name)
        elif (known := self._services.get(name)) is not None:
            known.service, known.target = service, target
        else:
            self._services[name] = ClusterService(name, service, target)
        self._kick.set()

    def take_tenant(self, name: str, tenant: Tenant | None) -> None:
        if tenant is None:
            self._edge.forget("Tenant", name)
        else:
            self._edge.tenants[name] = tenant
        self._kick.set()

    def take_platform(self, platform: Platform | None) -> None:
        self._edge.platform = self._places.platform = platform
        self._kick.set()

    def wake(self) -> None:
        """A turn soon: a secret is another."""
        self._kick.set()

    @property
    def platform(self) -> Platform | None:
        return self._places.platform

    def hear(self, report: GatewayReport) -> None:
        """The stream's `on_report`. A turn at once where somebody waits for a first replica."""
        self._scaling.hear(report, self._clock.now())
        for entry in report.services:
            if entry.held:
                state = self._services.get(entry.service)
                if state is not None and state.wanted == 0 and state.by_hand is None:
                    self._kick.set()
                    return

    def figures(self) -> Sequence[Figures]:
        """Of each service, as it is now."""
        now, traffic = self._clock.now(), self._stream.reports.traffic
        return [
            figures_of(state, traffic(name), self._scaling.told(state, now))
            for name, state in sorted(self._services.items())
        ]

    # --- the turn -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._kick.clear()
            await self.tick()
            # At least a moment between two: a thousand services that are listed are one change.
            await asyncio.sleep(self._settings.soonest_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._kick.wait(), self._settings.tick_s)

    async def tick(self) -> None:
        """One turn. Never raises; a step that fails becomes an event, and the steps after it go on."""
        began, now = time.perf_counter(), self._clock.now()
        for name, step in (
            ("observing", self._observe),
            ("scaling", self._scale),
            ("telling gateways", self._publish),
            ("telling autoscalers", self._signal),
        ):
            try:
                step(now)
            except Exception as error:
                self._failed(name, error)
        try:
            await self._write()
        except Exception as error:
            self._failed("writing counts", error)
        self.metrics.reconcile_seconds.observe(time.perf_counter() - began)
        self.turned_at = self._clock.now()

    def _observe(self, now: float) -> None:
        self._seen = self._backend.observe()
        found = by_service(self._seen)
        for name, state in self._services.items():
            state.seen = found.get(name, ())
            state.count = self._settings.counts(state.namespace, state.target) if state.target else None
            if any(replica.phase is ReplicaPhase.READY for replica in state.of(state.target)):
                state.proved = state.target
        self._rates.look(self._seen, now)

    def _scale(self, now: float) -> None:
        """Not of what isn't known to have a workload yet: what it asks for is where scaling begins. Taken for one
        replica, a service that was made at none was woken for nothing."""
        states = tuple(
            state for state in self._services.values() if state.count is not None or state.scaled is not None
        )
        self._scaling.turn(states, self._edge.platform, now)

    def _publish(self, now: float) -> None:
        """To gateways, where anything differs. Each controller counts its own versions from the clock: a gateway that
        changes over to another must not take its first snapshot for an old one."""
        self._edge.count_gateways(len(self._stream.reports.gateways))
        views: list[ServiceView] = []
        for name, state in sorted(self._services.items()):
            state.cache_url = self._edge.cache_url_of(name, state.service)
            views.append(refresh_view(state, self._places.refused(state, now)))
        last = self._stream.snapshot
        gateway = None if self._edge.platform is None else self._edge.platform.spec.gateway
        template = (gateway and gateway.hostname_template) or ""
        snapshot = Snapshot(last.version, tuple(views), self._edge.tenant_views(), self._edge.limits(), template)
        if self._version and snapshot == last:
            return
        self._version = max(last.version + 1, int(self._wall() * 1000))
        self._stream.publish(replace(snapshot, version=self._version))

    def _signal(self, now: float) -> None:
        signals = []
        for name, state in sorted(self._services.items()):
            told = self._scaling.told(state, now)
            extra = self._settings.extra(state.namespace, state.short)
            look = self._scaling.last_look(name)
            signals.append(signal_of(state, told, look, self._rates, now=now, extra=extra))
            self.metrics.replicas_wanted.labels(name).value = state.wanted
        self._signals.publish(signals)

    async def _write(self) -> None:
        """Counts, by the one that leads. The backend writes only where a workload asks for something else."""
        leads = self._settings.leading()
        if leads != self._led:
            self._led = leads
            LOG.info("this controller writes counts from now on" if leads else "another controller writes counts")
        if not leads:
            return
        wish = []
        for name, state in sorted(self._services.items()):
            count = count_to_write(state)
            if count is not None:
                template = ReplicaTemplate(name, state.target, {"workload": state.service.spec.workload})
                wish.append(DesiredReplicas(template, count))
        await self._backend.apply(tuple(wish))

    def _failed(self, step: str, error: BaseException) -> None:
        message = f"{step} failed: {type(error).__name__}: {error}"
        if self.timeline.record_once("", Kind.ERROR, message, level=Level.ERROR):
            LOG.error("%s failed", step, exc_info=error)
