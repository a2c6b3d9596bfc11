"""`plimsoll profile`: starts real replicas as `up` does, drives one at rising concurrency, fits what was timed.

Each start is a cold start, from asking for a replica to its first answer. The last replica stays and is driven by 1, 2,
4 … callers, each with one request at a time, over the same socket that a gateway would use. Its latency budget and
timeout are lifted meanwhile: nothing may be refused. How long batches take is noted in the replica (`app.profiled`).
"""

import asyncio
import os
import platform
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from plimsoll.app.callers import Callers
from plimsoll.app.child_host import on_signals, run_loop
from plimsoll.app.example import bodies_of, targets_of
from plimsoll.app.local import MODULES, machine_room, preloads
from plimsoll.app.model_digest import model_digest
from plimsoll.app.noting import Notes, NotingSpawner
from plimsoll.app.replica_args import MAX_BATCH
from plimsoll.app.through_gateway import answers_through, gateway_before, latencies_through, moderate, requests_for
from plimsoll.backends.local import processes
from plimsoll.backends.local.backend import LocalBackend
from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.control.revisions import Revision, RevisionStore
from plimsoll.control.scaling.capacity import Room
from plimsoll.core.errors import HostError, ModelLoadError
from plimsoll.insight.profile import Profile
from plimsoll.insight.profiling import Fit, Loaded, Phase, beside, capacity, fit, quantile, under_load, waking
from plimsoll.load import Target
from plimsoll.ports.backend import DesiredReplicas, ObservedReplica, ReplicaPhase, ReplicaTemplate
from plimsoll.ports.spawner import Spawner
from plimsoll.spec import ModelService

STARTS = 3
_ENTRY = "plimsoll.app.profiled:main"
_ENTRIES = ("plimsoll.app.profiled", "plimsoll.app.through_gateway")
_THROUGH = 0.4  # of the seconds that batches are timed: lone requests through a gateway come on top
_MOST_BESIDE = 4  # replicas
_MOST_CALLERS = 256
_SETTLE = 0.2  # of a phase, before anything counts
_LEAST_BATCHES = 8  # of a phase, unless it takes five times its share of the time
_PATIENCE = 5.0
_GROWTH = 1.1  # of the mean batch; two doublings of the callers that bring less have found the largest
_NOTED_S = 0.05  # until a replica has noted what ran
_LONG = "1h"  # no request of a measurement is late

Say = Callable[[str, float], None]  # what is going on, and the share that is done


@dataclass(frozen=True, slots=True)
class Options:
    seconds: float = 10.0
    starts: int = STARTS
    start_method: str = "fork"


@dataclass(frozen=True, slots=True)
class Profiled:
    """`starts_s`: cold starts in their order. `capacity_per_s`: items a second inside the p99 budget, at batches of
    `capacity_batch`; 0 where the budget is impossible; without a budget at the largest batch."""

    profile: Profile
    fit: Fit
    starts_s: tuple[float, ...]
    phases: tuple[Phase, ...]
    p99_s: float | None
    capacity_per_s: float
    capacity_batch: int
    note: str = ""  # on what was sent
    busy: float = 0.0  # processes that wanted a core before it began, a core: above 1 others are in the way


