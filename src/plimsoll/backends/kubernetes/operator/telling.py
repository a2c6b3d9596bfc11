"""Kubernetes Events about a service: what was done, and what is wrong, for `kubectl describe`. The same words are one
event with a count; an event that can't be written is no reason to stop.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from plimsoll.backends.kubernetes.api import Api, ApiError, Unreachable, path_of
from plimsoll.backends.kubernetes.names import API_VERSION, OPERATOR
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.seen import ServiceKey, ServiceObject, stamp

LOG = logging.getLogger(__name__)

Tell: TypeAlias = Callable[[ServiceObject, str, str, str], None]  # about whom, Normal or Warning, reason, message

_LONGEST = 1000  # the API server's own bound is 1024


@dataclass(slots=True)
class _Told:
    name: str
    count: int
    first: float
    written: float


class Recorder:
    """`again_s`: the same words raise the count at most so often. `clock`: seconds since 1970."""

    def __init__(
        self, api: Api, clock: Callable[[], float], *, again_s: float = 300.0, waiting: int = 1000, kept: int = 5000
    ) -> None:
        self._api, self._clock, self._again_s, self._keep = api, clock, again_s, kept
        self._told: dict[tuple[ServiceKey, str, str], _Told] = {}
        self._queue: asyncio.Queue[tuple[str, Obj, bool]] = asyncio.Queue(waiting)
        self.dropped = 0

    def tell(self, service: ServiceObject, kind: str, reason: str, message: str) -> None:
        """Returns at once; `run` sends it."""
        message = message[:_LONGEST]
        key, now = (service.key, reason, message), self._clock()
        told = self._told.get(key)
        LOG.info("%s: %s", reason, message, extra={"service": str(service.key), "type": kind})
        if told is not None and now - told.first < 3600.0:  # the API server forgets events after an hour
            told.count += 1
            if now - told.written >= self._again_s:
                told.written = now
                self._put(service, told, {"count": told.count, "lastTimestamp": stamp(now)}, again=True)
            return
        if len(self._told) >= self._keep:
            self._told.clear()
        digest = hashlib.sha256("\0".join((service.uid, reason, message, f"{now:.3f}")).encode()).hexdigest()[:16]
        told = self._told[key] = _Told(f"{service.key.name}.{digest}", 1, now, now)
        self._put(service, told, _event(service, told.name, kind, reason, message, now), again=False)

    def _put(self, service: ServiceObject, told: _Told, body: Obj, *, again: bool) -> None:
        path = path_of("v1", "events", service.key.namespace, told.name if again else "")
        try:
            self._queue.put_nowait((path, body, again))
        except asyncio.QueueFull:  # what is wrong stands in the conditions, too
            self.dropped += 1

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            path, body, again = await self._queue.get()
            try:
                if again:
                    await self._api.patch(path, body)
                else:
                    await self._api.post(path, body)
            except (ApiError, Unreachable) as error:
                LOG.debug("an event was not written: %s", error)


def _event(service: ServiceObject, name: str, kind: str, reason: str, message: str, now: float) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": service.key.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": "ModelService",
            "name": service.key.name,
            "namespace": service.key.namespace,
            "uid": service.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": OPERATOR},
        "reportingComponent": OPERATOR,
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
    }
