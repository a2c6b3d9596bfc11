"""Pods' logs, for a backend that is asked for them without time to wait: followed line by line, also kept for a while
after their pods have gone."""

import asyncio
from collections import deque
from collections.abc import Sequence

from plimsoll.backends.kubernetes.api import Api, ApiError, Unreachable, path_of
from plimsoll.backends.kubernetes.pods import PodSeen

_LINES = 500
_KEPT = 20  # pods that have gone, of a service
_AGAIN_S = 0.2
_TRIES = 64  # a container that is told to run may not have a log yet


class Logs:
    """Used from one event loop."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lines: dict[str, deque[str]] = {}  # by pod, in the order they came
        self._services: dict[str, str] = {}
        self._tasks: dict[str, tuple[int, asyncio.Task[None]]] = {}  # by pod: of which of its lives
        self._gone: dict[str, deque[str]] = {}

    def follow(self, pod: PodSeen) -> None:
        """From its present life's beginning. Once a life."""
        if not pod.running:
            return
        known = self._tasks.get(pod.name)
        if known is not None and known[0] == pod.restarts:
            return
        lines = self._lines.setdefault(pod.name, deque(maxlen=_LINES))
        self._services[pod.name] = pod.service
        self._tasks[pod.name] = (pod.restarts, asyncio.create_task(self._read(pod, lines)))

    def forget(self, pod: PodSeen) -> None:
        """It has gone; what it said stays for a while."""
        self._tasks.pop(pod.name, None)
        kept = self._gone.setdefault(pod.service, deque())
        kept.append(pod.name)
        while len(kept) > _KEPT:
            old = kept.popleft()
            self._lines.pop(old, None)
            self._services.pop(old, None)

    def of(self, service: str, replica: str | None, lines: int) -> Sequence[tuple[str, Sequence[str]]]:
        """The last lines of each pod."""
        return [
            (name, list(told)[-lines:] if lines > 0 else [])
            for name, told in self._lines.items()
            if self._services[name] == service and replica in {None, name}
        ]

    async def close(self) -> None:
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, pod: PodSeen, lines: deque[str]) -> None:
        path = path_of("v1", "pods", pod.namespace, pod.name, "log")
        for _ in range(_TRIES):
            try:
                async with self._api.lines(path, {"container": pod.container, "follow": "true"}, silent_s=None) as told:
                    async for line in told:
                        lines.append(line.decode("utf-8", "replace"))
                return  # the container's end
            except ApiError as error:
                if error.code not in {400, 500, 502, 503}:  # 400: the container isn't there yet
                    return
            except Unreachable:
                return
            await asyncio.sleep(_AGAIN_S)
