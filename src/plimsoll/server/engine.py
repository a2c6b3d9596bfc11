"""The heart of a replica: gate → queue → batch → model → answer, with no protocol in it.

The gate (`policy.admission`) and the queue (`policy.batching`) decide; the engine carries out: it asks the gate of each
request, and the queue whenever the model is free or a moment it named has come, hands the batch to the runner, teaches
the service-time model and gives every request exactly one ending through `finish`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from plimsoll.core.errors import Expired, ModelFailed, ReplicaLost, RequestError, Shed
from plimsoll.core.request import Outputs, Request
from plimsoll.insight.service_time import ServiceTimeModel
from plimsoll.policy.admission import AdmissionGate
from plimsoll.policy.batching import BatchQueue
from plimsoll.server.runner import Results, Runner

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Ending:
    """How one request ended: with `outputs`, or with `error`."""

    outputs: Outputs | None
    error: RequestError | None
    queue_s: float
    compute_s: float
    batch: int = 0  # items computed together with it


Finish = Callable[[Request, Ending], None]


class _Batch:
    """`handed`: the runner has it. `waited_since`: when the batch before it ended, where it or its requests waited for
    that; None: the model was idle."""

    __slots__ = ("handed", "items", "predicted_s", "requests", "started", "waited_since")

    def __init__(self, requests: list[Request], predicted_s: float, items: int) -> None:
        self.requests = requests
        self.items = items
        self.predicted_s = predicted_s
        self.started = 0.0
        self.handed = False
        self.waited_since: float | None = None


class Engine:
    """`finish` is called once a request, on the loop. `on_hang` when the runner can't stop what hangs."""

    def __init__(
        self,
        queue: BatchQueue,
        gate: AdmissionGate,
        runner: Runner,
        learned: ServiceTimeModel,
        *,
        finish: Finish,
        begin_alone: Callable[[Request], None],
        on_hang: Callable[[str], None],
        predict_timeout_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = monotonic
        self.queue = queue
        self.gate = gate
        self.lag_s = 0.0  # how late this loop is, kept by the host's timer
        self.runner = runner
        self.learned = learned
        self._finish = finish
        self._begin_alone = begin_alone
        self._on_hang = on_hang
        self._predict_timeout_s = predict_timeout_s
        self._running: _Batch | None = None
        self._next: _Batch | None = None  # formed while a short one runs, so that the model needn't wait for us
        self._pump_due = False
        self._wake: asyncio.TimerHandle | None = None
        self._stopped: RequestError | None = None
        self._stalled_at = float("-inf")
        self.on_batch: Callable[[int, float], None] = lambda size, seconds: None
        runner.on_done = self._done
        runner.on_free = self._pump

    @property
    def in_flight(self) -> int:
        held = len(self.queue)
        for batch in (self._running, self._next):
            held += len(batch.requests) if batch is not None else 0
        return held

    def rest_s(self, now: float) -> float:
        """Predicted seconds until the model is free. A batch that is overdue is expected to last as long again."""
        running, following = self._running, self._next
        if running is None:
            return 0.0
        left_s = running.predicted_s - (now - running.started)
        return (left_s if left_s >= 0.0 else -left_s) + (0.0 if following is None else following.predicted_s)

    def predicted_wait_s(self) -> float:
        """What a request that came now would wait: the rest of the batch in hand, and what is queued before it."""
        return self.rest_s(self._now()) + self.queue.work_s(self.learned.estimate)

    def refusal(self, request: Request, held_bytes: int = 0, more_bytes: int = 0) -> RequestError | None:
        """Why `request` (its inputs aren't looked at) is not taken now; None: it may be submitted. `held_bytes`: of
        bodies in hand without its own `more_bytes`."""
        if self._stopped is not None:
            return self._stopped
        now = self._now()
        if request.deadline <= now:
            return Expired("the deadline had passed on arrival")
        queue, gate = self.queue, self.gate
        refuse = gate.guard(queue.size + request.size, held_bytes, more_bytes)
        if refuse is None:
            estimate = self.learned.estimate
            refuse = gate.decide(
                request,
                now,
                finish_s=queue.forecast(request, now, self.rest_s(now), estimate),
                probe=self._running is None and queue.may_probe(now),
                service_time=estimate,
                lag_s=self.lag_s,
                in_flight=self.in_flight,
            )
            if refuse is None:
                return None
        return Shed(refuse.reason, retry_after_s=refuse.retry_after_s)

    def submit(self, request: Request) -> None:
        """Takes it as it is: ask `refusal` before."""
        if self._stopped is not None:
            self._finish(request, Ending(None, self._stopped, 0.0, 0.0))
            return
        self.queue.push(request, self._now())
        # Not at once: all that this turn of the loop reads may join the same batch.
        if not self._pump_due and (self._running is None or (self._next is None and self._goes_ahead())):
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def cancel(self, request: Request) -> bool:
        """Takes a queued request back (its client left). A running one can't be: its answer will find nobody."""
        return self.queue.cancel(request)

    def check(self) -> None:
        """The host's timer calls this often: answers what expired while a batch runs, and notices one that hangs."""
        now = self._now()
        for request in self.queue.expire(now):
            self._end_queued(request, Expired("the deadline passed in the queue"), now)
        running = self._running
        if running is None or now - running.started < self._predict_timeout_s:
            return
        reason = f"predict exceeded runtime.predictTimeout of {self._predict_timeout_s:g} s"
        _log.error("batch overdue: %s", reason, extra={"requests": len(running.requests), "items": running.items})
        replaced = self.runner.overdue()
        self._running = None
        self._tell(running, ModelFailed(reason), now - running.started)
        if replaced:
            self._pump()
        else:
            self.stop(ReplicaLost(reason, retry_after_s=1))
            self._on_hang(reason)

    def stalled(self) -> None:
        """The whole process stood still a moment ago: how long the batch under way takes says nothing of the model. A
        replica that knew little of it would refuse everybody for a while."""
        self._stalled_at = self._now()

    def stop(self, error: RequestError) -> None:
        """From now on every request ends with `error`, the queued ones at once."""
        self._stopped = error
        now = self._now()
        following, self._next = self._next, None
        for request in [*(following.requests if following is not None else ()), *self.queue.drain()]:
            self._end_queued(request, error, now)

    def _goes_ahead(self) -> bool:
        """Whether the next batch is formed while the one in hand still runs."""
        running = self._running
        return running is not None and self.runner.takes_ahead and self.queue.goes_ahead(running.predicted_s)

    def _pump(self) -> None:
        self._pump_due = False
        if self._stopped is not None or not self.runner.free:
            return
        if self._running is None:
            self._form()
        if self._running is not None and self._next is None and self._goes_ahead():
            self._form()

    def _form(self) -> None:
        """Asks the queue for a batch: the one to run, or the one to follow it."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        now = self._now()
        estimate = self.learned.estimate
        poll = self.queue.poll(now, estimate)
        if poll.batch:
            items = sum(request.size for request in poll.batch)
            batch = _Batch(poll.batch, estimate.predict(items) + self.queue.plan.between_s, items)
            if self._running is None:
                self._begin(batch, now)
            else:
                self._next = batch
                if not poll.batch[0].alone:  # of one that may kill us the gateway must hear first
                    self._hand(batch)
        for request in poll.expired:
            self._end_queued(request, Expired("the deadline passed in the queue"), now)
        for request in poll.shed:
            self._end_queued(request, Shed("it would have missed its deadline", retry_after_s=1), now)
        if not poll.batch and poll.wake_at is not None and self._running is None:
            self._wake = self._loop.call_at(poll.wake_at, self._pump)

    def _begin(self, batch: _Batch, now: float) -> None:
        self._running = batch
        batch.started = now
        if not batch.handed:
            if batch.requests[0].alone:
                self._begin_alone(batch.requests[0])
            self._hand(batch)

    def _hand(self, batch: _Batch) -> None:
        batch.handed = True
        self.runner.run([request.inputs for request in batch.requests])

    def _done(self, results: Results, seconds: float) -> None:
        batch = self._running
        if batch is None:
            return  # it was given up as overdue
        now = self._now()
        self._running = None
        if batch.waited_since is not None:
            self.queue.plan.passed_between(now - batch.waited_since - seconds)
        following, self._next = self._next, None
        if following is not None:
            following.waited_since = now
            self._begin(following, now)
        if isinstance(results, RequestError):
            self._tell(batch, results, seconds)
        else:
            self._teach(batch, results, seconds)
        if len(self.queue):
            self._pump()
            if following is None:
                self._waits_since(now)

    def _waits_since(self, now: float) -> None:
        if self._running is not None:
            self._running.waited_since = now

    def _teach(self, batch: _Batch, results: list[Outputs | Exception], seconds: float) -> None:
        size = batch.items
        if batch.started > self._stalled_at:
            self.learned.observe(size, seconds)
            self.queue.ran(seconds, batch.predicted_s)
        self.on_batch(size, seconds)
        finish, started = self._finish, batch.started
        for request, result in zip(batch.requests, results, strict=True):
            queue_s = started - request.queued
            if isinstance(result, Exception):
                error = (
                    result if isinstance(result, RequestError) else ModelFailed(f"{type(result).__name__}: {result}")
                )
                finish(request, Ending(None, error, queue_s, seconds, size))
            else:
                finish(request, Ending(result, None, queue_s, seconds, size))

    def _end_queued(self, request: Request, error: RequestError, now: float) -> None:
        self._finish(request, Ending(None, error, now - request.queued, 0.0))

    def _tell(self, batch: _Batch, error: RequestError, seconds: float) -> None:
        for request in batch.requests:
            queue_s = max(batch.started - request.queued, 0.0)
            self._finish(request, Ending(None, error, queue_s, seconds, batch.items))