def run_profile(service: ModelService, options: Options, say: Say) -> Profiled:
    """Raises UserError and ModelLoadError for what the file or the model is to blame for, HostError, and
    KeyboardInterrupt after Ctrl-C, once no process is left."""
    folder = Path(tempfile.mkdtemp(prefix="plimsoll-"))
    try:
        return run_loop(_interruptible(service, options, say, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _interruptible(service: ModelService, options: Options, say: Say, folder: Path) -> Profiled:
    work = asyncio.ensure_future(_Profiling(service, options, say, folder).run())
    on_signals(lambda: _cancel(work), signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        return await work
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _cancel(work: "asyncio.Future[Profiled]") -> None:
    work.cancel()


class _Profiling:
    def __init__(self, service: ModelService, options: Options, say: Say, folder: Path) -> None:
        self._service, self._options, self._say, self._folder = service, options, say, folder
        self._notes = Notes(folder / "notes")
        self._total = options.starts + options.seconds  # for the progress; a start counts as a second
        self._done = 0.0
        self._memory = 0
        self._busy = _load()

    async def run(self) -> Profiled:
        service, options = self._service, self._options
        revision = await asyncio.to_thread(RevisionStore(self._folder).make, service)
        bodies_of(service)  # what can't be read is said before anything starts
        async with self._backend() as (backend, spawner):
            starts: list[float] = []
            replica: ObservedReplica | None = None
            targets: list[Target] = []
            note = ""
            template = _template(revision)
            for number in range(options.starts):
                if replica is not None:
                    await self._stop(backend)
                self._tell(f"cold start {number + 1} of {options.starts}")
                began = monotonic()
                await backend.apply((DesiredReplicas(template, 1),))
                (replica,) = await self._ready(backend)
                targets, note = targets_of(service, replica.address, spawner.model)
                await Callers(targets).once()
                starts.append(monotonic() - began)
                self._done += 1
            assert replica is not None
            phases = await self._drive(replica, targets, _limit(service, spawner.model))
            through = await self._through(replica, targets, phases, spawner.plain)
            loaded = await self._loaded(backend, template, targets, phases, through, spawner.plain)
        return self._result(revision, phases, starts, note, _limit(service, spawner.model), through, loaded)

    @asynccontextmanager
    async def _backend(self) -> AsyncIterator[tuple[LocalBackend, NotingSpawner]]:
        self._tell("warming up, as plimsoll up does")
        fork = self._options.start_method == "fork"
        processes_of = ForkSpawner(self._folder, modules=(*MODULES, *_ENTRIES)) if fork else ExecSpawner()
        spawner = NotingSpawner(processes_of, self._notes)
        backend = LocalBackend(self._folder, entry=_ENTRY, spawner=spawner)
        try:
            if isinstance(processes_of, ForkSpawner):
                await processes_of.warm(preloads(self._service))
            await backend.start()
            try:
                yield backend, spawner
            finally:
                with suppress(asyncio.CancelledError):
                    await backend.close()
        finally:
            with suppress(asyncio.CancelledError):
                await spawner.close()

    async def _ready(self, backend: LocalBackend, count: int = 1) -> list[ObservedReplica]:
        """So many. Raises ModelLoadError with its reason where one doesn't get ready."""
        while (ready := enough(backend.observe(), count)) is None:
            await backend.changed()
        return ready

    async def _stop(self, backend: LocalBackend) -> None:
        await backend.apply(())
        while backend.observe():
            await backend.changed()

    async def _drive(self, replica: ObservedReplica, target: list[Target], limit: int) -> list[Phase]:
        most = min(2 * limit, _MOST_CALLERS)
        steps = [count for count in (2**power for power in range(20)) if count < most] + [most]
        slot_s = self._options.seconds / len(steps)
        callers = Callers(target)
        phases: list[Phase] = []
        try:
            for callers_count in steps:
                self._tell(f"{callers_count} at a time", phases)
                await callers.grow(callers_count)
                phase = await self._phase(replica, callers, slot_s)
                self._done += slot_s
                if phase.batches:
                    phases.append(phase)
                if _has_found_the_largest(phases) or phase.wall_s > 2 * slot_s:
                    break
        finally:
            callers.close()
        return phases

    async def _phase(self, replica: ObservedReplica, callers: Callers, slot_s: float) -> Phase:
        callers.start()
        try:
            await asyncio.sleep(_SETTLE * slot_s)
            self._notes.new()
            callers.take()
            began, cpu = monotonic(), self._cpu_s(replica)
            batches: list[tuple[int, float]] = []
            while True:
                await asyncio.sleep(min(0.05, slot_s))
                batches += self._notes.new()
                lasted = monotonic() - began
                if lasted >= slot_s * (1 - _SETTLE) and len(batches) >= _LEAST_BATCHES:
                    break
                callers.check()
                if lasted >= _PATIENCE * slot_s and (batches or lasted > self._service.predict_timeout_s + 1):
                    break
            wall = monotonic() - began
            return Phase(callers.count, wall, self._cpu_s(replica) - cpu, batches, callers.take())
        finally:
            await callers.stop()

    async def _through(
        self, replica: ObservedReplica, targets: list[Target], phases: list[Phase], spawner: Spawner
    ) -> Phase | None:
        """Lone requests through a gateway; None: nobody would see one beside this model."""
        alone = phases[0].latencies_s if phases else ()
        count, gap_s = requests_for(quantile(alone, 0.5), _THROUGH * self._options.seconds) if alone else (0, 0.0)
        if not count:
            return None
        self._tell("through a gateway", phases)
        async with gateway_before(spawner, self._folder, self._service, [replica.address]) as door:
            self._notes.new()
            began, cpu = monotonic(), self._cpu_s(replica)
            latencies = await latencies_through(door, targets, count, gap_s)
            wall_s, cpu_s = monotonic() - began, self._cpu_s(replica) - cpu
            await asyncio.sleep(_NOTED_S)
            return Phase(1, wall_s, cpu_s, self._notes.new(), latencies)

    async def _loaded(
        self,
        backend: LocalBackend,
        template: ReplicaTemplate,
        targets: list[Target],
        phases: list[Phase],
        rest: Phase | None,
        spawner: Spawner,
    ) -> Loaded | None:
        """A moderate rate at as many replicas as `up` would have here: they share its cores, and caches, with each
        other and with the gateway."""
        if rest is None or not rest.latencies_s:
            return None
        replicas = most_here(self._service, machine_room(None)(), self._memory)
        batch_s = phases[0].wall_s / max(len(phases[0].batches), 1)
        count, gap_s = moderate(batch_s, quantile(rest.latencies_s, 0.5), replicas, _THROUGH * self._options.seconds)
        if not count:
            return None
        self._tell(f"through a gateway, {1 / gap_s:,.0f}/s at {replicas}" if replicas > 1 else "at a moderate rate")
        await backend.apply((DesiredReplicas(template, replicas),))
        ready = await self._ready(backend, replicas)
        async with gateway_before(spawner, self._folder, self._service, [one.address for one in ready]) as door:
            self._notes.new()
            answers = await answers_through(door, targets, count, gap_s)
            await asyncio.sleep(_NOTED_S)
            return Loaded(answers, self._notes.new())

    def _cpu_s(self, replica: ObservedReplica) -> float:
        """Of all its processes; and their memory is looked at."""
        pid = replica.pid
        if pid is None:
            raise HostError(f"the replica of {self._service.name} ended: {replica.reason or 'no reason is known'}")
        members = processes.group_members([pid])[pid]
        self._memory = max(self._memory, processes.resident_bytes(members))
        return processes.cpu_seconds(members)

    def _tell(self, what: str, phases: list[Phase] | None = None) -> None:
        if phases:
            last = phases[-1]
            what += f"   {last.items / last.wall_s:,.0f}/s before, batches of {last.items / len(last.batches):.3g}"
        self._say(what, min(self._done / self._total, 1.0))

    def _result(
        self,
        revision: Revision,
        phases: list[Phase],
        starts: list[float],
        note: str,
        limit: int,
        rest: Phase | None,
        loaded: Loaded | None,
    ) -> Profiled:
        service = self._service
        if not phases:
            raise HostError(
                f"{service.name}: no batch ended within {self._options.seconds:g} s; give it more: --seconds"
            )
        cores = max(1.0, float(service.threads))
        found = fit(phases, cores=cores)
        most = found.fits_up_to if found.misfit and found.fits_up_to else limit
        profile = Profile(
            a_s=_rounded(found.a_s),
            c_s=_rounded(found.c_s),
            spread=round(found.spread, 4),
            overhead_s=_rounded(found.overhead_s),
            cold_s=round(quantile(starts, 0.5), 4),
            cold_p90_s=round(quantile(starts, 0.9), 4),
            cpu=round(found.cpu, 4),
            memory_bytes=self._memory,
            max_batch=most,
            lognormal=found.lognormal,
            name=service.name,
            revision=revision.id,
            machine=_machine(),
            model=model_digest(service),
        )
        if rest is not None and rest.latencies_s:
            profile = replace(profile, wake_s=_rounded(waking(rest, phases[0], cores=cores)))
            gateway_s, p90_s, p99_s = beside(profile, rest.latencies_s)
            profile = replace(profile, gateway_s=gateway_s, beside_p90_s=p90_s, beside_p99_s=p99_s)
            profile = _without_made_up_digits(profile if loaded is None else under_load(profile, found, loaded))
        batch, rate = capacity(profile, service.p99_s)
        return Profiled(profile, found, tuple(starts), tuple(phases), service.p99_s, rate, batch, note, self._busy)


def _template(revision: Revision) -> ReplicaTemplate:
    """As `control` makes it, but that no request is late: the budget is for those who ask in earnest."""
    service = revision.service
    args = revision.template_args()
    written = service.dump()
    written["spec"].pop("budget", None)
    written["spec"]["timeout"] = _LONG
    written["spec"].get("batching", {}).pop("linger", None)
    return ReplicaTemplate(
        service=service.name,
        revision=revision.id,
        args={**args, "service": written},
        cpus=service.cpus,
        memory_limit=service.memory_limit_bytes,
        startup_s=service.load_timeout_s,
        drain_s=1.0,
        preload=preloads(service),
    )


def enough(seen: Sequence[ObservedReplica], count: int) -> list[ObservedReplica] | None:
    """Those that are ready, once they are `count`. Raises ModelLoadError with its reason where one won't be."""
    ready = [one for one in seen if one.phase is ReplicaPhase.READY]
    if len(ready) >= count:
        return ready
    for one in seen:
        if one.phase in (ReplicaPhase.FAILED, ReplicaPhase.BACKING_OFF):
            raise ModelLoadError(f"{one.service} did not get ready: {one.reason}", detail="\n".join(one.log_tail))
    return None


def most_here(service: ModelService, room: Room, memory_bytes: int) -> int:
    """Replicas that the file lets it have, as far as `room` goes: for all of them of cores, of memory for those beside
    the one that runs and takes `memory_bytes`. 4 say what more would."""
    beside = _MOST_BESIDE if room.memory_bytes is None else room.memory_bytes // max(memory_bytes, 1)
    return max(1, min(service.max_replicas, int(room.cores / service.cpus), 1 + beside, _MOST_BESIDE))


def _limit(service: ModelService, model: dict[str, Any]) -> int:
    """Items in one call at most: the file's word, and the model's."""
    written = service.max_batch or MAX_BATCH
    return min(written, model.get("max_batch") or written)


def _has_found_the_largest(phases: list[Phase]) -> bool:
    if len(phases) < 4:
        return False
    means = [phase.items / len(phase.batches) for phase in phases]
    return means[-1] < _GROWTH * means[-3]


def _load() -> float:
    """Over the last minute, a core."""
    try:
        return os.getloadavg()[0] / max(len(processes.available_cores()), 1)
    except OSError:
        return 0.0


def _without_made_up_digits(profile: Profile) -> Profile:
    names = ("a_s", "c_s", "wake_s", "gateway_s", "beside_p90_s", "beside_p99_s")
    found = {name: getattr(profile, name) for name in names}
    rounded: dict[str, Any] = {name: _rounded(value) for name, value in found.items() if value is not None}
    return replace(profile, spread=round(profile.spread, 4), **rounded)


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")


def _machine() -> str:
    cores = len(processes.available_cores()) or "?"
    return f"{platform.system()} {platform.machine()}, {cores} cores"
