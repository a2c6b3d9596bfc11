"""Replicas that note their batches, from the side of the process that started them (`app.profiled` is the other)."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plimsoll.app.profiled import NOTE
from plimsoll.app.replica_args import settings_values
from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.ports.spawner import Child, ChildSpec


class Notes:
    """A file that replicas append to. `new` gives what came since the last call: (items, seconds in the model)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        path.touch()

    def new(self) -> list[tuple[int, float]]:
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = len(data) // NOTE.size * NOTE.size
        self._read += whole
        return [(size, seconds) for size, seconds in NOTE.iter_unpack(data[:whole])]


class NotingSpawner:
    """Starts replicas that note their batches in `notes`. `model`: what the last that was ready said of its model.
    `plain`: what starts them, and other processes without notes."""

    def __init__(self, spawner: ForkSpawner | ExecSpawner, notes: Notes) -> None:
        self.plain, self._notes = spawner, notes
        self.server_path = spawner.server_path
        self.close = spawner.close
        self.model: dict[str, Any] = {}

    async def spawn(
        self,
        spec: ChildSpec,
        *,
        on_status: Callable[[dict[str, Any]], None],
        on_exit: Callable[[int], None],
        fds: Mapping[str, int] | None = None,
    ) -> Child:
        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "ready":
                self.model = event.get("model") or {}
            on_status(event)

        args = {
            "settings": settings_values(spec.args),
            "fork_server": spec.args.get("fork_server"),
            "notes": str(self._notes.path),
        }
        spec = dataclasses.replace(spec, args=args)
        return await self.plain.spawn(spec, on_status=hear, on_exit=on_exit, fds=fds)
