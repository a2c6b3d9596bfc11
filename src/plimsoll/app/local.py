"""The local backend, wired: how processes start here, and what is imported before they do."""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from plimsoll.app.model_source import model_source
from plimsoll.app.replica_args import settings_values
from plimsoll.backends.local import processes
from plimsoll.backends.local.backend import LocalBackend
from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.control.scaling.capacity import Room
from plimsoll.core.errors import HostError, PlimsollError
from plimsoll.models import preload_modules
from plimsoll.ports.spawner import Child, ChildSpec
from plimsoll.spec import ModelService

REPLICA = "plimsoll.app.replica:main"
# What every child needs, imported once: a replica's own modules and the gateway's take 0.25 s otherwise.
MODULES = (
    "plimsoll.app.replica",
    "plimsoll.app.gateway",
    "plimsoll.app.worker",
    "plimsoll.models.python",
    "prometheus_client",
)


def local_spawner(run_dir: Path, start_method: str) -> ForkSpawner | ExecSpawner:
    return ForkSpawner(run_dir, modules=MODULES) if start_method == "fork" else ExecSpawner()


def local_backend(run_dir: Path, spawner: ForkSpawner | ExecSpawner) -> LocalBackend:
    return LocalBackend(run_dir, entry=REPLICA, spawner=ReplicaSpawner(spawner))


_OWN_CORE_FROM = 4  # cores: from here on one is left to the gateway, the controller and whatever else runs
OWN_MEMORY = 256 * 2**20


def machine_room(cores: float | None) -> Callable[[], Room]:
    """What replicas may have here. `cores` None: all of this machine's, but for one where there are four or more."""
    here = float(len(processes.available_cores()) or os.cpu_count() or 1)
    given = here - (here >= _OWN_CORE_FROM) if cores is None else cores
    return lambda: Room(given, max(0, processes.free_memory() - OWN_MEMORY))


class ReplicaSpawner:
    """Spells a replica's settings out before it starts, so that it need not read its service: see `replica_args`."""

    def __init__(self, spawner: ForkSpawner | ExecSpawner) -> None:
        self._spawner = spawner
        self.server_path = spawner.server_path
        self.close = spawner.close

    async def spawn(
        self,
        spec: ChildSpec,
        *,
        on_status: Callable[[dict[str, Any]], None],
        on_exit: Callable[[int], None],
        fds: Mapping[str, int] | None = None,
    ) -> Child:
        with contextlib.suppress(PlimsollError):  # the replica will find it, too, and say so
            args = {"settings": settings_values(spec.args), "fork_server": spec.args.get("fork_server")}
            spec = dataclasses.replace(spec, args=args)
        return await self._spawner.spawn(spec, on_status=on_status, on_exit=on_exit, fds=fds)


def preloads(service: ModelService) -> tuple[str, ...]:
    """What its fork server imports besides MODULES: services that need no more share one with the gateways."""
    return tuple(name for name in preload_modules(model_source(service)) if name not in MODULES)


async def warm(spawner: ForkSpawner | ExecSpawner, services: Iterable[ModelService]) -> None:
    """Starts the fork servers that these services will need, and returns when the common one is there. A failure
    shows where the first replica is started."""
    if isinstance(spawner, ForkSpawner):
        for preload in {preloads(service) for service in services} - {()}:
            task = asyncio.ensure_future(spawner.warm(preload))
            _WARMING.add(task)
            task.add_done_callback(_warmed)
        with contextlib.suppress(HostError):
            await spawner.warm()


_WARMING: set["asyncio.Future[None]"] = set()  # the loop itself holds tasks by weak references alone


def _warmed(task: "asyncio.Future[None]") -> None:
    _WARMING.discard(task)
    if not task.cancelled():
        task.exception()  # seen
