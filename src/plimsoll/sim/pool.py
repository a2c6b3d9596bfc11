"""A replica that computes several batches at once, each on a worker of its own, from one queue.

The live replica has one; this is for servers with more, and for the closed forms of M/M/c and M/D/c.
"""

from math import inf

from plimsoll.core.outcome import Outcome
from plimsoll.core.request import Request
from plimsoll.core.scaling import ReplicaState
from plimsoll.sim.replica import ALL, LINE_EVERY_S, SAMPLED, Replica


class _Batch:
    __slots__ = ("begun", "pool", "predicted_s", "requests")

    def __init__(self, pool: "Pool", requests: list[Request], begun: float, predicted_s: float) -> None:
        self.pool, self.requests, self.begun, self.predicted_s = pool, requests, begun, predicted_s

    def done(self, now: float) -> None:
        self.pool.finished(self, now)


class Pool(Replica):
    """`running` stays empty: what runs is in `_batches`. It can't be frozen."""

    __slots__ = ("_batches", "_newest", "workers")

    def begin(self, workers: int) -> None:
        """Before anything else."""
        self.workers = workers
        self._batches: dict[_Batch, None] = {}
        self._newest = _Batch(self, [], -inf, 0.0)

    @property
    def in_flight(self) -> int:
        return sum(len(batch.requests) for batch in self._batches) + len(self.queue)

    def busy_until(self, now: float) -> float:
        """A worker's share of all of it."""
        return (self.busy_s + sum(now - batch.begun for batch in self._batches)) / self.workers

    def rest_s(self, now: float) -> float:
        if len(self._batches) < self.workers:
            return 0.0
        return min(abs(batch.predicted_s - (now - batch.begun)) for batch in self._batches)

    def offer(self, request: Request, now: float) -> bool:
        queue, newest = self.queue, self._newest
        free = len(self._batches) < self.workers
        # Of those that run none is free later than the first of them: any one tells the most that may be left.
        most_s = 0.0 if free else abs(newest.predicted_s - (now - newest.begun))
        room_s = self.room_s if request.context is None else -inf
        if (queue.size >= self._most or queue.at_most(most_s, self.estimate) > room_s) and not self.admits(
            request, now, 0.0 if free else self.rest_s(now)
        ):
            return False
        queue.push(request, now)
        if free:
            self.poll(now)
        return True

    def poll(self, now: float) -> None:
        queue, estimate = self.queue, self.estimate
        while queue.size and len(self._batches) < self.workers:
            poll = queue.poll(now, estimate)
            for request in poll.expired:
                self._owner.refused(self, request, Outcome.EXPIRED, now)
            for request in poll.shed:
                self._owner.refused(self, request, Outcome.SHED, now)
            if not poll.batch:
                if poll.wake_at is not None and poll.wake_at != self.waking:
                    self.waking = poll.wake_at
                    self._owner.at(poll.wake_at, self.on_wake)
                return
            size = len(poll.batch)
            batch = _Batch(self, poll.batch, now, estimate.a_s + estimate.c_s * size + queue.plan.between_s)
            self._batches[batch] = None
            self._newest = batch
            self._owner.at(now + self._takes(size), batch.done)

    def finished(self, batch: _Batch, now: float) -> None:
        if batch not in self._batches:
            return  # it died
        del self._batches[batch]
        size, seconds = len(batch.requests), now - batch.begun
        self.batches += 1
        if self.batches & SAMPLED == 0 or self.batches < ALL:
            self.learn(size, seconds)
        self.queue.ran(seconds, batch.predicted_s)
        self.busy_s += seconds
        self.items += size
        if now >= self.line_due:
            self.line_due = now + LINE_EVERY_S
            self.say(now)
        self._owner.answered(self, batch.requests, now)
        if self.queue.size:
            self.poll(now)
        elif self.seen.state is ReplicaState.DRAINING and not self._batches:
            self._owner.drained(self, now)

    def die(self) -> list[Request]:
        lost = [request for batch in self._batches for request in batch.requests] + self.queue.drain()
        self._batches.clear()
        return lost
