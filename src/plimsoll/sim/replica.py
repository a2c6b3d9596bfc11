"""One replica: the live gate, queue and learned service time, around a model that only takes time.

As `server.engine` does, with virtual time in the place of the event loop: ask the gate, push, poll whenever the model
is free, teach the service-time model, give each request one ending.
"""

from collections.abc import Callable
from math import inf
from typing import Protocol

from plimsoll.core.outcome import Outcome
from plimsoll.core.request import Request
from plimsoll.core.scaling import ReplicaState, ScaledReplica
from plimsoll.insight.service_time import ServiceTimeModel
from plimsoll.policy.admission import AdmissionGate, GateSettings
from plimsoll.policy.batching import BatchQueue, BatchSettings
from plimsoll.policy.routing import Overdue, Reach, ReplicaLoad

# Of the first batches each teaches the service time, later one in 16: what they say stays the same, and learning from
# one takes 7 to 10 us, as much as two requests.
ALL, SAMPLED = 128, 15
LINE_EVERY_S = 0.001  # as in server.replica: what a replica says of its load is renewed with a batch, not more often


class Owner(Protocol):
    """The service it belongs to."""

    def at(self, when: float, action: Callable[[float], None]) -> None: ...

    def answered(self, replica: "Replica", batch: list[Request], now: float) -> None: ...

    def refused(self, replica: "Replica", request: Request, outcome: Outcome, now: float) -> None: ...

    def drained(self, replica: "Replica", now: float) -> None: ...


