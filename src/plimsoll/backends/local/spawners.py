"""Which spawner a process uses."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.ports.spawner import Spawner


class LocalSpawner(Spawner, Protocol):
    """What the local backend needs: a spawner whose children can start workers of their own."""

    def server_path(self, preload: Sequence[str] = ()) -> str:
        """`args["fork_server"]` of a child with these preloads; empty where there is no fork server."""
        ...


async def spawner_for_workers(args: Mapping[str, Any]) -> Spawner:
    """How a replica starts its workers: from the fork server it came from (`args["fork_server"]`), else by exec.

    Close it before the replica ends. Raises HostError.
    """
    if args.get("fork_server"):
        return await ForkSpawner.connect(args["fork_server"])
    return ExecSpawner(own_group=False)
