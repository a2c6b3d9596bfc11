"""One replica of the local backend through all its lives: start, ready, drain or death, wait, start again."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plimsoll.backends.local import logs
from plimsoll.backends.local.cores import Cores
from plimsoll.backends.local.settings import LocalSettings
from plimsoll.backends.local.spawners import LocalSpawner
from plimsoll.backends.told import place_of
from plimsoll.core.errors import HostError
from plimsoll.core.service_time import ServiceTime
from plimsoll.core.units import format_bytes, format_duration
from plimsoll.policy.restart.backoff import Backoff
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase, ReplicaTemplate
from plimsoll.ports.spawner import Child, ChildSpec

_log = logging.getLogger(__name__)

_SILENT = "no report from it for over {}: it is stopped, or its loop is stuck"
_MUTE = "no report from it for {}: it was stopped, or predict hung with the interpreter lock in its hand"
_KILLED = "killed by SIGKILL: the system ran out of memory (OOM killer), or somebody killed it"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a replica needs of its backend."""

    spawner: LocalSpawner
    entry: str
    settings: LocalSettings
    log_path: Callable[[str], str]  # by replica id
    new_socket: Callable[[], str]  # a path for each life, so that no old socket is taken for the new one
    cores: Callable[[str], Cores]  # by replica id
    notify: Callable[[], None]
    ended: Callable[[str], None]  # by replica id: it won't come back


