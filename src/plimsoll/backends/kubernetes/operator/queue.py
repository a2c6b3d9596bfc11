"""Which service is looked at next. Decides; starts nothing itself.

    queue.add(key, now)                 something changed; again while it waits or runs: once more, not twice
    while (key := queue.take(now)): …   at most `workers` at once, each key once
    queue.done(key, now, failed=False, again_s=None)
    queue.wait_s(now)                   until `take` may give one; None: until the next `add`

A key that fails comes back after 0.1, 0.2, … up to `longest_s` seconds; something new about it starts it at once.
"""

import heapq
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class QueueSettings:
    workers: int = 8
    first_s: float = 0.1
    longest_s: float = 60.0


class WorkQueue(Generic[Key]):
    """`now`: seconds of a clock that doesn't jump."""

    def __init__(self, settings: QueueSettings | None = None) -> None:
        self._settings = settings or QueueSettings()
        self._ready: deque[Key] = deque()
        self._waiting: set[Key] = set()  # those in _ready
        self._running: set[Key] = set()
        self._dirty: set[Key] = set()  # changed while they ran
        self._failed: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0

    def __len__(self) -> int:
        """Those that could run now, were there workers."""
        return len(self._ready) + len(self._dirty)

    @property
    def running(self) -> int:
        return len(self._running)

    def add(self, key: Key, now: float, after_s: float = 0.0) -> None:
        if after_s > 0:
            self._later(key, now + after_s)
        elif key in self._running:
            self._dirty.add(key)
        elif key not in self._waiting:
            self._due.pop(key, None)
            self._waiting.add(key)
            self._ready.append(key)

    def take(self, now: float) -> Key | None:
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key, now)
        if not self._ready or len(self._running) >= self._settings.workers:
            return None
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._running.add(key)
        return key

    def done(self, key: Key, now: float, *, failed: bool = False, again_s: float | None = None) -> None:
        """`again_s`: look again then, whatever happens; after a failure its back-off says when."""
        self._running.discard(key)
        if failed:
            tries = self._failed[key] = self._failed.get(key, 0) + 1
            again_s = min(self._settings.longest_s, self._settings.first_s * 2.0 ** min(tries - 1, 30))
        else:
            self._failed.pop(key, None)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key, now)
        elif again_s is not None:
            self._later(key, now + again_s)

    def forgive(self, now: float) -> None:
        """What made them fail is over: those that failed are looked at now."""
        failed = list(self._failed)
        self._failed.clear()
        for key in failed:
            self.add(key, now)

    def forget(self, key: Key) -> None:
        """It is gone: no failure, no look later on."""
        self._failed.pop(key, None)
        self._due.pop(key, None)

    def clear(self) -> None:
        """Nothing waits any more. What runs goes on."""
        self._ready.clear()
        self._waiting.clear()
        self._dirty.clear()
        self._due.clear()
        self._heap.clear()
        self._failed.clear()

    def wait_s(self, now: float) -> float | None:
        if len(self._running) >= self._settings.workers:
            return None
        if self._ready:
            return 0.0
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def _later(self, key: Key, at: float) -> None:
        """The sooner of two times."""
        if key in self._waiting or self._due.get(key, at + 1.0) <= at:
            return
        self._due[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))
