"""The model cache of a node: `python -m plimsoll.app.model_cache --to DIR --max-size 100Gi`, a pod of a DaemonSet.

It watches the cluster's ModelServices and keeps the artifacts that they pin, so that a replica's fetch step finds them
on the node. Models that need a service's own credentials are left to that service's pods: the cache reads no Secrets.
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
from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.artifacts.fetching.cache import ModelCache
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher
from plimsoll.backends.kubernetes.artifacts.fetching.prefetch import Keeper, Wanted
from plimsoll.backends.kubernetes.artifacts.listing import is_digest
from plimsoll.backends.kubernetes.artifacts.references import parse_uri
from plimsoll.backends.kubernetes.artifacts.web import Web
from plimsoll.backends.kubernetes.names import API_VERSION
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.watching import Watch
from plimsoll.core.errors import PlimsollError, UserError
from plimsoll.core.units import parse_quantity
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


class CacheHost:
    """Carries out what the keeper decides: one fetch at a time, in a thread."""

    def __init__(self, api: Api, keeper: Keeper) -> None:
        self._keeper = keeper
        self._changed = asyncio.Event()
        self._watch = Watch(
            api,
            f"/apis/{API_VERSION}/modelservices",
            keep=wanted_of,
            on_change=lambda *_: self._changed.set(),
        )

    async def run(self) -> None:
        """Until cancelled."""
        watching = asyncio.create_task(self._watch.run())
        try:
            await self._watch.synced.wait()
            while True:
                self._changed.clear()
                wanted = _in_order(self._watch.objects.values())
                failed = await asyncio.to_thread(self._keeper.work, wanted, time.monotonic())
                _log.info("models kept", extra={"wanted": len(wanted), "failed": len(failed)})
                await self._next(failing=self._keeper.failing)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

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
    size = None if args.max_size is None else int(parse_quantity(args.max_size))
    keeper = Keeper(ModelCache(args.to, size), Fetcher(Web(), Credentials()))
    task = asyncio.create_task(CacheHost(api, keeper).run())
    # A fetch in a thread can't be told to stop; what it fetched so far stays for the next start.
    on_signals(lambda: os._exit(0))
    try:
        await task
    finally:
        await api.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m plimsoll.app.model_cache", description="Keep models on a node.")
    parser.add_argument("--to", type=Path, required=True, help="the node's folder")
    parser.add_argument("--max-size", help="the most that it holds: 100Gi")
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
