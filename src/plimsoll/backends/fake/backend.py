"""Replicas that only pretend. They do what a script says, when the clock they are given says so."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

from plimsoll.backends.wakeup import Wakeup
from plimsoll.backends.wish import difference
from plimsoll.core.service_time import ServiceTime
from plimsoll.core.units import format_duration
from plimsoll.policy.restart.backoff import Backoff
from plimsoll.ports.backend import DesiredReplicas, ObservedReplica, ReplicaPhase, ReplicaTemplate
from plimsoll.ports.clock import Clock

_TAIL_LINES = 20


class ManualClock:
    """`ports.clock.Clock` that stands still until it is told to move."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def move_to(self, now: float) -> None:
        self._now = max(self._now, now)


@dataclass(frozen=True, slots=True)
class Life:
    """What one life of a replica is like, in seconds."""

    startup_s: float | None = 1.0  # from start to ready; None: never
    fails: str | None = None  # instead of getting ready it ends, for this reason
    lives_s: float | None = None  # from ready to its death; None: until it is told to stop
    death: str = "ended by itself with exit status 1"
    drain_takes_s: float | None = 0.0  # None: it ignores being told
    log: tuple[str, ...] = ()
    load: Mapping[str, float] = field(default_factory=dict)  # its report, once ready
    service_time: ServiceTime | None = None


Script = Callable[[ReplicaTemplate, str, int], Life]  # of a replica's id and how often it was started before


class FakeBackend:
    """`ports.backend.Backend`. Move the clock, then call `settle`; `next_event` says where it is worth moving to."""

    def __init__(
        self,
        clock: Clock,
        *,
        startup_s: float = 1.0,
        script: Script | None = None,
        backoff: Callable[[], Backoff] = lambda: Backoff(first_s=0.5, factor=2.0, cap_s=30.0, reset_after_s=120.0),
    ) -> None:
        self._clock = clock
        self._script = script or (lambda template, replica, restarts: Life(startup_s=startup_s))
        self._backoff = backoff
        self._replicas: dict[str, _FakeReplica] = {}
        self._started: dict[str, int] = {}
        self._logs: deque[tuple[str, str, str]] = deque(maxlen=10_000)  # service, replica, line
        self._wakeup = Wakeup()

    async def start(self) -> None:
        pass

    async def apply(self, desired: tuple[DesiredReplicas, ...]) -> None:
        self.settle()
        staying = [replica.observed for replica in self._replicas.values() if not replica.stopping]
        start, stop = difference(desired, staying)
        now = self._clock.now()
        for template in start:
            number = self._started.get(template.revision, 0)
            self._started[template.revision] = number + 1
            replica = f"{template.revision}-{number}"
            self._replicas[replica] = _FakeReplica(replica, template, self._script, self._backoff(), self._write, now)
        for replica in stop:
            self._replicas[replica].stop(now)
        if start or stop:
            self._wakeup.notify()
        self.settle()

    def observe(self) -> tuple[ObservedReplica, ...]:
        self._wakeup.seen()
        return tuple(replica.observed for replica in self._replicas.values())

    async def changed(self) -> None:
        await self._wakeup.wait()

    def logs(self, service: str, *, replica: str | None = None, lines: int = 100) -> list[str]:
        found = [
            f"{name} {line}" for owner, name, line in self._logs if owner == service and replica in {None, name}
        ]  # fmt: skip
        return found[-lines:] if lines > 0 else []

    async def close(self) -> None:
        """In no time: whoever drains has finished."""
        self._replicas.clear()
        self._wakeup.notify()

    def next_event(self) -> float | None:
        """When something happens next, on the clock; None: never without another `apply`."""
        times = [replica.due for replica in self._replicas.values() if replica.due is not None]
        return min(times, default=None)

    def settle(self) -> None:
        """Lets everything happen that is due by now, in the order of time."""
        now = self._clock.now()
        while (due := self.next_event()) is not None and due <= now:
            for replica in list(self._replicas.values()):
                if replica.due is not None and replica.due <= due:
                    replica.step(due)
                    if replica.gone:
                        del self._replicas[replica.observed.id]
            self._wakeup.notify()

    def crash(self, replica: str, reason: str = "killed by SIGKILL") -> None:
        """Ends it now, as if it had died."""
        self._replicas[replica].fail(self._clock.now(), reason)
        self._wakeup.notify()

    def report(self, replica: str, load: Mapping[str, float], service_time: ServiceTime | None = None) -> None:
        """As if it had reported its load."""
        one = self._replicas[replica]
        one.observed = replace(one.observed, load=load, service_time=service_time or one.observed.service_time)
        self._wakeup.notify()

    def _write(self, service: str, replica: str, line: str) -> None:
        self._logs.append((service, replica, line))


