"""How many replicas workloads ask for: watched, and written through their `/scale`."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from plimsoll.backends.kubernetes.api import MERGE_PATCH, Api, ApiError, path_of
from plimsoll.backends.kubernetes.names import CONTROLLER, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.watching import Change, Key, Watch

LOG = logging.getLogger(__name__)

APPS = "apps/v1"
PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
_DEFAULT = 1  # where a workload doesn't say


@dataclass(frozen=True, slots=True)
class Workload:
    kind: str
    count: int
    uid: str


class Counts:
    """`namespace` "": of the whole cluster. `on_change()`: a count is another."""

    def __init__(self, api: Api, namespace: str, on_change: Callable[[], None]) -> None:
        self._api, self._on_change = api, on_change
        self._sent: dict[Key, int] = {}  # written, and not yet told by the watch
        self._watches = {
            kind: Watch(
                api,
                path_of(APPS, plural, namespace),
                keep=lambda obj, kind=kind: _read(obj, kind),  # type: ignore[misc]
                on_change=self._changed,
                label_selector=SERVICE_LABEL,
            )
            for kind, plural in PLURALS.items()
        }

    def tasks(self) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(watch.run()) for watch in self._watches.values()]

    async def synced(self) -> None:
        for watch in self._watches.values():
            await watch.synced.wait()

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(watch.problem for watch in self._watches.values())

    def find(self, namespace: str, name: str) -> Workload | None:
        key = Key(namespace, name)
        return next((watch.objects[key] for watch in self._watches.values() if key in watch.objects), None)

    def count(self, namespace: str, name: str) -> int | None:
        """What it asks for now, with what was just written; None: there is no such workload."""
        found = self.find(namespace, name)
        return None if found is None else self._sent.get(Key(namespace, name), found.count)

    async def write(self, namespace: str, name: str, count: int) -> None:
        """Raises ApiError or Unreachable; one that is gone meanwhile is nothing to write to."""
        found = self.find(namespace, name)
        if found is None:
            return
        path = path_of(APPS, PLURALS[found.kind], namespace, name, "scale")
        key = Key(namespace, name)
        before = found.count
        self._sent[key] = count
        try:
            await self._api.patch(
                path, {"spec": {"replicas": count}}, kind=MERGE_PATCH, params={"fieldManager": CONTROLLER}
            )
        except ApiError as error:
            self._sent.pop(key, None)
            if error.code != 404:
                raise
        except BaseException:
            self._sent.pop(key, None)
            raise
        else:
            LOG.info("replicas %d -> %d", before, count, extra={"namespace": namespace, "workload": name})

    def _changed(self, change: Change, key: Key, kept: Workload) -> None:
        self._sent.pop(key, None)
        self._on_change()


def _read(obj: Obj, kind: str) -> Workload:
    meta, count = obj["metadata"], (obj.get("spec") or {}).get("replicas")
    return Workload(kind, _DEFAULT if count is None else int(count), meta.get("uid", ""))
