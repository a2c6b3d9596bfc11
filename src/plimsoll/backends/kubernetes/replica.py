"""One pod through its lives, as a replica: what the API server says of it, and what it says itself."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plimsoll.backends.kubernetes.pods import PodSeen, why_ended
from plimsoll.backends.kubernetes.states import StateLine
from plimsoll.backends.told import place_of
from plimsoll.core.service_time import ServiceTime
from plimsoll.core.units import format_duration
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase
from plimsoll.wire.http1 import TcpAddress, format_address

_DOWN = frozenset({ReplicaPhase.FAILED, ReplicaPhase.BACKING_OFF})
_FRESH_S = 2.0  # the API server's times are whole seconds: what has just been told happened now
SILENT_S = 5.0
_SILENT = "no report from it for over {}: it is stopped, or its metrics port can't be reached from here"


@dataclass(frozen=True, slots=True)
class Around:
    """What a replica needs of its backend. `tail`: the last lines of its container's log; `kind`: of a node's name;
    `load_s`: of a revision, where the backend knows better than the pod what loading may take."""

    notify: Callable[[], None]
    tail: Callable[[PodSeen], Awaitable[tuple[str, ...]]]
    kind: Callable[[str], str]
    load_s: Callable[[str], float | None]


class PodReplica:
    """`observed` is the whole of its state that others see. Times are the event loop's."""

    def __init__(self, pod: PodSeen, around: Around) -> None:
        self.pod = pod
        self._around, self._loop = around, asyncio.get_running_loop()
        self._line: StateLine | None = None
        self._falling: asyncio.Task[None] | None = None
        self._was_ready = False  # in its present life
        self._verdict = ""  # what it said of its own end
        self._heard_at = 0.0
        self.observed = ObservedReplica(
            pod.name, pod.service, pod.revision, ReplicaPhase.STARTING, started_at=self._at(pod.created)
        )
        self.take(pod)

    def take(self, pod: PodSeen) -> None:
        """What a watch says of it now."""
        again, self.pod = pod.restarts > self.pod.restarts, pod
        if again and pod.phase not in _DOWN:
            self._begin_again()
        self._listen()
        changes: dict[str, Any] = {"restarts": pod.restarts, "pending": pod.pending}
        if pod.placed is not None and self.observed.placed_at is None:
            changes["placed_at"] = max(self._at(pod.placed), self.observed.started_at)
            changes["kind"] = self._around.kind(pod.node)
        phase = pod.phase
        if phase is ReplicaPhase.READY and self._verdict:
            phase = ReplicaPhase.FAILED
        if phase in _DOWN:
            self._set(**changes)
            self._fall()
            return
        if phase is ReplicaPhase.READY:
            if self.observed.ready_at is None:
                assert pod.ready is not None
                changes["ready_at"] = max(self._at(pod.ready), self.observed.started_at + 1e-3)
                self._heard_at = self._loop.time()
            if self.observed.phase is not ReplicaPhase.READY:
                changes |= {"reason": "", "log_tail": (), "retry_at": None}
            self._was_ready = True
        elif pod.pending:
            changes["reason"] = pod.pending
        elif phase is ReplicaPhase.STARTING and self.observed.reason == self.observed.pending:
            changes["reason"] = ""
        if phase in {ReplicaPhase.READY, ReplicaPhase.DRAINING} and pod.ip:
            changes["address"] = format_address(TcpAddress(pod.ip, pod.serving_port))
        self._set(phase=phase, **changes)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._falling is not None:
            self._falling.cancel()

    def check_silence(self, now: float) -> None:
        if self.observed.phase is ReplicaPhase.READY and now - self._heard_at > SILENT_S:
            self._set(reason=_SILENT.format(format_duration(SILENT_S)))

    def use_cpu(self, cores: float | None) -> None:
        """Nobody is woken for it: it is part of the next look."""
        share = None if cores is None else round(cores / max(self.pod.cpus, 1e-3), 3)
        self.observed = replace(self.observed, cpu=share)

    # --- its lives ----------------------------------------------------------------------------------------------------

    def _begin_again(self) -> None:
        """Its container was started once more. The reason of its last end stays until it is ready."""
        self._was_ready, self._verdict = False, ""
        if self._falling is not None:
            self._falling.cancel()
            self._falling = None
        began = self.pod.began
        self._set(
            phase=ReplicaPhase.STARTING,
            started_at=self._loop.time() if began is None else self._at(began),
            placed_at=self._loop.time() if began is None else self._at(began),  # it waited for no node this time
            ready_at=None,
            retry_at=None,
            load={},
            address="",
        )

    def _fall(self) -> None:
        """Down: told with the last lines of its log, so that whoever looks sees why."""
        if self._falling is None or self._falling.done():
            self._falling = asyncio.ensure_future(self._tell_fall())

    async def _tell_fall(self) -> None:
        while True:
            pod = self.pod
            tail = await self._around.tail(pod) if pod.ended is not None else ()
            if pod is self.pod:
                break  # else it went on meanwhile: from terminated to backing off
        phase = ReplicaPhase.FAILED if self.pod.phase not in _DOWN else self.pod.phase
        load_s = self._around.load_s(pod.revision)
        reason = self._verdict or pod.reason or why_ended(pod, was_ready=self._was_ready, load_s=load_s)
        retry_at = self.observed.retry_at
        if pod.back_off_s is not None and self.observed.phase is not ReplicaPhase.BACKING_OFF:
            retry_at = self._loop.time() + pod.back_off_s
        self._set(phase=phase, reason=reason, log_tail=tail, address="", load={}, retry_at=retry_at)

    # --- what it says itself ------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        pod, line = self.pod, self._line
        address = (pod.ip, pod.metrics_port)
        if line is not None and (not pod.running or line.address != address):
            line.close()
            line = self._line = None
        if line is None and pod.running and pod.ip:
            self._line = StateLine(*address, self._hear)

    def _hear(self, event: dict[str, Any]) -> None:
        self._heard_at = self._loop.time()
        try:
            match event["event"]:
                case "load":
                    self._loaded(event)
                case "failed" | "unready":
                    self._verdict = self._verdict or place_of(event) + str(event.get("reason", ""))
                    if self.observed.phase is ReplicaPhase.READY:
                        self._set(phase=ReplicaPhase.FAILED, reason=self._verdict)
                case _:
                    pass  # readiness is the kubelet's to tell; others are of a later version
        except (TypeError, ValueError):
            pass  # a line that is none

    def _loaded(self, event: Mapping[str, Any]) -> None:
        load = {
            sys.intern(key): float(value)  # a thousand replicas say the same few words
            for key, value in event.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        changes: dict[str, Any] = {"load": load}
        if learned := event.get("service_time"):
            changes["service_time"] = ServiceTime(**learned)
        if self.observed.phase is ReplicaPhase.READY:
            changes["reason"] = ""  # it may have been silent
        self._set(**changes)

    # --- small things -------------------------------------------------------------------------------------------------

    def _at(self, unix_s: float) -> float:
        """On the loop's clock; never in its future."""
        now = self._loop.time()
        past_s = time.time() - unix_s
        return now if past_s < _FRESH_S else now - past_s

    def _set(self, **changes: Any) -> None:
        changed = replace(self.observed, **changes)
        if changed != self.observed:
            self.observed = changed
            self._around.notify()
