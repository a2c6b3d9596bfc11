"""The controller: services wanted in, replicas and snapshots out.

    controller = Controller(backend, run_dir=…, clock=…)
    await controller.start()
    await controller.apply(services)

One loop turns on each change of the backend, on each call, on each gateway's report, and each second. A turn observes,
walks the steps of `reconcile` for each service, with `scaling` in between, tells the backend the whole wish and
publishes a snapshot when it differs from the last.
A step that raises becomes an event, and its service keeps its last wish and its last view; the others go on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from plimsoll.control import reconcile
from plimsoll.control.edge import Edge, SecretReader, no_secrets
from plimsoll.control.instruments import Instruments
from plimsoll.control.revisions import Revision, RevisionStore
from plimsoll.control.scaling.capacity import RoomReader, no_bound
from plimsoll.control.scaling.profiles import profile_beside
from plimsoll.control.scaling.scaler import Kit
from plimsoll.control.scaling.scaling import Scaling, live_kit, scales
from plimsoll.control.service_state import ServiceState, by_service
from plimsoll.control.status import ServiceStatus, status_of
from plimsoll.control.stream import SnapshotServer
from plimsoll.control.tenant_status import LimitsTold, TenantStatus, limits_told, tenant_status
from plimsoll.control.timeline import Kind, Level, Timeline
from plimsoll.control.wishes import Applied, Wishes
from plimsoll.core.snapshot import GatewayReport, Snapshot
from plimsoll.ports.backend import Backend, DesiredReplicas, ObservedReplica, ReplicaTemplate
from plimsoll.ports.clock import Clock
from plimsoll.spec import Documents, ModelService, Whole

LOG = logging.getLogger(__name__)


def _no_preload(service: ModelService) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """`gateway_url`: what users are told. `gateways`: how many there are: each allows its part of a tenant's quota.
    `preload`: modules that a fork server may import for a service's format. `secrets`: what a reference stands for."""

    gateway_url: str = "http://localhost:8080"
    gateways: int = 1
    tick_s: float = 1.0
    drain_s: float = 30.0  # longest wait for a stopping replica; a request's own timeout bounds it too
    silence_s: float = 10.0  # over predictTimeout: a ready replica that reports nothing for so long is ended
    settle_s: float = 1.5  # gateways report each second: longest wait for their word after a replacement
    keep_events: int = 2000
    purge_s: float = 5.0  # longest wait for the gateways' word that a purge is done
    preload: Callable[[ModelService], tuple[str, ...]] = field(default=_no_preload)
    secrets: SecretReader = field(default=no_secrets)
    scaling: Kit = field(default_factory=live_kit)
    room: RoomReader = field(default=no_bound)  # for replicas, where nobody else bounds them


@dataclass(frozen=True, slots=True)
class Purged:
    """`acknowledged`: all of `gateways`, those that are connected, serve from the snapshot of this version."""

    name: str
    version: int
    gateways: int
    acknowledged: bool