class _FakeReplica:
    """`due`: when `step` has something to do, which is what `_next` then does."""

    def __init__(
        self,
        replica: str,
        template: ReplicaTemplate,
        script: Script,
        backoff: Backoff,
        write: Callable[[str, str, str], None],
        now: float,
    ) -> None:
        self.stopping = False
        self.gone = False
        self.due: float | None = None
        self._template, self._script, self._backoff, self._write = template, script, backoff, write
        self._next: Callable[[float], None] = self._start
        self.observed = ObservedReplica(
            replica, template.service, template.revision, ReplicaPhase.STARTING, started_at=now
        )  # fmt: skip
        self._start(now)

    def step(self, now: float) -> None:
        self.due = None
        self._next(now)

    def stop(self, now: float) -> None:
        if self.stopping:
            return
        self.stopping = True
        serves = self.observed.phase is ReplicaPhase.READY
        takes = self._life.drain_takes_s if serves else 0.0
        self._set(phase=ReplicaPhase.DRAINING)
        limit = self._template.drain_s
        self._at(now + (limit if takes is None else min(takes, limit)), self._end)

    def fail(self, now: float, reason: str) -> None:
        if self.stopping:
            self._at(now, self._end)
            return
        delay = self._backoff.next(now)
        self._set(
            phase=ReplicaPhase.BACKING_OFF, reason=reason, log_tail=self._life.log[-_TAIL_LINES:], pid=None, address="",
            load={}, retry_at=now + delay,
        )  # fmt: skip
        self._at(now + delay, self._start_again)

    def _start(self, now: float) -> None:
        observed = self.observed
        self._life = life = self._script(self._template, observed.id, observed.restarts)
        for line in life.log:
            self._write(observed.service, observed.id, line)
        self._set(phase=ReplicaPhase.STARTING, pid=1000 + crc32(observed.id.encode()) % 30000, started_at=now,
                  ready_at=None, retry_at=None)  # fmt: skip
        limit, startup_s = self._template.startup_s, life.startup_s
        if life.fails is not None:
            reason = life.fails
            self._at(now + (startup_s or 0.0), lambda then: self.fail(then, reason))
        elif startup_s is None or startup_s > limit:
            late = f"load() did not finish within {format_duration(limit)}"
            self._at(now + limit, lambda then: self.fail(then, late))
        else:
            self._at(now + startup_s, self._ready)

    def _start_again(self, now: float) -> None:
        self._set(restarts=self.observed.restarts + 1)
        self._start(now)

    def _ready(self, now: float) -> None:
        life = self._life
        self._set(
            phase=ReplicaPhase.READY, address=f"unix:/fake/{self.observed.id}.sock", ready_at=now, reason="",
            log_tail=(), load=life.load, service_time=life.service_time,
        )  # fmt: skip
        if life.lives_s is not None:
            self._at(now + life.lives_s, lambda then: self.fail(then, life.death))

    def _end(self, now: float) -> None:
        self.gone = True

    def _at(self, due: float, step: Callable[[float], None]) -> None:
        self.due, self._next = due, step

    def _set(self, **changes: Any) -> None:
        self.observed = replace(self.observed, **changes)
