"""Which objects are watched, and what the cache makes of them: each one long request, and no list when idle."""

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.conditions import Reason
from plimsoll.backends.kubernetes.names import API_VERSION
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator import kinds
from plimsoll.backends.kubernetes.operator.cache import (
    POD_SELECTOR,
    Cache,
    keep_mount,
    keep_namespace,
    keep_owned,
    keep_pod,
    keep_workload,
)
from plimsoll.backends.kubernetes.operator.kinds import Kind
from plimsoll.backends.kubernetes.operator.plain import PLATFORMS, TENANTS
from plimsoll.backends.kubernetes.operator.seen import Node, node_of, revision_of, service_of
from plimsoll.backends.kubernetes.operator.wanting import Problem
from plimsoll.backends.kubernetes.watching import Watch, WatchSettings

LOG = logging.getLogger(__name__)

# A page of a hundred Deployments is 1 MB of JSON and ten of dicts, for a moment.
_SETTINGS = WatchSettings(page=100)


class Watches:
    """`synced`: whether all was seen that decisions need."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        namespaces: Collection[str],
        *,
        on_platform: Callable[[], None],
        on_tenant: Callable[[], None],
    ) -> None:
        self._api, self._cache = api, cache
        self._namespaces = tuple(namespaces) or ("",)
        self._tasks: dict[Watch[Any], asyncio.Task[None]] = {}
        self._foreign: dict[Kind, list[Watch[Any]]] = {}
        self._crash: asyncio.Future[None] | None = None
        self.platforms = self._cluster(PLATFORMS, partial(_plain, kind="Platform"), lambda *_: on_platform())
        self.tenants = self._cluster(TENANTS, partial(_plain, kind="Tenant"), lambda *_: on_tenant())
        self.nodes: Watch[Node] = self._cluster(Kind("v1", "Node", "nodes"), node_of, None)
        names = self._cluster(Kind("v1", "Namespace", "namespaces"), keep_namespace, cache.take_namespace)
        self._needed: list[Watch[Any]] = [
            *self._spread(kinds.SERVICES, service_of, cache.take_service),
            *self._spread(Kind("v1", "Pod", "pods"), keep_pod, cache.take_pod, label_selector=POD_SELECTOR),
            *self._spread(kinds.REVISIONS, revision_of, cache.take_revision),
        ]
        for kind in kinds.WORKLOADS:
            keep, take = partial(keep_workload, kind=kind), partial(cache.take_workload, kind)
            self._needed += self._spread(kind, keep, take, label_selector=kinds.OWNED_SELECTOR)
        self._helpful: list[Watch[Any]] = [self.platforms, self.tenants, self.nodes, names]
        self._helpful += self._spread(
            Kind("v1", "Event", "events"), keep_mount, cache.take_mount, field_selector="reason=FailedMount"
        )
        for kind in kinds.OWNED:
            if not kind.foreign:
                self._helpful += self._owned(kind)

    @property
    def all(self) -> list[Watch[Any]]:
        return [*self._needed, *self._helpful, *(one for watches in self._foreign.values() for one in watches)]

    @property
    def synced(self) -> bool:
        """What helps as well, unless it can't be seen: services rendered without the Platform would be others, and an
        object that isn't seen yet would be applied once more."""
        helped = all(one.synced.is_set() or one.problem for one in self.all)
        return helped and all(one.synced.is_set() for one in self._needed)

    @property
    def away(self) -> bool:
        """Whether the API server doesn't answer."""
        return any(one.away for one in self.all)

    def blind(self) -> Problem | None:
        """What is needed and may not be seen."""
        for one in self._needed:
            if "may not be watched" in one.problem:
                message = f"{one.problem}; ClusterRole plimsoll-operator (plimsoll install prints it)"
                return Problem(Reason.FORBIDDEN, message)
        return None

    def platform_objects(self) -> dict[str, Obj]:
        return {key.name: obj for key, obj in self.platforms.objects.items()}

    def served(self, apis: Collection[str]) -> None:
        """Others' kinds come and go."""
        for kind in kinds.OWNED:
            if not kind.foreign:
                continue
            if kind.served(apis) and kind not in self._foreign:
                self._foreign[kind] = self._owned(kind)
                for one in self._foreign[kind]:
                    self._start(one)
            elif not kind.served(apis) and kind in self._foreign:
                for one in self._foreign.pop(kind):
                    self._tasks.pop(one).cancel()

    async def run(self) -> None:
        """Until cancelled, or until a watch fails by a fault of ours."""
        self._crash = asyncio.get_running_loop().create_future()
        try:
            for one in self.all:
                self._start(one)
            await self._crash
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, one: Watch[Any]) -> None:
        if one in self._tasks or self._crash is None:
            return
        task = self._tasks[one] = asyncio.create_task(one.run())
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and self._crash is not None and not self._crash.done():
            self._crash.set_exception(task.exception() or RuntimeError("a watch ended"))

    def _owned(self, kind: Kind) -> list[Watch[Any]]:
        take = partial(self._cache.take_owned, kind)
        # What stands beside the gateway for services elsewhere is looked for there, too.
        return self._spread(kind, partial(keep_owned, kind=kind), take, label_selector=kinds.OWNED_SELECTOR)

    def _spread(self, kind: Kind, keep: Any, take: Any, **selectors: str) -> list[Watch[Any]]:
        return [
            Watch(self._api, kind.path(namespace), keep=keep, on_change=take, settings=_SETTINGS, **selectors)
            for namespace in self._namespaces
        ]

    def _cluster(self, kind: Kind, keep: Any, take: Any) -> Watch[Any]:
        return Watch(self._api, kind.path(""), keep=keep, on_change=take, settings=_SETTINGS)


def _plain(obj: Obj, kind: str) -> Obj:
    """A Platform or a Tenant, whole."""
    meta = obj["metadata"]
    kept = {key: meta[key] for key in ("name", "generation", "uid") if key in meta}
    found = {"apiVersion": API_VERSION, "kind": kind, "metadata": kept, "spec": obj.get("spec") or {}}
    return found | ({"status": obj["status"]} if obj.get("status") else {})