class LocalReplica:
    """`observed` is the whole of its state that others see; every change of it is told."""

    def __init__(self, replica: str, template: ReplicaTemplate, around: Surroundings) -> None:
        self.template = template
        self.log_path = around.log_path(replica)
        self._around, self._settings = around, around.settings
        self._loop = asyncio.get_running_loop()
        self.observed = ObservedReplica(
            replica, template.service, template.revision, ReplicaPhase.STARTING, started_at=self._loop.time()
        )
        self._stop = asyncio.Event()
        self._child: Child | None = None
        self._verdict = ""  # why this life ends, once that is known
        self._told_tail: tuple[str, ...] = ()
        self._heard_at = 0.0
        self._silent_looks = 0
        self._cpu: tuple[float, float] | None = None  # when its processor time was looked at, and what it was
        self._log_start = 0  # where in the log this life begins
        self._listen = ""
        self._timer: asyncio.TimerHandle | None = None
        self.task = asyncio.ensure_future(self._lives())

    @property
    def stopping(self) -> bool:
        """Told to stop: no longer one of those that `apply` counts."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Drains it; it does not come back. Nothing the second time."""
        if not self._stop.is_set():
            self._stop.set()
            self._drain()

    def kill(self, reason: str = "") -> None:
        self._verdict = self._verdict or reason
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    def check_silence(self, now: float) -> None:
        """Called each `watch_s`. Who must die for its silence is found by counting these looks, not by the clock: after
        we were stopped ourselves (Ctrl-Z), everybody's last report is old and nobody is to blame."""
        if self.observed.phase is not ReplicaPhase.READY:
            return
        self._silent_looks += 1
        if now - self._heard_at > self._settings.silent_s:
            self._set(reason=_SILENT.format(format_duration(self._settings.silent_s)))
        limit = self.template.silent_s
        if limit is not None and self._silent_looks * self._settings.watch_s > limit:
            self._failing(_MUTE.format(format_duration(limit)))
            self.kill()

    def check_cpu(self, used_s: float, now: float) -> None:
        """`used_s`: its processor time so far. Nobody is woken for it: it is part of the next look."""
        before, self._cpu = self._cpu, (now, used_s)
        if before is None or used_s < before[1] or now <= before[0]:
            share = None  # a first look, or one of its processes was replaced
        else:
            share = round((used_s - before[1]) / (now - before[0]) / self.template.cpus, 3)
        self.observed = replace(self.observed, cpu=share)

    def check_memory(self, resident: int) -> None:
        limit = self.template.memory_limit
        if limit is not None and resident > limit:
            self.kill(f"memory limit {format_bytes(limit)} exceeded (RSS {format_bytes(resident)})")

    async def rotate_log(self) -> None:
        if logs.size_of(self.log_path) > self._settings.log_max_bytes:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(logs.rotate, self.log_path)
            self._log_start = 0

    async def _lives(self) -> None:
        settings = self._settings
        backoff = Backoff(
            first_s=settings.restart_first_s, factor=2.0, cap_s=settings.restart_cap_s,
            # A load() that always runs into its time limit is no good run.
            reset_after_s=max(settings.restart_reset_s, 2 * self.template.startup_s),
        )  # fmt: skip
        try:
            while True:
                reason = await self._live()
                if self._stop.is_set():
                    break
                delay = backoff.next(self._loop.time())
                _log.warning("replica %s: %s; starts again in %s", self.observed.id, reason, format_duration(delay))
                self._set(
                    phase=ReplicaPhase.BACKING_OFF, reason=reason, log_tail=self._tail(), pid=None, address="",
                    load={}, retry_at=self._loop.time() + delay,
                )  # fmt: skip
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), delay)
                    break
                self._set(restarts=self.observed.restarts + 1)
        finally:
            self._around.ended(self.observed.id)

    async def _live(self) -> str:
        """One life of the process. Returns the reason of its end."""
        around = self._around
        socket_path = around.new_socket()
        self._verdict, self._told_tail, self._cpu = "", (), None
        self._log_start = logs.size_of(self.log_path)
        # The reason of the last death stays until it is ready: one that fails again and again says why throughout.
        self._set(phase=ReplicaPhase.STARTING, started_at=self._loop.time(), ready_at=None, retry_at=None, cpu=None)
        exited: asyncio.Future[int] = self._loop.create_future()
        try:
            self._child = await around.spawner.spawn(
                self._spec(socket_path), on_status=self._hear, on_exit=lambda status: self._exited(exited, status)
            )
        except (HostError, OSError) as error:
            return str(error)
        self._set(pid=self._child.pid)
        if self.stopping:
            self._drain()
        elif self.observed.phase is ReplicaPhase.STARTING and not self._verdict:
            limit = self.template.startup_s
            self._kill_later(limit, f"load() did not finish within {format_duration(limit)}")
        status = await exited
        with contextlib.suppress(OSError):
            os.unlink(socket_path)
        return self._verdict or _describe(status, ready=self.observed.ready_at is not None, tail=self._tail())

    def _exited(self, exited: "asyncio.Future[int]", status: int) -> None:
        self._disarm()
        self._child = None
        if not exited.done():
            exited.set_result(status)

    def _spec(self, socket_path: str) -> ChildSpec:
        template, cores = self.template, self._around.cores(self.observed.id)
        args = {
            **template.args, "replica": self.observed.id, "listen": f"unix:{socket_path}", "cpus": list(cores),
            "fork_server": self._around.spawner.server_path(template.preload),
        }  # fmt: skip
        self._listen = f"unix:{socket_path}"
        return ChildSpec(
            entry=self._around.entry, args=args, name=self.observed.id, log_path=self.log_path, cpus=cores,
            threads=max(1, int(template.cpus)), preload=template.preload, directory=template.args.get("directory"),
        )  # fmt: skip

    def _drain(self) -> None:
        if self._child is None:
            return  # backing off, or being spawned: then `_live` comes back to this
        serves = self.observed.phase is not ReplicaPhase.STARTING
        self._set(phase=ReplicaPhase.DRAINING)
        self._child.signal(signal.SIGTERM)
        settings = self._settings
        self._kill_later(self.template.drain_s + settings.drain_margin_s if serves else settings.abandon_s, "")

    def _kill_later(self, seconds: float, reason: str) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, self.kill, reason)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hear(self, event: dict[str, Any]) -> None:
        self._heard_at, self._silent_looks = self._loop.time(), 0
        try:
            match event["event"]:
                case "ready":
                    self._ready(str(event.get("address") or self._listen))
                case "load":
                    self._loaded(event)
                case "failed":
                    self._failing(place_of(event) + str(event.get("reason", "")))
                    self._told_tail = tuple(str(event.get("detail") or "").splitlines())
                case "unready":
                    self._failing(str(event.get("reason", "")))
                case "draining":
                    if not self._verdict:
                        self._set(phase=ReplicaPhase.DRAINING)
                case _:
                    pass  # of a later version
        except (TypeError, ValueError) as error:
            _log.warning("replica %s sent a %s event that is none: %s", self.observed.id, event["event"], error)

    def _ready(self, address: str) -> None:
        if self.observed.phase is ReplicaPhase.STARTING and not self.stopping:
            self._disarm()
            now = self._loop.time()
            self._set(phase=ReplicaPhase.READY, address=address, ready_at=now, reason="", log_tail=())

    def _loaded(self, event: Mapping[str, Any]) -> None:
        load = {key: float(value) for key, value in event.items() if isinstance(value, int | float)}
        learned = event.get("service_time")
        changes: dict[str, Any] = {"load": load}
        if learned:
            changes["service_time"] = ServiceTime(**learned)
        if self.observed.phase is ReplicaPhase.READY:
            changes["reason"] = ""  # it may have been silent
        self._set(**changes)

    def _failing(self, reason: str) -> None:
        """It says itself that it is about to end."""
        self._verdict = self._verdict or reason
        if not self.stopping:
            self._set(phase=ReplicaPhase.FAILED, reason=self._verdict)
            self._kill_later(self._settings.unready_s, self._verdict)

    def _tail(self) -> tuple[str, ...]:
        count = self._settings.log_tail_lines
        return tuple(logs.tail(self.log_path, count, since=self._log_start)) or self._told_tail[-count:]

    def _set(self, **changes: Any) -> None:
        changed = replace(self.observed, **changes)
        if changed != self.observed:
            self.observed = changed
            self._around.notify()


def _describe(status: int, *, ready: bool, tail: tuple[str, ...]) -> str:
    if status == -signal.SIGKILL:
        return _KILLED
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    if ready or status == 0:
        return f"ended by itself with exit status {status}"
    last = f": {tail[-1].strip()}" if tail else ""
    return f"ended with exit status {status} before it was ready{last}"
