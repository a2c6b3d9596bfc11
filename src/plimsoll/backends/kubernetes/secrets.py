"""Secrets that services, tenants and the platform name, and no others: each watched by its name, so that a rotated
value holds at once. Values leave this object by `read` alone."""

import asyncio
import base64
import contextlib
from collections.abc import Callable

from plimsoll.backends.kubernetes.api import Api, path_of
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.watching import Key, Watch


class ClusterSecrets:
    """Used from one event loop. `on_change()`: a value is another."""

    def __init__(self, api: Api, on_change: Callable[[], None]) -> None:
        self._api, self._on_change = api, on_change
        self._watches: dict[Key, tuple[Watch[dict[str, str]], asyncio.Task[None]]] = {}

    def read(self, namespace: str, name: str, key: str) -> str:
        """The value, without white space around it. The first question begins to watch. Raises LookupError, with one
        line for people."""
        at = Key(namespace, name)
        if at not in self._watches:
            watch = Watch(
                self._api,
                path_of("v1", "secrets", namespace),
                keep=_values,
                on_change=lambda *told: self._on_change(),
                field_selector=f"metadata.name={name}",
            )
            self._watches[at] = watch, asyncio.create_task(watch.run())
        watch, _ = self._watches[at]
        values = watch.objects.get(at)
        if values is None and watch.problem:
            raise LookupError(
                f"secret {namespace}/{name} can't be read: {watch.problem}; bind the role plimsoll-secret-reader to "
                "the controller there"
            )
        if values is None:
            why = "does not exist" if watch.synced.is_set() else "is not known yet"
            raise LookupError(f"secret {namespace}/{name} {why}; make it: kubectl create secret generic -n {namespace}")
        if key not in values:
            raise LookupError(
                f"secret {namespace}/{name} has no key {key}; it has {', '.join(sorted(values)) or 'none'}"
            )
        return values[key]

    async def settled(self, timeout_s: float) -> None:
        """Until every secret that was asked for is known, or known not to be had."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for watch, _ in list(self._watches.values()):
                    await watch.synced.wait()

    async def close(self) -> None:
        tasks = [task for _, task in self._watches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watches.clear()


def _values(obj: Obj) -> dict[str, str]:
    """What is no text is left out: no reference of ours means such a thing."""
    found: dict[str, str] = {}
    for key, value in (obj.get("data") or {}).items():
        with contextlib.suppress(ValueError):
            found[key] = base64.b64decode(value, validate=True).decode("utf-8").strip()
    return found
