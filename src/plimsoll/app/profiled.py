"""A replica as `plimsoll profile` starts it: the ordinary one, which also notes each batch that ran.

Notes go into a file (`args["notes"]`) that the profiling process reads: items and seconds in the
model. A status pipe would lose what doesn't fit into it.
"""

import asyncio
import struct
from typing import IO, Any

from plimsoll.app.child_host import run_loop, status_writer
from plimsoll.app.replica import log_fields, replica_settings, run_replica
from plimsoll.backends.local.child import finish
from plimsoll.ports.spawner import ChildContext
from plimsoll.server import Replica
from plimsoll.telemetry.logs import configure

NOTE = struct.Struct("<qd")
_FLUSH_S = 0.02


def main(context: ChildContext) -> None:
    settings = replica_settings(context.args)
    configure("json", always=log_fields(settings))
    path = str(context.args["notes"])

    class Noting(Replica):
        """Notes are written at rest, not with each batch: a system call is 5% of a small model's batch."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._notes: list[bytes] = []
            self._file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115  (until the process ends)

        def _batch_done(self, size: int, seconds: float) -> None:
            super()._batch_done(size, seconds)
            if not self._notes:
                asyncio.get_running_loop().call_later(_FLUSH_S, self._flush)
            self._notes.append(NOTE.pack(size, seconds))

        def _flush(self) -> None:
            self._file.write(b"".join(self._notes))
            self._notes.clear()

    finish(run_loop(run_replica(settings, context.args, status_writer(context.status_fd), make=Noting)))
