"""What users ask for: services applied, scaled and deleted, one after another; all of a call or none of it."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from plimsoll.control.instruments import Instruments
from plimsoll.control.reconcile import tell_failure
from plimsoll.control.reports import ReportBook
from plimsoll.control.revisions import Revision, RevisionStore
from plimsoll.control.service_state import Replacement, ServiceState
from plimsoll.control.timeline import Kind, Timeline
from plimsoll.core.errors import SpecError, SpecErrors, UserError
from plimsoll.ports.backend import ReplicaPhase
from plimsoll.ports.clock import Clock
from plimsoll.spec import ModelService, check_unique, not_honoured


@dataclass(frozen=True, slots=True)
class Applied:
    """`change`: created, updated or unchanged."""

    name: str
    revision: str
    revision_number: int
    change: str
    not_honoured: tuple[str, ...]


class UnknownService(UserError):
    """No service has this name."""


class Wishes:
    """`services` by name. A turn of the loop reads it between awaits, so it sees a whole call or nothing of it."""

    def __init__(
        self, store: RevisionStore, timeline: Timeline, reports: ReportBook, instruments: Instruments, clock: Clock
    ) -> None:
        self.services: dict[str, ServiceState] = {}
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

    async def apply(self, services: Sequence[ModelService], cause: str, *, failing: bool = False) -> list[Applied]:
        """Raises SpecErrors or HostError; nothing has changed then. `failing`: a service whose model is missing is
        taken all the same and is Failed, so that the others serve."""
        async with self._changing:
            names = {service.name for service in services}
            check_unique([*(state.service for name, state in self.services.items() if name not in names), *services])
            revisions = await asyncio.to_thread(self._make_revisions, services, failing)
            applied = [self._adopt(service, made, cause) for service, made in zip(services, revisions, strict=True)]
            for service in services:
                await self._prune(self.services[service.name])
            return applied

    async def scale(self, name: str, replicas: int | None) -> None:
        """Raises UserError for a negative number."""
        if replicas is not None and replicas < 0:
            raise UserError(f"{replicas} replicas are not possible; expected 0 or more")
        async with self._changing:
            state = self.state(name)
            if replicas != state.replicas:
                state.replicas = replicas
                told = f"scaled to {replicas}" if replicas is not None else f"scaled by its file: {state.wanted}"
                self._timeline.record(name, Kind.SCALED, told, replicas=state.wanted)

    async def delete(self, name: str) -> None:
        async with self._changing:
            self.state(name)
            del self.services[name]
            self._leaving.add(name)
            self._timeline.record(name, Kind.DELETED, "deleted")

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
            state = self.services[service.name] = ServiceState(service, made)
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
            state.replicas = None  # the file says a new number
        state.service = service
        change = "created" if not known else "updated" if changed else "unchanged"
        if changed and not made.problem:
            number = state.newest.number
            self._timeline.record(service.name, Kind.APPLIED, f"{change}: rev {number}", revision_number=number)
        told = tuple(not_honoured(service))
        return Applied(service.name, state.newest.id, state.newest.number, change, told)

    def _replacement(self, state: ServiceState, cause: str) -> Replacement:
        serving = {state.number(replica.revision) for replica in state.seen if replica.phase is ReplicaPhase.READY}
        replaces = tuple(sorted(serving - {state.newest.number, 0}))
        failures = self._reports.failures(state.name)
        return Replacement(state.newest, self._clock.now(), cause, replaces, failures)
