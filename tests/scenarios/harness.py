"""A replica in virtual time: one model, one `BatchQueue`, one `ServiceTimeModel`, a few kinds of clients.

Nothing sleeps: events stand in a heap by their time. Compute times are t(b) = a + c·b with seeded noise that the
policy must learn through the same `ServiceTimeModel` as the live server's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from plimsoll.core.request import Items, Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.service_time import ServiceTimeModel
from plimsoll.policy.batching import BatchQueue, BatchSettings


@dataclass
class Report:
    """What clients saw. `latencies`: of every computed answer; `offered_s`: how long load was offered."""

    offered: int = 0
    offered_s: float = 0.0
    done_s: float = 0.0
    latencies: list[float] = field(default_factory=list)
    in_deadline: int = 0
    late: int = 0
    expired: int = 0
    shed: int = 0
    batches: list[int] = field(default_factory=list)

    def quantile(self, q: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

    @property
    def goodput(self) -> float:
        """Answers within their deadline, a second."""
        return self.in_deadline / self.offered_s

    @property
    def mean_batch(self) -> float:
        return sum(self.batches) / len(self.batches)

    def line(self) -> str:
        return (
            f"offered {self.offered / self.offered_s:7.0f}/s  goodput {self.goodput:6.0f}/s  late {self.late:4}  "
            f"p50 {self.quantile(0.5) * 1e3:6.1f} ms  p99 {self.quantile(0.99) * 1e3:6.1f} ms  "
            f"mean batch {self.mean_batch:5.1f}"
        )


class Replica:
    """`a_s`, `c_s`: the truth. `noise`: relative standard deviation of each batch's time. `stall`: share of batches
    that wait `stall_s` more, as for an interpreter lock."""

    def __init__(
        self,
        random: Random,
        *,
        a_s: float,
        c_s: float,
        settings: BatchSettings,
        noise: float = 0.03,
        stall: float = 0.0,
        stall_s: float = 0.0,
        seeded: bool = True,
    ) -> None:
        self.random, self.a_s, self.c_s = random, a_s, c_s
        self.noise, self.stall, self.stall_s = noise, stall, stall_s
        self.queue = BatchQueue(settings)
        self.model = ServiceTimeModel()
        self.now = 0.0
        self.report = Report()
        self.running: list[Request] = []
        self.waking: float | None = None
        self.on_answer: Callable[[Request, bool], None] = lambda request, computed: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        size = 1
        while seeded and size <= settings.max_size:  # the warm-up
            self.model.observe(size, self._takes(size))
            size *= 2

    def _takes(self, size: int) -> float:
        seconds = ServiceTime(self.a_s, self.c_s).predict(size) * max(0.2, self.random.gauss(1.0, self.noise))
        return seconds + (self.stall_s if self.random.random() < self.stall else 0.0)

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heappush(self._events, (when, self._sequence, action))

    def arrive(self, request: Request) -> None:
        self.report.offered += 1
        self.queue.push(request, self.now)

    def run(self, until: float) -> Report:
        """Runs events up to `until`. All events of one moment happen before the queue is polled."""
        while self._events and self._events[0][0] <= until:
            self.now = self._events[0][0]
            while self._events and self._events[0][0] <= self.now:
                heappop(self._events)[2]()
            if self.running:
                for request in self.queue.expire(self.now):
                    self._refuse(request, expired=True)
            else:
                self._poll()
        return self.report

    def _poll(self) -> None:
        poll = self.queue.poll(self.now, self.model.estimate)
        self.running = poll.batch
        for request in poll.expired:
            self._refuse(request, expired=True)
        for request in poll.shed:
            self._refuse(request, expired=False)
        if poll.batch:
            size = sum(request.size for request in poll.batch)
            self.report.batches.append(size)
            seconds = self._takes(size)
            self.at(self.now + seconds, lambda: self._finish(size, seconds))
        elif poll.wake_at is not None and poll.wake_at != self.waking:
            self.waking = poll.wake_at
            self.at(poll.wake_at, lambda: None)

    def _refuse(self, request: Request, *, expired: bool) -> None:
        if expired:
            self.report.expired += 1
        else:
            self.report.shed += 1
        self.on_answer(request, False)

    def _finish(self, size: int, seconds: float) -> None:
        self.model.observe(size, seconds)
        batch, self.running = self.running, []
        for request in batch:
            self.report.latencies.append(self.now - request.arrived)
            self.report.done_s = self.now
            if self.now <= request.deadline:
                self.report.in_deadline += 1
            else:
                self.report.late += 1
            self.on_answer(request, True)


def request(name: str, now: float, *, p99_s: float, timeout_s: float, **more: object) -> Request:
    fields = {"size": 1, "key": "k", "inputs": Items([None]), **more}
    return Request(id=name, arrived=now, target=now + p99_s, deadline=now + timeout_s, **fields)


def poisson(random: Random, rate: float, until: float) -> Iterator[float]:
    now = random.expovariate(rate)
    while now < until:
        yield now
        now += random.expovariate(rate)


def open_loop(replica: Replica, times: Iterator[float], *, p99_s: float, timeout_s: float, seconds: float) -> Report:
    """One request at each of `times`, whatever became of those before."""

    def next_one() -> None:
        replica.arrive(request("r", replica.now, p99_s=p99_s, timeout_s=timeout_s))
        schedule()

    def schedule() -> None:
        when = next(times, None)
        if when is not None:
            replica.at(when, next_one)

    schedule()
    replica.report.offered_s = seconds
    return replica.run(until=seconds + 2 * timeout_s)


def closed_loop(replica: Replica, clients: int, *, think_s: Callable[[], float], seconds: float) -> Report:
    """`clients` that each send the next request `think_s` after the answer to the one before. No budget, 60 s."""

    def send() -> None:
        replica.arrive(request("r", replica.now, p99_s=60.0, timeout_s=60.0))

    replica.on_answer = lambda *_: replica.at(replica.now + think_s(), send)
    for _ in range(clients):
        replica.at(think_s(), send)
    replica.report.offered_s = seconds
    return replica.run(until=seconds)
