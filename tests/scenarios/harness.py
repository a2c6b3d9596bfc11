"""Replicas in virtual time: each a model, a gate, a `BatchQueue` and a `ServiceTimeModel`; and a few kinds of clients.

Nothing sleeps: events stand in a heap by their time. One `Replica` may run alone, or several share `Events` behind a
`Fleet`, which stands for a gateway: `choose(replicas, request, now)` says where a request goes. Compute times are
t(b) = a + c·b with seeded noise that the policy must learn through the same `ServiceTimeModel` as the live server's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from plimsoll.core.request import Items, Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.service_time import ServiceTimeModel
from plimsoll.policy.admission import AdmissionGate, GateSettings
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
    refused: int = 0  # at the door
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


class Events:
    """What happens when. All of one moment happens before `settle` is called: the turn of a loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.settle: list[Callable[[], None]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heappush(self._events, (max(when, self.now), self._sequence, action))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now = self._events[0][0]
            while self._events and self._events[0][0] <= self.now:
                heappop(self._events)[2]()
            for settle in self.settle:
                settle()


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
        gate: GateSettings | None = None,
        events: Events | None = None,
    ) -> None:
        self.random, self.a_s, self.c_s = random, a_s, c_s
        self.noise, self.stall, self.stall_s = noise, stall, stall_s
        self.events = events or Events()
        self.events.settle.append(self._settle)
        self.queue = BatchQueue(settings)
        self.gate = AdmissionGate(gate)
        self.model = ServiceTimeModel()
        self.frozen_until = 0.0
        self.report = Report()
        self.running: list[Request] = []
        self.waking: float | None = None
        self.on_answer: Callable[[Request, bool], None] = lambda request, computed: None
        self._started = self._predicted_s = 0.0
        size = 1
        while seeded and size <= settings.max_size:  # the warm-up
            self.model.observe(size, self._takes(size))
            size *= 2

    def _takes(self, size: int) -> float:
        seconds = ServiceTime(self.a_s, self.c_s).predict(size) * max(0.2, self.random.gauss(1.0, self.noise))
        return seconds + (self.stall_s if self.random.random() < self.stall else 0.0)

    @property
    def now(self) -> float:
        return self.events.now

    def at(self, when: float, action: Callable[[], None]) -> None:
        self.events.at(when, action)

    def freeze(self, seconds: float) -> None:
        """From now on it does nothing; what comes waits outside. The batch in hand is ready when it thaws."""
        self.frozen_until = self.now + seconds
        self.at(self.frozen_until, lambda: None)

    @property
    def rest_s(self) -> float:
        return abs(self._predicted_s - (self.now - self._started)) if self.running else 0.0

    @property
    def wait_s(self) -> float:
        """What it would tell a gateway."""
        return self.rest_s + self.queue.work_s(self.model.estimate)

    def arrive(self, request: Request) -> None:
        if self.now < self.frozen_until:
            self.at(self.frozen_until, lambda: self.arrive(request))
            return
        self.report.offered += 1
        queue, estimate = self.queue, self.model.estimate
        refuse = self.gate.guard(queue.size + request.size, 0) or self.gate.decide(
            request,
            self.now,
            finish_s=queue.forecast(request, self.now, self.rest_s, estimate),
            probe=not self.running and queue.may_probe(self.now),
            service_time=estimate,
            in_flight=len(self.running) + len(queue),
        )
        if refuse is None:
            queue.push(request, self.now)
        else:
            self.report.refused += 1
            self.on_answer(request, False)

    def run(self, until: float) -> Report:
        self.events.run(until)
        return self.report

    def _settle(self) -> None:
        if self.now < self.frozen_until:
            return
        if self.running:
            for request in self.queue.expire(self.now):
                self._refuse(request, expired=True)
        else:
            self._poll()

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
            self._started, self._predicted_s = self.now, self.model.estimate.predict(size)
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
        if self.now < self.frozen_until:
            frozen_s = self.frozen_until - self.now
            self.at(self.frozen_until, lambda: self._finish(size, seconds + frozen_s))
            return
        self.model.observe(size, seconds)
        self.queue.ran(seconds, self._predicted_s)
        batch, self.running = self.running, []
        for request in batch:
            self.report.latencies.append(self.now - request.arrived)
            self.report.done_s = self.now
            if self.now <= request.deadline:
                self.report.in_deadline += 1
            else:
                self.report.late += 1
            self.on_answer(request, True)


class Fleet:
    """Replicas behind a gateway. `choose` gets them, the request and the time. `network_s`: one way, to the replica and
    back; a request's clock starts here, its replica's time when it comes there."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        choose: Callable[[Sequence[Replica], Request, float], Replica],
        network_s: float = 0.0,
    ) -> None:
        self.replicas, self.choose, self.network_s = replicas, choose, network_s
        self.events = replicas[0].events
        self.on_answer: Callable[[Request, bool, float], None] = lambda request, computed, seconds: None
        self._sent: dict[Request, tuple[float, Replica]] = {}
        for replica in replicas:
            replica.on_answer = self._answered

    def send(self, request: Request) -> None:
        replica = self.choose(self.replicas, request, self.events.now)
        self._sent[request] = (self.events.now, replica)
        request.arrived += self.network_s
        request.target += self.network_s
        self.events.at(self.events.now + self.network_s, lambda: replica.arrive(request))

    def leave(self, request: Request) -> bool:
        """Its client went away. False where it runs, or was answered."""
        sent = self._sent.pop(request, None)
        return sent is not None and sent[1].queue.cancel(request)

    def _answered(self, request: Request, computed: bool) -> None:
        sent = self._sent.pop(request, None)
        if sent is not None:
            seconds = self.events.now + self.network_s - sent[0]
            self.events.at(self.events.now + self.network_s, lambda: self.on_answer(request, computed, seconds))


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
