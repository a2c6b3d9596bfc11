"""The entry point of a replica process, and what `plimsoll serve` runs: from a service to a running Replica."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from plimsoll.app.child_host import Report, on_signals, run_loop, status_writer
from plimsoll.backends.local.child import EXIT_FAILED, finish
from plimsoll.backends.local.spawners import spawner_for_workers
from plimsoll.core.errors import HostError, ModelLoadError
from plimsoll.ports.spawner import ChildContext
from plimsoll.server import Replica
from plimsoll.server.settings import ReplicaSettings
from plimsoll.telemetry.logs import configure

EXIT_HUNG = 4  # a predict in a thread can't be killed: the process ends instead
_LAST_ANSWERS_S = 0.2  # what is left to write when a replica ends by itself


def main(context: ChildContext) -> None:
    """Called in the child by `backends.local`; the arguments are in docs/processes.md."""
    settings = replica_settings(context.args)
    configure("json", always=log_fields(settings))
    finish(run_loop(run_replica(settings, context.args, status_writer(context.status_fd))))


def log_fields(settings: ReplicaSettings) -> dict[str, str]:
    return {"service": settings.service, "revision": settings.revision, "replica": settings.replica}


def replica_settings(args: Mapping[str, Any], *, trusted: bool | None = None) -> ReplicaSettings:
    """From `args["settings"]` where the starter has spelt them out, else from the service: see `replica_args`."""
    values = args.get("settings")
    if values is None:
        from plimsoll.app.replica_args import settings_values  # reads the service, with pydantic

        values = settings_values(args, trusted=trusted)
    return msgspec.convert(values, ReplicaSettings)


async def run_replica(
    settings: ReplicaSettings, args: Mapping[str, Any], report: Report, *, make: type[Replica] = Replica
) -> int:
    """Serves until SIGTERM (and SIGINT, where it isn't ignored) has drained it. The exit status."""
    ended = asyncio.Event()

    stop = asyncio.Event()
    on_signals(stop.set, signal.SIGTERM)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        on_signals(stop.set, signal.SIGINT)
    spawner = await spawner_for_workers(args)
    replica = make(settings, spawner, report, on_end=lambda reason: ended.set())
    starting = asyncio.create_task(replica.start())
    stopping, ending = asyncio.create_task(stop.wait()), asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return 0  # told to stop while it loads: nobody waits for it
        starting.result()
        await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if ended.is_set():
            await asyncio.sleep(_LAST_ANSWERS_S)
            return EXIT_HUNG
        await replica.drain()
        return 0
    except (ModelLoadError, HostError):
        return EXIT_FAILED  # it has reported why
    finally:
        with suppress(Exception):
            await replica.close()  # workers heed no SIGTERM: the spawner alone would wait for them
            await spawner.close()