class Controller:
    """Used from one event loop. The backend is its caller's: started before `start`, closed after `close`."""

    def __init__(
        self,
        backend: Backend,
        *,
        run_dir: Path,
        clock: Clock,
        settings: ControlSettings | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.backend = backend
        self.settings = settings or ControlSettings()
        self.timeline = Timeline(wall, keep=self.settings.keep_events)
        self.stream = SnapshotServer(run_dir / "control.sock", on_report=self._on_report)
        self.instruments = Instruments()
        self.closing = asyncio.Event()
        self._clock = clock
        store = RevisionStore(run_dir)
        self._edge = Edge(self.settings.secrets, self.timeline, gateways=self.settings.gateways)
        self._wishes = Wishes(store, self.timeline, self.stream.reports, self.instruments, clock, self._edge, wall)
        self._wall = wall
        self._scaling = Scaling(
            self.settings.scaling,
            self.timeline,
            self.stream.reports,
            wall,
            room=self.settings.room,
            profile=profile_beside,
        )
        self._templates: dict[str, ReplicaTemplate] = {}
        self._wish: tuple[DesiredReplicas, ...] | None = None
        self._kick = asyncio.Event()
        self._ticking = asyncio.Lock()
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises HostError where `control.sock` can't be bound."""
        await self.stream.start()
        self._loop = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends the loop, the followers and the streams. Replicas stay as they are: ending them is the backend's."""
        self.closing.set()
        self.timeline.close()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self.stream.close()

    # What users ask for.

    async def apply(self, wholes: Iterable[Whole], *, cause: str = "", failing: bool = False) -> list[Applied]:
        """Adds or changes these services, tenants and the platform, all or none of them. `cause` is how the events call
        it: "model.py changed". `failing`: a service whose model file is missing is taken all the same, and is Failed.

        Raises SpecErrors (a name or route taken, a model file or a secret missing) or HostError; nothing has changed
        then.
        """
        applied = await self._wishes.apply(Documents.of(wholes), cause, failing=failing)
        self._kick.set()
        return applied

    async def scale(self, name: str, replicas: int | None, *, for_s: float | None = None) -> None:
        """Overrides the replica count by hand for `for_s` seconds; None: for an hour where a policy scales the service,
        else until another word. `replicas` None gives it back to the policy. Raises UnknownService, UserError."""
        await self._wishes.scale(name, replicas, for_s)
        self._kick.set()

    async def delete(self, name: str) -> None:
        """Gateways answer `not_found` at once; replicas finish what they have. Raises UnknownService, UserError."""
        await self._wishes.delete(name)
        self._kick.set()

    async def delete_tenant(self, name: str) -> None:
        await self._wishes.delete_tenant(name)
        self._kick.set()

    async def delete_platform(self, name: str) -> None:
        await self._wishes.delete_platform(name)
        self._kick.set()

    async def purge(self, name: str) -> Purged:
        """Empties a service's cache, and returns when the gateways have. Raises UnknownService, UserError."""
        await self._wishes.purge(name)
        await self.tick()
        version, gateways = self.stream.snapshot.version, len(self.stream.reports.gateways)
        acknowledged = await self.stream.acked(version, self.settings.purge_s, gateways=gateways)
        return Purged(name, version, gateways, acknowledged)

    @property
    def services(self) -> list[ModelService]:
        return [state.service for _, state in sorted(self._wishes.services.items())]

    def status(self, name: str) -> ServiceStatus:
        """As of the last turn. Raises UnknownService."""
        state, traffic = self._wishes.state(name), self.stream.reports.traffic(name)
        url, open_door = self.settings.gateway_url, not self._edge.tenants
        now = self._clock.now()
        scaling = self._scaling.told(state, now)
        return status_of(
            state, traffic, scaling, gateway_url=url, open_door=open_door, platform=self._edge.platform, now=now
        )

    def statuses(self) -> list[ServiceStatus]:
        return [self.status(name) for name in sorted(self._wishes.services)]

    def tenants(self) -> list[TenantStatus]:
        """As of the last turn."""
        services = [state.view for state in self._wishes.services.values() if state.view is not None]
        return [tenant_status(view, services) for view in self.stream.snapshot.tenants]

    def limits(self) -> LimitsTold:
        return limits_told(self.stream.snapshot.limits)

    # The loop.

    async def _run(self) -> None:
        changed: asyncio.Future[None] | None = None
        try:
            while True:
                self._kick.clear()
                await self.tick()
                changed = changed or asyncio.ensure_future(self.backend.changed())
                kicked = asyncio.ensure_future(self._kick.wait())
                await asyncio.wait((changed, kicked), timeout=self.settings.tick_s, return_when=asyncio.FIRST_COMPLETED)
                kicked.cancel()
                if changed.done():
                    failure, changed = changed.exception(), None
                    if failure is not None:
                        self._failed("", "watching the backend", failure)
                        await asyncio.sleep(self.settings.tick_s)
        finally:
            if changed is not None:
                changed.cancel()

    async def tick(self) -> None:
        """One turn. Never raises; what went wrong is an event."""
        async with self._ticking:
            began = time.perf_counter()
            try:
                now, seen = self._clock.now(), by_service(self.backend.observe())
                states = tuple(self._wishes.services.values())
                for state in states:
                    self._look(state, seen.get(state.name, ()), now=now)
                self._scaling.turn(states, self._edge.platform, now)
                for state in states:
                    self._conclude(state)
                await self._carry_out()
                await self._wishes.clean(seen.keys())
                self.instruments.tick(self._wishes.services, time.perf_counter() - began)
            except Exception as error:
                self._failed("", "reconciling", error)

    def _look(self, state: ServiceState, seen: tuple[ObservedReplica, ...], *, now: float) -> None:
        """What became of one service since the last turn."""
        try:
            state.seen = seen
            version, settle_s = self.stream.snapshot.version, self.settings.settle_s
            reconcile.notice_ends(state, self.timeline)
            reconcile.notice_loop_lag(state, now=now)
            reconcile.judge(state, self.timeline, now=now)
            reconcile.settle(state, self.timeline, self.stream.reports, version, now=now, patience_s=settle_s)
        except Exception as error:
            self._failed(state.name, "looking", error)

    def _conclude(self, state: ServiceState) -> None:
        """What is wanted of the backend, and told to the gateways."""
        try:
            state.desired = reconcile.desired(state, self._template)
            state.cache_url = self._edge.cache_url(state.service)
            state.view = reconcile.view(state)
        except Exception as error:
            self._failed(state.name, "reconciling", error)

    async def _carry_out(self) -> None:
        """Publishes first: a gateway that looks away before its replica drains loses nothing."""
        states = [state for _, state in sorted(self._wishes.services.items())]
        views = tuple(state.view for state in states if state.view is not None)
        last = self.stream.snapshot
        # The first is told by the clock: a gateway that outlived another controller must not take ours for an old one.
        version = last.version + 1 if last.version else int(self._wall() * 1000)
        snapshot = Snapshot(version, views, self._edge.tenant_views(), self._edge.limits())
        if replace(snapshot, version=last.version) != last or not last.version:
            self.stream.publish(snapshot)
        wish = tuple(entry for state in states for entry in state.desired)
        if wish != self._wish:
            self._wish = None
            try:
                await self.backend.apply(wish)
                self._wish = wish
            except Exception as error:  # tried again at the next turn
                self._failed("", "telling the backend", error)

    def _template(self, revision: Revision) -> ReplicaTemplate:
        """Made once a revision: a backend may compare templates."""
        made = self._templates.get(revision.id)
        if made is None:
            service = revision.service
            made = self._templates[revision.id] = ReplicaTemplate(
                service=service.name,
                revision=revision.id,
                args=revision.template_args(),
                cpus=service.cpus,
                memory_limit=service.memory_limit_bytes,
                startup_s=service.load_timeout_s,
                # No request lives longer than its timeout; the floor leaves room for slow writes to slow clients.
                drain_s=min(self.settings.drain_s, max(5.0, service.timeout_s + 1.0)),
                # A predict that hangs with the interpreter lock in its hand stops the replica's own watch, too.
                silent_s=service.predict_timeout_s + self.settings.silence_s,
                preload=self.settings.preload(service),
            )
        return made

    def _on_report(self, report: GatewayReport) -> None:
        self._scaling.hear(report, self._clock.now())
        states = self._wishes.services.values()
        if any(state.replacement is not None or scales(state.service) for state in states):
            self._kick.set()  # a replacement may be waiting for this word, or a request for its first replica

    def _failed(self, service: str, step: str, error: BaseException) -> None:
        message = f"{step} failed: {type(error).__name__}: {error}"
        if self.timeline.record_once(service, Kind.ERROR, message, level=Level.ERROR):
            LOG.error("%s failed", step, exc_info=error)
