"""What a replica can do, measured where nothing is refused: a twin of the service with a budget of a minute.

Capacity is the best of closed loops of 16 to 64 callers, whatever they had to wait: all that the replica can do, also
beyond what keeps the budget. Beside admission it could not be measured: a closed loop of 32 callers is already more
than `sleepy` promises to answer within 100 ms, so some of them are refused and come back at once.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from load import drive
from stack import serving

_CALLERS = (16, 32, 64)
_UNLIMITED_MS = 60_000


@dataclass(frozen=True)
class Subject:
    """A model under overload. `budget_ms`: its p99; `times`: multiples of the capacity; `callers`: of closed loops."""

    name: str
    model: Path
    path: str
    body: bytes
    budget_ms: int
    times: tuple[int, ...]
    more: str = ""  # lines of its spec
    callers: tuple[int, ...] = _CALLERS

    def file(self, work: Path, *, limited: bool = True) -> Path:
        """Its service file; not `limited`: the twin's."""
        budget_ms = self.budget_ms if limited else _UNLIMITED_MS
        path = work / f"{self.name}-{budget_ms}ms.yaml"
        path.write_text(
            f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: {self.name}}}\nspec:\n"
            f"  model: {{path: {self.model}}}\n  routes: [{{path: /{self.name}}}]\n"
            f"  budget: {{latency: {{p99: {budget_ms}ms}}}}\n{self.more}"
        )
        return path


@dataclass
class Capacity:
    """`callers`: of the best closed loop; `seen`: requests/s, each time it was measured."""

    url: str
    subject: Subject
    work: Path
    callers: int = 0
    seen: list[float] = field(default_factory=list)

    def measure(self, seconds: float) -> float:
        found = self._closed(self.callers, seconds)
        self.seen.append(found)
        return found

    @property
    def per_s(self) -> float:
        return median(self.seen)

    def choose(self) -> None:
        self._closed(self.subject.callers[-1], 1)  # its service time is learned
        tried = {callers: self._closed(callers, 1) for callers in self.subject.callers}
        self.callers = max(tried, key=lambda callers: tried[callers])

    def _closed(self, callers: int, seconds: float) -> float:
        load = drive(self.url, self.subject.body, connections=callers, seconds=seconds, folder=self.work)
        if load.errors:
            raise RuntimeError(f"{self.subject.name} without a budget refused {load.errors} requests")
        return load.per_s


@contextlib.contextmanager
def measuring(way: str, subject: Subject, work: Path, say: Callable[[str], None]) -> Iterator[Capacity]:
    """The twin runs as long as its capacity is of interest; idle, it costs nothing."""
    say(f"{subject.name} {way}: capacity")
    with serving(way, subject.file(work, limited=False), subject.path, work=work) as twin:
        capacity = Capacity(twin.url, subject, work)
        capacity.choose()
        yield capacity
