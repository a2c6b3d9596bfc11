"""The events of this controller, newest last: what was applied, started, replaced, failed, and why.

Bounded: the oldest are forgotten. Readers name the last sequence number that they have seen, so nobody misses an event
and nobody holds one back.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Kind(StrEnum):
    APPLIED = "applied"  # created or updated: `revision_number`
    READY = "ready"  # the first revision of a service serves: `revision_number`, `ready`, `wanted`, `seconds`
    REPLACED = "replaced"  # `revision_number`, `old_revision_number`, `seconds`, `failed_requests`
    FAILED = "failed"  # a revision did not start: `revision_number`, `serving_revision_number`
    REPLICA = "replica"  # a replica that was ready ended without being told
    # `replicas`; by its policy also `before`, `policy`, `evidence`; where metrics stop and come back `held`
    SCALED = "scaled"
    DELETED = "deleted"
    PURGED = "purged"  # the answers that a service's cache kept
    REFUSED = "refused"  # a changed file was not taken: `errors`
    ERROR = "error"  # a step of the controller itself failed


_REPEAT_S = 60.0

Detail = str | int | float | bool | None | tuple[str, ...] | Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Event:
    """`message` is one line that reads well behind the service's name; `details` holds its figures by name."""

    seq: int
    at: float  # unix seconds
    service: str
    kind: Kind
    message: str
    level: Level = Level.INFO
    details: Mapping[str, Detail] = field(default_factory=dict)


class Timeline:
    """Used from one event loop."""

    def __init__(self, wall: Callable[[], float], *, keep: int = 2000) -> None:
        self._wall = wall
        self._events: deque[Event] = deque(maxlen=keep)
        self._seq = 0
        self._once: dict[tuple[str, Kind, str], float] = {}  # when `record_once` told it
        self._more = asyncio.Event()
        self._closed = False

    @property
    def last_seq(self) -> int:
        return self._seq

    def record(self, service: str, kind: Kind, message: str, *, level: Level = Level.INFO, **details: Detail) -> Event:
        self._seq += 1
        event = Event(self._seq, self._wall(), service, kind, message, level, details)
        self._events.append(event)
        self._wake()
        return event

    def record_once(
        self, service: str, kind: Kind, message: str, *, level: Level = Level.ERROR, **details: Detail
    ) -> bool:
        """Leaves out, and returns False for, what was told within the last minute: a step that fails at each turn makes
        one line a minute, not one a second."""
        key, now = (service, kind, message), self._wall()
        if 0 <= now - self._once.get(key, float("-inf")) < _REPEAT_S:  # a clock set back must not silence it
            return False
        self._once = {told: at for told, at in self._once.items() if 0 <= now - at < _REPEAT_S} | {key: now}
        self.record(service, kind, message, level=level, **details)
        return True

    def since(self, seq: int = 0) -> list[Event]:
        """Events with a higher number, oldest first."""
        return [event for event in self._events if event.seq > seq]

    async def follow(self, seq: int = 0) -> AsyncIterator[Event]:
        """`since(seq)`, then each new event as it comes, until `close`."""
        while True:
            more = self._more
            for event in self.since(seq):
                seq = event.seq
                yield event
            if self._closed:
                return
            if more is self._more:
                await more.wait()

    def close(self) -> None:
        """Lets every follower end."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()
