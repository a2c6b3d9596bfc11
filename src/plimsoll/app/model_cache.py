"""The model cache of a node: `python -m plimsoll.app.model_cache --to DIR --host-path PATH`, a pod of a DaemonSet.

It watches the cluster's ModelServices and keeps the artifacts that they pin, so that a replica's fetch step finds them
on the node. Models that need a service's own credentials are left to that service's pods: the cache reads no Secrets.
Whether it keeps any, and how much, the Platform says (`modelCache`), from one moment to the next.
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from plimsoll.app.child_host import on_signals, run_loop
from plimsoll.backends.kubernetes.api import Api, path_of
from plimsoll.backends.kubernetes.artifacts.fetching.cache import ModelCache
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher
from plimsoll.backends.kubernetes.artifacts.fetching.prefetch import Keeper, Wanted
from plimsoll.backends.kubernetes.artifacts.listing import is_digest
from plimsoll.backends.kubernetes.artifacts.references import parse_uri
from plimsoll.backends.kubernetes.artifacts.web import Web
from plimsoll.backends.kubernetes.names import API_VERSION
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.wanted import PLATFORMS, SERVICES, platform_of, read_platform
from plimsoll.backends.kubernetes.watching import Watch
from plimsoll.core.errors import PlimsollError, UserError
from plimsoll.core.units import parse_quantity
from plimsoll.spec import Platform
from plimsoll.telemetry.logs import configure

_log = logging.getLogger("plimsoll.model_cache")
_AGAIN_S = 15.0  # a failed model's first pause; the keeper knows which are due
_SETTLE_S = 0.2  # services come in crowds: looked at together


def wanted_of(service: Obj) -> Wanted | None:
    """What a ModelService's pods will fetch, if anybody may fetch it and its digest says what it is."""
    spec: dict[str, Any] = service.get("spec") or {}
    model = spec.get("model") or {}
    uri, digest = str(model.get("uri") or ""), str(model.get("digest") or "")
    if not uri or not is_digest(digest) or model.get("secretRef") or "deletionTimestamp" in service["metadata"]:
        return None
    try:
        return Wanted(uri, digest) if parse_uri(uri).network else None
    except UserError:
        return None


def why_idle(platform: Platform | None, host_path: str) -> str:
    """Why no replica would find anything in this node's folder; "" where they look for it there."""
    cache = None if platform is None else platform.spec.model_cache
    if cache is None or cache.type != "HostPath":
        return "the Platform has no modelCache: {type: HostPath}; nothing is kept"
    if Path(cache.folder) != Path(host_path):
        return f"the Platform's modelCache.path is {cache.folder}, the DaemonSet's folder {host_path}; nothing is kept"
    return ""


class CacheHost:
    """Carries out what the keeper decides: one fetch at a time, in a thread. `host_path`: the folder on the node."""

    def __init__(self, api: Api, cache: ModelCache, fetcher: Fetcher, host_path: str) -> None:
        self._cache, self._keeper, self._host_path = cache, Keeper(cache, fetcher), host_path
        self._changed = asyncio.Event()
        self._services = Watch(api, path_of(API_VERSION, SERVICES), keep=wanted_of, on_change=self._kick)
        self._platforms = Watch(api, path_of(API_VERSION, PLATFORMS), keep=read_platform, on_change=self._kick)

    async def run(self) -> None:
        """Until cancelled."""
        watches = (self._services, self._platforms)
        watching = [asyncio.create_task(watch.run()) for watch in watches]
        try:
            for watch in watches:
                await watch.synced.wait()
            while True:
                self._changed.clear()
                await self._turn()
                await self._next(failing=self._keeper.failing)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _turn(self) -> None:
        """What is kept while nothing is wanted stays: the Platform may be back in a moment."""
        found = {key.name: one for key, one in self._platforms.objects.items()}
        platform = platform_of(found)
        wrong = next((one.problem for one in found.values() if one.problem), "")
        idle = why_idle(platform, self._host_path) if platform or not wrong else f"the Platform is wrong: {wrong}"
        if platform is None or idle:
            _log.warning("%s", idle)
            return
        size = platform.spec.model_cache.size
        self._cache.max_bytes = None if size is None else int(parse_quantity(size))
        wanted = _in_order(self._services.objects.values())
        failed = await asyncio.to_thread(self._keeper.work, wanted, time.monotonic())
        _log.info("models kept", extra={"wanted": len(wanted), "failed": len(failed), "max_size": size})

    def _kick(self, *_: object) -> None:
        self._changed.set()

    async def _next(self, *, failing: bool) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), _AGAIN_S if failing else None)
            await asyncio.sleep(_SETTLE_S)
        except TimeoutError:
            pass


def _in_order(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Each once, the same on every node."""
    return sorted(set(wanted), key=lambda one: (one.uri, one.digest))


async def _run(args: argparse.Namespace) -> int:
    api = Api.connect()
    host = CacheHost(api, ModelCache(args.to), Fetcher(Web(), Credentials()), args.host_path or str(args.to))
    task = asyncio.create_task(host.run())
    # A fetch in a thread can't be told to stop; what it fetched so far stays for the next start.
    on_signals(lambda: os._exit(0))
    try:
        await task
    finally:
        await api.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m plimsoll.app.model_cache", description="Keep models on a node.")
    parser.add_argument("--to", type=Path, required=True, help="the node's folder, as this pod sees it")
    parser.add_argument("--host-path", help="the same on the node, as the Platform's modelCache.path names it")
    args = parser.parse_args(argv)
    configure("json", always={"component": "model-cache", "node": os.environ.get("NODE_NAME", "")})
    try:
        return run_loop(_run(args))
    except PlimsollError as error:
        _log.error("%s", error)
        return 1


if __name__ == "__main__":
    os.umask(0o022)  # replicas read it as another user
    sys.exit(main())
