"""The heart of a replica: queue → batch → model → answer, with no protocol in it.

The queue decides (`policy.batching`); the engine carries out: it asks the queue whenever the model is free or a moment
it named has come, hands the batch to the runner, teaches the service-time model and gives every request exactly one
ending through `finish`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from plimsoll.core.errors import Expired, ModelFailed, ReplicaLost, RequestError, Shed
from plimsoll.core.request import Outputs, Request
from plimsoll.insight.service_time import ServiceTimeModel
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


class Engine:
    """`finish` is called once a request, on the loop. `on_hang` when the runner can't stop what hangs."""

    def __init__(
        self,
        queue: BatchQueue,
        runner: Runner,
        learned: ServiceTimeModel,
        *,
        finish: Finish,
        begin_alone: Callable[[Request], None],
        on_hang: Callable[[str], None],
        predict_timeout_s: float,
        max_queued: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = monotonic
        self.queue = queue
        self.runner = runner
        self.learned = learned
        self._finish = finish
        self._begin_alone = begin_alone
        self._on_hang = on_hang
        self._predict_timeout_s = predict_timeout_s
        self._max_queued = max_queued
        self._running: list[Request] = []
        self._started = 0.0
        self._pump_due = False
        self._wake: asyncio.TimerHandle | None = None
        self._stopped: RequestError | None = None
        self.on_batch: Callable[[int, float], None] = lambda size, seconds: None
        runner.on_done = self._done
        runner.on_free = self._pump

    @property
    def in_flight(self) -> int:
        return len(self._running) + len(self.queue)

    def predicted_wait_s(self) -> float:
        """What a request that came now would wait: the rest of the batch in hand, and what is queued before it."""
        estimate = self.learned.estimate
        rest_s = 0.0
        if self._running:
            size = sum(request.size for request in self._running)
            rest_s = max(estimate.predict(size) - (self._now() - self._started), 0.0)
        return rest_s + self.queue.work_s(estimate)

    def submit(self, request: Request) -> None:
        now = self._now()
        if self._stopped is not None:
            self._finish(request, Ending(None, self._stopped, 0.0, 0.0))
            return
        if request.deadline <= now:
            self._finish(request, Ending(None, Expired("the deadline had passed on arrival"), 0.0, 0.0))
            return
        if self.queue.size + request.size > self._max_queued:
            self._finish(request, Ending(None, Shed("the queue is full", retry_after_s=1), 0.0, 0.0))
            return
        self.queue.push(request, now)
        # Not at once: all that this turn of the loop reads may join the same batch.
        if not self._running and not self._pump_due:
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
        if not self._running or now - self._started < self._predict_timeout_s:
            return
        reason = f"predict exceeded runtime.predictTimeout of {self._predict_timeout_s:g} s"
        size = sum(request.size for request in self._running)
        _log.error("batch overdue: %s", reason, extra={"requests": len(self._running), "items": size})
        replaced = self.runner.overdue()
        self._end_running(ModelFailed(reason))
        if replaced:
            self._pump()
        else:
            self.stop(ReplicaLost(reason, retry_after_s=1))
            self._on_hang(reason)

    def stop(self, error: RequestError) -> None:
        """From now on every request ends with `error`, the queued ones at once."""
        self._stopped = error
        now = self._now()
        for request in self.queue.drain():
            self._end_queued(request, error, now)

    def _pump(self) -> None:
        self._pump_due = False
        if self._running or self._stopped is not None or not self.runner.free:
            return
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        now = self._now()
        poll = self.queue.poll(now, self.learned.estimate)
        batch = poll.batch
        if batch:
            self._running, self._started = batch, now
            if batch[0].alone:
                self._begin_alone(batch[0])
            self.runner.run([request.inputs for request in batch])
        for request in poll.expired:
            self._end_queued(request, Expired("the deadline passed in the queue"), now)
        for request in poll.shed:
            self._end_queued(request, Shed("it would have missed its deadline", retry_after_s=1), now)
        if not batch and poll.wake_at is not None:
            self._wake = self._loop.call_at(poll.wake_at, self._pump)

    def _done(self, results: Results, seconds: float) -> None:
        batch, started = self._running, self._started
        if not batch:
            return  # it was given up as overdue
        self._running = []
        size = sum(request.size for request in batch)
        if isinstance(results, RequestError):
            self._tell(batch, results, started, seconds, size)
        else:
            self.learned.observe(size, seconds)
            self.on_batch(size, seconds)
            finish = self._finish
            for request, result in zip(batch, results, strict=True):
                queue_s = started - request.queued
                if isinstance(result, Exception):
                    error = (
                        result
                        if isinstance(result, RequestError)
                        else ModelFailed(f"{type(result).__name__}: {result}")
                    )
                    finish(request, Ending(None, error, queue_s, seconds, size))
                else:
                    finish(request, Ending(result, None, queue_s, seconds, size))
        if len(self.queue):
            self._pump()

    def _end_queued(self, request: Request, error: RequestError, now: float) -> None:
        self._finish(request, Ending(None, error, now - request.queued, 0.0))

    def _end_running(self, error: RequestError) -> None:
        batch, started = self._running, self._started
        self._running = []
        self._tell(batch, error, started, self._now() - started, sum(request.size for request in batch))

    def _tell(self, batch: list[Request], error: RequestError, started: float, seconds: float, size: int) -> None:
        for request in batch:
            self._finish(request, Ending(None, error, started - request.queued, seconds, size))
