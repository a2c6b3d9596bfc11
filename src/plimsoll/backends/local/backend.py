"""Replicas as processes on this machine: keeps as many of each revision as `apply` was told."""

import asyncio
import contextlib
import itertools
from collections import Counter, deque
from pathlib import Path

from plimsoll.backends.local import logs, processes
from plimsoll.backends.local.cores import Cores, allot
from plimsoll.backends.local.replica import LocalReplica, Surroundings
from plimsoll.backends.local.settings import LocalSettings
from plimsoll.backends.local.spawners import LocalSpawner
from plimsoll.backends.wakeup import Wakeup
from plimsoll.backends.wish import difference
from plimsoll.core.errors import HostError
from plimsoll.ports.backend import DesiredReplicas, ObservedReplica, ReplicaTemplate

_SOCKET_PATH_MAX = 103  # macOS; Linux has 107


class LocalBackend:
    """`ports.backend.Backend`. Times are the event loop's.

    `entry` is the replica's entry point as a dotted name, called with the template's `args` and `replica`, `listen`,
    `cpus` (cores that are its own), `fork_server` (for `spawner_for_workers`). The spawner stays its caller's, who
    closes it after the backend. In `run_dir` it keeps `r/` (sockets) and `logs/`.
    """

    def __init__(
        self, run_dir: str | Path, *, entry: str, spawner: LocalSpawner, settings: LocalSettings | None = None
    ) -> None:
        self._sockets, self._logs = Path(run_dir) / "r", Path(run_dir) / "logs"
        self._settings = settings or LocalSettings()
        self._spawner, self._entry = spawner, entry
        self._replicas: dict[str, LocalReplica] = {}  # in the order they were started
        self._ended: dict[str, deque[str]] = {}  # by service: ids whose logs are still there
        self._started: Counter[str] = Counter()  # by revision
        self._socket_numbers = itertools.count()
        self._cores: dict[str, Cores] = {}
        self._wakeup = Wakeup()
        self._watching: list[asyncio.Task[None]] = []
        self._closing = False

    async def start(self) -> None:
        for folder in (self._sockets, self._logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(f"{self._sockets}/zzzzz.sock") > _SOCKET_PATH_MAX:
            raise HostError(f"{self._sockets} is too long for a Unix socket: choose a shorter run folder")
        for stale in self._sockets.glob("*.sock"):
            stale.unlink(missing_ok=True)
        self._around = Surroundings(
            spawner=self._spawner,
            entry=self._entry,
            settings=self._settings,
            log_path=lambda replica: str(self._logs / f"{replica}.log"),
            new_socket=lambda: str(self._sockets / f"{next(self._socket_numbers):x}.sock"),
            cores=lambda replica: self._cores.get(replica, ()),
            notify=self._wakeup.notify,
            ended=self._forget,
        )
        self._watching = [asyncio.ensure_future(self._watch_memory()), asyncio.ensure_future(self._watch())]

    async def apply(self, desired: tuple[DesiredReplicas, ...]) -> None:
        if self._closing:
            return
        staying = [replica.observed for replica in self._replicas.values() if not replica.stopping]
        start, stop = difference(desired, staying)
        for replica in stop:
            self._replicas[replica].stop()
        templates = [(self._new_id(template), template) for template in start]
        self._place(dict(templates))  # first, so that each knows its cores when it starts
        for replica, template in templates:
            self._replicas[replica] = LocalReplica(replica, template, self._around)
        if start or stop:
            self._wakeup.notify()

    def observe(self) -> tuple[ObservedReplica, ...]:
        self._wakeup.seen()
        return tuple(replica.observed for replica in self._replicas.values())

    async def changed(self) -> None:
        await self._wakeup.wait()

    def logs(self, service: str, *, replica: str | None = None, lines: int = 100) -> list[str]:
        running = [name for name, one in self._replicas.items() if one.template.service == service]
        known = [name for name in self._ended.get(service, ()) if name not in running] + running
        few = known[-max(len(running), 5) :]  # of those that ended, the last few
        chosen = few if replica is None else [name for name in known if name == replica]
        tails = [logs.tail(str(self._logs / f"{name}.log"), lines) for name in chosen]
        return [
            f"{name} {line}"
            for name, part in zip(chosen, logs.fair_tail(tails, lines), strict=True)
            for line in part
        ]  # fmt: skip

    async def close(self) -> None:
        """Drains all at once, each at most for its `drain_s`. Cancelling it kills them."""
        self._closing = True
        tasks = [replica.task for replica in self._replicas.values()]
        for replica in list(self._replicas.values()):
            replica.stop()
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for replica in self._replicas.values():
                replica.kill()
            for watching in self._watching:
                watching.cancel()
            await asyncio.gather(*self._watching, return_exceptions=True)
            for left in self._sockets.glob("*.sock"):
                left.unlink(missing_ok=True)

    def _new_id(self, template: ReplicaTemplate) -> str:
        number = self._started[template.revision]
        self._started[template.revision] += 1
        return f"{template.revision}-{number}"

    def _forget(self, replica: str) -> None:
        gone = self._replicas.pop(replica)
        self._cores.pop(replica, None)
        kept = self._ended.setdefault(gone.template.service, deque())
        kept.append(replica)
        while len(kept) > self._settings.logs_kept:
            logs.remove(str(self._logs / f"{kept.popleft()}.log"))
        self._wakeup.notify()

    def _place(self, new: dict[str, ReplicaTemplate]) -> None:
        """Gives cores to the new ones, and moves the running ones where the count has changed what each gets."""
        everywhere = processes.available_cores()
        if not self._settings.pin or not everywhere:
            return
        wanted = {name: one.template.cpus for name, one in self._replicas.items() if not one.stopping}
        wanted |= {name: template.cpus for name, template in new.items()}
        before, self._cores = self._cores, allot(wanted, everywhere, self._cores)
        moved = {
            pid: self._cores.get(name) or everywhere
            for name, one in self._replicas.items()
            if (pid := one.observed.pid) and self._cores.get(name, ()) != before.get(name, ())
        }
        for pid, members in processes.group_members(moved).items() if moved else ():
            processes.pin(members, moved[pid])

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(self._settings.memory_check_s)
            limited = {
                one.observed.pid: one
                for one in self._replicas.values()
                if one.template.memory_limit is not None and one.observed.pid
            }
            if limited:
                for pid, members in processes.group_members(limited).items():
                    limited[pid].check_memory(processes.resident_bytes(members))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.watch_s)
            now = asyncio.get_running_loop().time()
            serving = {one.observed.pid: one for one in self._replicas.values() if one.observed.pid}
            for pid, members in processes.group_members(serving).items() if serving else ():
                serving[pid].check_cpu(processes.cpu_seconds(members), now)
            for replica in list(self._replicas.values()):
                replica.check_silence(now)
                with contextlib.suppress(OSError):
                    await replica.rotate_log()
