"""Replicas as pods, behind the `Backend` port: what is comes from watches and from the pods themselves, what should be
goes out as counts of workloads.

    KubernetesBackend(api)                                   a cluster's controller: workloads are the operator's
    KubernetesBackend(api, namespace="lab", make=objects)    without an operator: makes each revision's workload itself

A count is written where a workload asks for another, once an `apply`: on a cluster whoever leads calls it each second,
and whoever leads no more must write nothing. Only a backend that made its workloads keeps them so by itself.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from plimsoll.backends.kubernetes.api import APPLY_PATCH, Api, ApiError, Unreachable, path_of
from plimsoll.backends.kubernetes.counts import APPS, PLURALS, Counts
from plimsoll.backends.kubernetes.following import Logs
from plimsoll.backends.kubernetes.marks import costs_to_write, deletion_costs, drain_marks
from plimsoll.backends.kubernetes.names import CONTROLLER, REVISION_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj, key_of
from plimsoll.backends.kubernetes.pods import PodSeen, read_pod
from plimsoll.backends.kubernetes.replica import Around, PodReplica
from plimsoll.backends.kubernetes.watching import Change, Key, Watch
from plimsoll.backends.wakeup import Wakeup
from plimsoll.ports.backend import DesiredReplicas, ObservedReplica, ReplicaPhase, ReplicaTemplate

LOG = logging.getLogger(__name__)

_TAIL_LINES = 20
_TAIL_S = 2.0
_WATCH_S = 2.0
_RETRY_S = 1.0
_AT_ONCE = 16  # writes under way

Make = Callable[[ReplicaTemplate, str], tuple[Obj, ...]]
"""From a template and a namespace to the objects of its revision: one workload named by the revision, and what it
needs, each with `SERVICE_LABEL`; the pods carry `REVISION_LABEL`. Without `spec.replicas`."""


class KubernetesBackend:
    """`ports.backend.Backend`. `namespace` "": of the whole cluster. A service is NAMESPACE/NAME, where `make` is given
    the plain name. `kind`: of a node's name. `prices`: of a kind; dearer replicas are let go first. `may_write`: asked
    once more right before each write, for one that was asked for may have waited since: for others, for a connection,
    for a process that stood still. The API stays its caller's."""

    def __init__(
        self,
        api: Api,
        *,
        namespace: str = "",
        make: Make | None = None,
        kind: Callable[[str], str] = lambda node: "",
        prices: Callable[[], Mapping[str, float]] = dict,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._api, self._namespace, self._make, self._prices = api, namespace, make, prices
        self._may_write = may_write
        self._wakeup = Wakeup()
        self._replicas: dict[Key, PodReplica] = {}
        self._pods: Watch[PodSeen] = Watch(
            api,
            path_of("v1", "pods", namespace),
            keep=read_pod,
            on_change=self._on_pod,
            label_selector=f"{SERVICE_LABEL},{REVISION_LABEL}",
        )
        self.counts = Counts(api, namespace, self._on_count)
        self._logs = Logs(api) if make is not None else None
        self._may_read_logs = True
        self._around = Around(self._wakeup.notify, self._tail, kind, self._load_s)
        self._templates: dict[str, ReplicaTemplate] = {}
        self._wish: tuple[DesiredReplicas, ...] = ()
        self._made: dict[str, tuple[Obj, ...]] = {}
        self._due = asyncio.Event()
        self._underway: set[Key] = set()  # workloads that are being written
        self._marked: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._acts: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._closing = False
        self.problem = ""  # why the last write failed; "" when it went well

    async def start(self) -> None:
        """Returns once everything was heard of once."""
        self._tasks = [asyncio.create_task(self._pods.run()), *self.counts.tasks(), asyncio.create_task(self._look())]
        if self._make is not None:
            self._tasks.append(asyncio.create_task(self._keep()))
        await self._pods.synced.wait()
        await self.counts.synced()

    async def apply(self, desired: tuple[DesiredReplicas, ...]) -> None:
        if self._closing:
            return
        self._wish = desired
        self._templates |= {one.template.revision: one.template for one in desired}
        if self._make is not None:
            self._due.set()
            return
        for one in desired:
            key = Key(one.template.service.rpartition("/")[0], one.template.revision)
            count = self.counts.count(*key)
            if count is not None and count != one.count and key not in self._underway:
                self._underway.add(key)
                self._act(self._scale(*key, count, one.count), lambda key=key: self._underway.discard(key))  # type: ignore[misc]
        self._mark_draining()

    def observe(self) -> tuple[ObservedReplica, ...]:
        self._wakeup.seen()
        return tuple(replica.observed for replica in self._replicas.values())

    async def changed(self) -> None:
        await self._wakeup.wait()

    def logs(self, service: str, *, replica: str | None = None, lines: int = 100) -> list[str]:
        """Only where the backend made the workloads: a controller of a whole cluster follows no logs."""
        if self._logs is None:
            return []
        told = self._logs.of(self._full(service), replica, lines)
        share = max(1, lines // max(1, len(told)))
        found = [f"{name} {line}" for name, part in told for line in part[-share:]]
        return found[-lines:] if lines > 0 else []

    async def close(self) -> None:
        """Ends what it made, and waits until it is gone; workloads of others stay as they are."""
        self._closing = True
        self._wish = ()
        if self._make is not None and self._tasks:
            self._due.set()
            while self._made or any(replica.pod.revision in self._templates for replica in self._replicas.values()):
                self._wakeup.seen()
                await self._wakeup.wait()
        for task in (*self._tasks, *self._acts):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._acts, return_exceptions=True)
        self._tasks = []
        if self._logs is not None:
            await self._logs.close()
        for replica in self._replicas.values():
            replica.close()
        self._replicas.clear()

    @property
    def problems(self) -> tuple[str, ...]:
        """Why what it tells may be old, or what was asked for isn't done."""
        return tuple(filter(None, (self._pods.problem, *self.counts.problems, self.problem)))

    def labels_of(self, namespace: str, pod: str) -> Mapping[str, str] | None:
        """None: there is no such pod."""
        known = self._replicas.get(Key(namespace, pod))
        return None if known is None else known.pod.labels

    def use_cpu(self, cores: Mapping[tuple[str, str], float]) -> None:
        """Cores in use by namespace and pod, as a metrics server tells them."""
        for key, replica in self._replicas.items():
            replica.use_cpu(cores.get((key.namespace, key.name)))

    # --- what watches tell --------------------------------------------------------------------------------------------

    def _on_pod(self, change: Change, key: Key, pod: PodSeen) -> None:
        known = self._replicas.get(key)
        if change is Change.DELETED or (known is not None and known.pod.uid != pod.uid):
            if known is not None:
                del self._replicas[key]
                known.close()
                if self._logs is not None:
                    self._logs.forget(known.pod)
            self._marked.discard(pod.uid)
            known = None
        if change is not Change.DELETED:
            if known is None:
                known = self._replicas[key] = PodReplica(self._plain(pod), self._around)
            else:
                known.take(self._plain(pod))
            if self._logs is not None:
                self._logs.follow(pod)
        self._wakeup.notify()

    def _plain(self, pod: PodSeen) -> PodSeen:
        """A backend of one namespace calls services as it was told to."""
        template = self._templates.get(pod.revision)
        return pod if template is None or self._make is None else replace(pod, service=template.service)

    def _full(self, service: str) -> str:
        return service if "/" in service else f"{self._namespace}/{service}"

    def _on_count(self) -> None:
        self._due.set()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            now = asyncio.get_running_loop().time()
            for replica in list(self._replicas.values()):
                replica.check_silence(now)

    # --- what is written ----------------------------------------------------------------------------------------------

    def _act(self, work: Coroutine[Any, Any, None], done: Callable[[], None] = lambda: None) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)
        task.add_done_callback(lambda _: done())

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._room:
            try:
                await work
                self.problem = ""
            except (ApiError, Unreachable) as error:
                if str(error) != self.problem:
                    LOG.warning("a write was refused: %s", error)
                self.problem = str(error)

    async def _scale(self, namespace: str, workload: str, before: int, count: int) -> None:
        if count < before:
            await self._mark_busy(namespace, workload)
        if self._may_write():
            await self.counts.write(namespace, workload, count)

    async def _mark_busy(self, namespace: str, workload: str) -> None:
        """So that the idle ones go. Without that word some go all the same: a failure here stops nothing."""
        mine = {
            key.name: replica
            for key, replica in self._replicas.items()
            if key.namespace == namespace and replica.pod.revision == workload
        }
        costs = deletion_costs([replica.observed for replica in mine.values()], self._prices())
        marks = costs_to_write({name: replica.pod for name, replica in mine.items()}, costs)
        told = await asyncio.gather(
            *(self._annotate(namespace, name, found) for name, found in marks.items()), return_exceptions=True
        )
        for error in told:
            if isinstance(error, BaseException) and not isinstance(error, ApiError | Unreachable):
                raise error

    def _mark_draining(self) -> None:
        for key, replica in self._replicas.items():
            pod = replica.pod
            if pod.phase is ReplicaPhase.DRAINING and pod.uid not in self._marked:
                self._marked.add(pod.uid)
                if marks := drain_marks(pod):
                    self._act(self._annotate(key.namespace, key.name, marks))

    async def _annotate(self, namespace: str, name: str, marks: Mapping[str, str]) -> None:
        if not self._may_write():
            return
        try:
            await self._api.patch(
                path_of("v1", "pods", namespace, name),
                {"metadata": {"annotations": dict(marks)}},
                params={"fieldManager": CONTROLLER},
            )
        except ApiError as error:
            if error.code != 404:
                raise

    # --- without an operator ------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """What was made stays as it was wished."""
        while True:
            self._due.clear()
            try:
                await self._make_so()
                self.problem = ""
            except (ApiError, Unreachable) as error:
                self.problem = str(error)
                LOG.warning("replicas could not be changed: %s; again in %g s", error, _RETRY_S)
                await asyncio.sleep(_RETRY_S)
                continue
            await self._due.wait()

    async def _make_so(self) -> None:
        assert self._make is not None
        wish = {one.template.revision: one for one in self._wish}
        for revision in self._made.keys() - wish.keys():
            for obj in reversed(self._made[revision]):
                await self._delete(obj)
            del self._made[revision]
            self._wakeup.notify()
        for revision, one in wish.items():
            if revision not in self._made:
                made = self._make(one.template, self._namespace)
                for obj in made:
                    await self._create(obj, one.count)
                self._made[revision] = made
            elif (count := self.counts.count(self._namespace, revision)) is not None and count != one.count:
                await self._scale(self._namespace, revision, count, one.count)

    async def _create(self, obj: Obj, count: int) -> None:
        key = key_of(obj)
        if key.kind in PLURALS:
            obj = obj | {"spec": obj["spec"] | {"replicas": count}}
        params = {"fieldManager": CONTROLLER, "force": "true"}
        await self._api.patch(self._path(obj), obj, kind=APPLY_PATCH, params=params)

    async def _delete(self, obj: Obj) -> None:
        try:
            await self._api.delete(self._path(obj), {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.code != 404:
                raise

    def _path(self, obj: Obj) -> str:
        key = key_of(obj)
        plural = PLURALS.get(key.kind) or f"{key.kind.lower()}s"
        return path_of(APPS if key.kind in PLURALS else key.api_version, plural, self._namespace, key.name)

    # --- for replicas -------------------------------------------------------------------------------------------------

    def _load_s(self, revision: str) -> float | None:
        template = self._templates.get(revision)
        return None if template is None or self._make is None else template.startup_s

    async def _tail(self, pod: PodSeen) -> tuple[str, ...]:
        """Best effort: a controller needn't be allowed to read logs."""
        if not self._may_read_logs:
            return ()
        path = path_of("v1", "pods", pod.namespace, pod.name, "log")
        try:
            async with asyncio.timeout(_TAIL_S):
                text = await self._api.text(path, {"container": pod.container, "tailLines": str(_TAIL_LINES)})
        except ApiError as error:
            self._may_read_logs = error.code != 403
            return ()
        except (Unreachable, TimeoutError):
            return ()
        return tuple(line for line in text.splitlines() if line.strip())