class Replica:
    """`seen`: what the scaler sees of it. `started_at`: since when it costs; None: it waits for room. `began_at`: the
    last time that it was started. `wait_s`, `item_s`: what it last said of its load."""

    limit = None

    __slots__ = (
        "_budget_s", "_most", "_owner", "_takes", "batches", "began_at", "begun", "busy_s", "estimate", "finish_at",
        "frozen_until", "gate", "item_s", "items", "learned", "line_due", "load", "name", "overdue", "predicted_s",
        "queue", "reach", "room_s", "running", "seen", "spare_since", "started_at", "wait_s", "wake_s", "waking",
    )  # fmt: skip

    def __init__(
        self,
        owner: Owner,
        name: str,
        takes: Callable[[int], float],
        settings: BatchSettings,
        gate: GateSettings,
        budget_s: float,
        now: float,
    ) -> None:
        self._owner, self.name, self._takes = owner, name, takes
        self.seen = ScaledReplica(name, ReplicaState.PENDING, now)
        self.started_at: float | None = None
        self.spare_since: float | None = None
        self.began_at = now
        self.load, self.reach = ReplicaLoad(), Reach()
        self.overdue: Overdue[Request] = Overdue()
        self.queue, self.gate = BatchQueue(settings), AdmissionGate(gate)
        self.learned = ServiceTimeModel()
        self.estimate = self.learned.estimate
        self.room_s = -inf  # a request is surely taken where its finish is predicted to be no later than that
        self._budget_s, self._most = budget_s, gate.max_items
        self.running: list[Request] = []
        self.begun = self.predicted_s = self.finish_at = 0.0
        self.frozen_until = self.waking = self.line_due = float("-inf")
        self.wait_s = self.item_s = 0.0
        self.wake_s = 0.0  # what a batch takes longer where nothing ran before it
        self.busy_s = 0.0  # in batches that are done
        self.batches = self.items = 0

    def warm_up(self, now: float) -> None:
        """As a live one does before it is ready: batches of 1, 2, 4…, and what they took."""
        size = 1
        while size <= self.queue.settings.max_size:
            self.learn(size, self._takes(size))
            size *= 2
        self.say(now)

    def learn(self, size: int, seconds: float) -> None:
        self.learned.observe(size, seconds)
        estimate = self.estimate = self.learned.estimate
        self.room_s = self.gate.room_s(self._budget_s, estimate)

    @property
    def in_flight(self) -> int:
        return len(self.running) + len(self.queue)

    def busy_until(self, now: float) -> float:
        """Seconds of computing from the beginning to `now`."""
        return self.busy_s + (now - self.begun if self.running else 0.0)

    def rest_s(self, now: float) -> float:
        """Predicted seconds until the model is free. A batch that is overdue is expected to last as long again."""
        return abs(self.predicted_s - (now - self.begun)) if self.running else 0.0

    def say(self, now: float) -> None:
        """Renews what it says of its load."""
        estimate = self.estimate
        self.wait_s = self.rest_s(now) + self.queue.work_s(estimate)
        self.item_s = self.queue.item_s(estimate)

    def offer(self, request: Request, now: float) -> bool:
        """A request arrives. False: the gate refuses it."""
        running = self.running
        rest_s = 0.0
        if running:
            rest_s = self.predicted_s - (now - self.begun)
            if rest_s < 0.0:
                rest_s = -rest_s
        queue = self.queue
        # Nearly always the most that its finish can be predicted to be fits its time.
        room_s = self.room_s if request.context is None else -inf
        if (queue.size >= self._most or queue.at_most(rest_s, self.estimate) > room_s) and not self.admits(
            request, now, rest_s
        ):
            return False
        queue.push(request, now)
        if not running and now >= self.frozen_until:
            self.poll(now)
        return True

    def admits(self, request: Request, now: float, rest_s: float) -> bool:
        """What the gate says."""
        queue, gate = self.queue, self.gate
        refuse = gate.guard(queue.size + 1, 0) or gate.decide(
            request,
            now,
            finish_s=queue.forecast(request, now, rest_s, self.estimate),
            probe=rest_s == 0.0 and queue.may_probe(now),
            service_time=self.estimate,
            in_flight=self.in_flight,
        )
        return refuse is None

    def poll(self, now: float) -> None:
        """The model is free: what does it run?"""
        queue, estimate = self.queue, self.estimate
        poll = queue.poll(now, estimate)
        batch = self.running = poll.batch
        if batch:
            size = len(batch)
            seconds = self._takes(size)
            if now > self.finish_at:
                seconds += self.wake_s
            self.begun = now
            self.predicted_s = estimate.a_s + estimate.c_s * size + queue.plan.between_s
            finish_at = self.finish_at = now + seconds
            self._owner.at(finish_at, self.on_done)
        for request in poll.expired:
            self._owner.refused(self, request, Outcome.EXPIRED, now)
        for request in poll.shed:
            self._owner.refused(self, request, Outcome.SHED, now)
        if not batch and poll.wake_at is not None and poll.wake_at != self.waking:
            self.waking = poll.wake_at
            self._owner.at(poll.wake_at, self.on_wake)

    def on_wake(self, now: float) -> None:
        if now == self.waking and not self.running and now >= self.frozen_until:
            self.waking = float("-inf")
            self.poll(now)

    def on_done(self, now: float) -> None:
        batch = self.running
        if not batch or now != self.finish_at:
            return  # it died, or was frozen meanwhile
        size, seconds = len(batch), now - self.begun
        queue = self.queue
        batches = self.batches = self.batches + 1
        if (batches & SAMPLED == 0 or batches < ALL) and self.frozen_until <= self.begun:
            self.learn(size, seconds)  # how long it stood still says nothing of the model
        queue.ran(seconds, self.predicted_s)
        self.busy_s += seconds
        self.items += size
        self.running = []
        if now >= self.line_due:
            self.line_due = now + LINE_EVERY_S
            self.say(now)
        self._owner.answered(self, batch, now)
        if queue.size:
            self.poll(now)
        elif self.seen.state is ReplicaState.DRAINING:
            self._owner.drained(self, now)

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def freeze(self, until: float, now: float) -> None:
        """It stands still. The batch in hand ends that much later; what comes meanwhile waits."""
        if self.running:
            self.finish_at += until - max(now, self.frozen_until)
            self._owner.at(self.finish_at, self.on_done)
        else:
            self._owner.at(until, self.thaw)
        self.frozen_until = until

    def thaw(self, now: float) -> None:
        if now >= self.frozen_until and not self.running and self.queue.size:
            self.poll(now)

    def die(self) -> list[Request]:
        """All that it had."""
        lost = [*self.running, *self.queue.drain()]
        self.running = []
        return lost
