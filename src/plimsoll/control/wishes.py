"""What users ask for: objects applied and deleted, services scaled, one after another; all of a call or none of it."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from plimsoll.control.edge import Edge
from plimsoll.control.instruments import Instruments
from plimsoll.control.reconcile import tell_failure
from plimsoll.control.reports import ReportBook
from plimsoll.control.revisions import Revision, RevisionStore
from plimsoll.control.scaling.scaling import scales
from plimsoll.control.service_state import Replacement, ServiceState
from plimsoll.control.timeline import Kind, Timeline
from plimsoll.core.by_hand import check_by_hand
from plimsoll.core.errors import SpecError, SpecErrors, UserError
from plimsoll.core.units import format_duration
from plimsoll.ports.backend import ReplicaPhase
from plimsoll.ports.clock import Clock
from plimsoll.spec import Documents, ModelService, Whole, check_here, not_honoured

# Where a policy scales: whoever forgets a count set by hand pays for it an hour, not a month.
BY_HAND_S = 3600.0


@dataclass(frozen=True, slots=True)
class Applied:
    """`change`: created, updated or unchanged. Only services have revisions."""

    name: str
    revision: str
    revision_number: int
    change: str
    not_honoured: tuple[str, ...]
    kind: str = "ModelService"


class UnknownName(UserError):
    """No object has this name."""


class UnknownService(UnknownName):
    """No service has this name."""


class Wishes:
    """`services` by name. A turn of the loop reads it between awaits, so it sees a whole call or nothing of it."""

    def __init__(
        self,
        store: RevisionStore,
        timeline: Timeline,
        reports: ReportBook,
        instruments: Instruments,
        clock: Clock,
        edge: Edge,
        wall: Callable[[], float],
    ) -> None:
        self.services: dict[str, ServiceState] = {}
        self._edge = edge
        self._wall, self._epoch = wall, 0
        self._leaving: set[str] = set()  # deleted; replicas may still drain from their copies
        self._store, self._timeline, self._reports = store, timeline, reports
        self._instruments, self._clock = instruments, clock
        self._changing = asyncio.Lock()

    def state(self, name: str) -> ServiceState:
        """Raises UnknownService."""
        state = self.services.get(name)
        if state is None:
            known = ", ".join(sorted(self.services)) or "none"
            raise UnknownService(f"no service is named {name[:63]!r}; there are: {known}")
        return state

    async def apply(self, documents: Documents, cause: str, *, failing: bool = False) -> list[Applied]:
        """Raises SpecErrors or HostError; nothing has changed then. `failing`: a service whose model is missing is
        taken all the same and is Failed, so that the others serve."""
        services = documents.services
        async with self._changing:
            check_here(self._joined(documents))
            self._edge.check(documents)
            revisions = await asyncio.to_thread(self._make_revisions, services, failing)
            applied = [self._adopt(service, made, cause) for service, made in zip(services, revisions, strict=True)]
            for whole, change in self._edge.take(documents):
                applied.append(self._taken(whole, change))
            for service in services:
                await self._prune(self.services[service.name])
            return applied

    def _joined(self, documents: Documents) -> Documents:
        """All there would be."""
        services = {name: state.service for name, state in self.services.items()}
        tenants = dict(self._edge.tenants)
        for service in documents.services:
            services.pop(service.name, None)
        for tenant in documents.tenants:
            tenants.pop(tenant.name, None)
        platform = self._edge.platform
        stays = platform is not None and all(one.name != platform.name for one in documents.platforms)
        known = [*services.values(), *tenants.values(), *([platform] if platform is not None and stays else [])]
        return Documents.of(known).joined(documents)

    def _taken(self, whole: Whole, change: str) -> Applied:
        kind, name = type(whole).__name__, str(whole.dump()["metadata"]["name"])
        if change != "unchanged":
            self._timeline.record("", Kind.APPLIED, f"{kind.lower()} {name}: {change}")
        return Applied(name, "", 0, change, tuple(not_honoured(whole)), kind)

    async def scale(self, name: str, replicas: int | None, for_s: float | None = None) -> None:
        """Raises UserError for a negative number, one that no machine starts, or no time at all."""
        if replicas is not None:
            check_by_hand(replicas)
        if for_s is not None and not 0 < for_s < float("inf"):
            raise UserError(f"{for_s} seconds are no time to hold a count; expected more than 0")
        async with self._changing:
            state = self.state(name)
            if for_s is None and scales(state.service):
                for_s = BY_HAND_S
            until = None if replicas is None or for_s is None else self._clock.now() + for_s
            changed, state.replicas_until = replicas != state.replicas, until
            if changed:
                state.replicas = replicas
                told = f"scaled to {replicas}"
                if replicas is None:
                    told = f"scaled by its {'policy' if scales(state.service) else 'file'}: {state.wanted}"
                if until is not None and for_s is not None:
                    told += f" by hand, for {format_duration(for_s)}"
                self._timeline.record(name, Kind.SCALED, told, replicas=state.wanted)

    async def purge(self, name: str) -> None:
        """Raises UserError for a service that keeps no answers."""
        async with self._changing:
            state = self.state(name)
            if state.service.spec.cache is None:
                raise UserError(f"{name} keeps no answers: its file has no spec.cache")
            state.cache_epoch = self._next_epoch()
            self._timeline.record(name, Kind.PURGED, "cache purged")

    def _next_epoch(self) -> int:
        """Rises by the clock as long as nobody purges more than once a second: a shared cache outlives a controller,
        and the next one must not come back to an epoch whose answers were purged."""
        self._epoch = max(self._epoch + 1, int(self._wall()))
        return self._epoch

    async def delete(self, name: str) -> None:
        """Raises UserError where another service falls back to this one."""
        async with self._changing:
            self.state(name)
            users = [state.service for state in self.services.values() if name in state.service.fallback_services]
            if users:
                places = ", ".join(f"{one.name} ({one.place('spec.fallback')})" for one in users)
                raise UserError(f"{name} is what {places} falls back to; change or delete that first")
            del self.services[name]
            self._edge.forget("ModelService", name)
            self._leaving.add(name)
            self._timeline.record(name, Kind.DELETED, "deleted")

    async def delete_tenant(self, name: str) -> None:
        """Its keys open nothing any more. Raises UnknownName."""
        async with self._changing:
            if name not in self._edge.tenants:
                known = ", ".join(sorted(self._edge.tenants)) or "none"
                raise UnknownName(f"no tenant is named {name[:63]!r}; there are: {known}")
            self._edge.forget("Tenant", name)
            self._timeline.record("", Kind.DELETED, f"tenant {name}: deleted")

    async def delete_platform(self, name: str) -> None:
        """Everything has its default again. Raises UnknownName."""
        async with self._changing:
            platform = self._edge.platform
            if platform is None or platform.name != name:
                known = "none" if platform is None else platform.name
                raise UnknownName(f"no platform is named {name[:63]!r}; there is: {known}")
            self._edge.platform = None
            self._edge.forget("Platform", "")
            self._timeline.record("", Kind.DELETED, f"platform {name}: deleted")

    async def clean(self, running: Collection[str]) -> None:
        """Deletes the copies of deleted services that have no replica left."""
        for name in self._leaving - set(running):
            async with self._changing:
                self._leaving.discard(name)
                if name not in self.services:
                    self._instruments.forget(name)
                    await asyncio.to_thread(self._store.forget, name)

    async def _prune(self, state: ServiceState) -> None:
        used = {state.newest.id, *(replica.revision for replica in state.seen)}
        used |= {state.good.id} if state.good is not None else set()
        state.revisions = {known: revision for known, revision in state.revisions.items() if known in used}
        await asyncio.to_thread(self._store.prune, state.name, state.revisions.keys())

    def _make_revisions(self, services: Sequence[ModelService], failing: bool) -> list[Revision]:
        made: list[Revision] = []
        problems: list[SpecError] = []
        for service in services:
            try:
                made.append(self._store.make(service))
            except SpecError as problem:
                if failing:
                    made.append(self._store.missing(service, str(problem)))
                else:
                    problems.append(problem)
        if problems:
            raise SpecErrors(problems)
        return made

    def _adopt(self, service: ModelService, made: Revision, cause: str) -> Applied:
        """Makes it the wanted state. No await: a tick sees all of it or nothing."""
        state = self.services.get(service.name)
        known = state is not None
        if state is None:
            state = self.services[service.name] = ServiceState(service, made, cache_epoch=self._next_epoch())
        changed = not known or service != state.service or made.id != state.newest.id
        if not known or made.id != state.newest.id or state.failure is not None:
            if made.id not in state.revisions:
                self._instruments.new_revision(service.name)
            state.newest = state.revisions.setdefault(made.id, made)
            state.failed.pop(made.id, None)  # asking again is trying again
            state.replacement = self._replacement(state, cause)
        if made.problem and made.id not in state.failed:
            state.failed[made.id] = made.problem
            tell_failure(state, made, made.problem, self._timeline)
        if service.spec.replicas is not None and service.spec.replicas != state.service.spec.replicas:
            state.replicas = state.replicas_until = None  # the file says a new number
        state.service = service
        change = "created" if not known else "updated" if changed else "unchanged"
        if changed and not made.problem:
            number = state.newest.number
            self._timeline.record(service.name, Kind.APPLIED, f"{change}: rev {number}", revision_number=number)
        told = tuple(not_honoured(service, platform=self._edge.platform))
        return Applied(service.name, state.newest.id, state.newest.number, change, told)

    def _replacement(self, state: ServiceState, cause: str) -> Replacement:
        serving = {state.number(replica.revision) for replica in state.seen if replica.phase is ReplicaPhase.READY}
        replaces = tuple(sorted(serving - {state.newest.number, 0}))
        failures = self._reports.failures(state.name)
        served = 0 < state.wanted <= state.ready(state.newest.id)
        return Replacement(state.newest, self._clock.now(), cause, replaces, failures, served)
