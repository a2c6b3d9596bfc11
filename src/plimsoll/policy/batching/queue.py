"""One replica's queue: earliest deadline first, batches sized by the learned service time. See docs/batching.md.

A host pushes requests as they come and polls whenever the model is free; `Poll` says what to run now, whom to answer
without computing, and when to look again though nothing happens. Everything is O(log n) a request.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from math import inf

from plimsoll.core.request import Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching.rate import ArrivalRate
from plimsoll.policy.batching.sizing import keeping_up, knee, within

_KEPT_BUCKETS = 64  # empty ones kept for their keys' next request: making one costs as much as a push
_EXPLORE_EVERY = 32  # batches held at the knee before one goes beyond it
_DEAD = 256  # dead entries tolerated before heaps are rebuilt
_LEAST_BUDGET_S = 0.001


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """`max_size`: items in a batch. `linger_s`: how long a free model waits for more (0: never)."""

    max_size: int = 64
    linger_s: float = 0.0
    overhead_s: float = 0.0005  # from the model's answer to the last byte sent, added to predicted finishes
    batch_cost_s: float = 0.0001  # what a batch costs beside the model: the hop to its thread and back, 77-121 us
    margin_sd: float = 2.0  # deviations of the service time added to predicted finishes
    probe_s: float = 1.0  # nothing has run for so long: one is computed though it is predicted to be late

    def __post_init__(self) -> None:
        if self.max_size < 1 or self.linger_s < 0:
            raise ValueError(f"max_size must be at least 1 and linger_s at least 0, not {self}")


class Poll:
    """What to do now. `batch`: run these together (empty: nothing to run). `expired`: their deadline passed. `shed`:
    they can't make it, or only by keeping everybody else's batch small. `wake_at`: poll then though nothing comes."""

    __slots__ = ("batch", "expired", "shed", "wake_at")

    def __init__(
        self, batch: list[Request], expired: list[Request], shed: list[Request], wake_at: float | None
    ) -> None:
        self.batch = batch
        self.expired = expired
        self.shed = shed
        self.wake_at = wake_at

    def __repr__(self) -> str:
        return (
            f"Poll(batch={[r.id for r in self.batch]}, expired={[r.id for r in self.expired]},"
            f" shed={[r.id for r in self.shed]}, wake_at={self.wake_at})"
        )


Order = tuple[int, float]


def order_of(request: Request) -> Order:
    """Smaller runs sooner: priority, then the earliest moment that matters. Fairness over tenants goes between."""
    target, deadline = request.target, request.deadline
    return (-request.priority, target if target < deadline else deadline)


def _towards(mean: float, value: float) -> float:
    """The running mean of what is finite."""
    if value == inf:
        return mean
    if mean == inf:
        return max(value, _LEAST_BUDGET_S)
    return max(mean + (value - mean) / 16, _LEAST_BUDGET_S)


class _Bucket:
    """The requests of one key: a heap of (order, sequence, request). `items` counts those still waiting; `listed` is
    the sequence number under which the heap's head stands among the heads."""

    __slots__ = ("heap", "items", "listed")

    def __init__(self) -> None:
        self.heap: list[tuple[Order, int, Request]] = []
        self.items = 0
        self.listed = 0


class _Choice:
    """What to fill a batch with: from `bucket` at most `most` items, not fewer than `need` for a late one's sake.
    `start_by`: the latest start that keeps the head's aim."""

    __slots__ = ("bucket", "most", "need", "start_by")

    def __init__(self, bucket: _Bucket, most: int, need: int, start_by: float) -> None:
        self.bucket = bucket
        self.most = most
        self.need = need
        self.start_by = start_by


class BatchQueue:
    """`size`: items waiting; `len()`: requests waiting; `rate.per_s`: items a second that arrive."""

    __slots__ = ("_a", "_buckets", "_budget", "_c", "_deadlines", "_gone", "_heads", "_held", "_lingers_from",
                 "_margin", "_planned", "_probe_at", "_purge_at", "_seq", "_top", "_waiting", "rate", "settings",
                 "size")  # fmt: skip

    def __init__(self, settings: BatchSettings) -> None:
        self.settings = settings
        self.rate = ArrivalRate()
        self.size = 0
        self._seq = 0
        # Entries in the heaps whose request isn't in here any more are dead, and skipped when they come up.
        self._waiting: dict[Request, _Bucket] = {}
        self._gone = 0  # dead entries in the buckets, at most
        self._buckets: dict[Hashable, _Bucket] = {}
        self._purge_at = _KEPT_BUCKETS
        self._heads: list[tuple[Order, int, _Bucket]] = []  # for each bucket one entry no later than its head
        self._deadlines: list[tuple[float, int, Request]] = []
        self._lingers_from = -inf
        self._held = 0  # batches in a row that the knee kept smaller than the backlog
        # What a request usually has from its arrival to its target. One client in a hurry must not
        # change what size is efficient for all.
        self._budget = inf
        self._planned: ServiceTime | None = None  # what the next four were made of
        self._a = self._c = self._margin = 0.0
        self._top = 1
        self._probe_at = inf  # inf: it was never polled

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, request: Request, now: float) -> None:
        waiting = self._waiting
        if request in waiting:
            raise ValueError(f"request {request.id} is in the queue already")
        if not waiting:
            self._lingers_from = now
        request.queued = now
        seq = self._seq = self._seq + 1
        key = request if request.alone else request.key  # a request equals only itself: nobody joins it
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._new_bucket(key)
        order = order_of(request)
        heap = bucket.heap
        heappush(heap, (order, seq, request))
        if heap[0][1] == seq:
            bucket.listed = seq
            heappush(self._heads, (order, seq, bucket))
            if len(self._heads) > 2 * len(self._buckets) + _DEAD:
                self._relist()
        heappush(self._deadlines, (request.deadline, seq, request))
        if seq & 7 == 1:  # one in eight tells enough
            self._budget = _towards(self._budget, request.target - request.arrived)
        waiting[request] = bucket
        size = request.size
        bucket.items += size
        self.size += size
        self.rate.arrived += size

    def poll(self, now: float, service_time: ServiceTime) -> Poll:
        """Decides for a model that is free at `now`. Requests in the answer have left the queue.

        With `service_time.samples` of 0 nothing is known: what waits is taken in order up to `max_size`, and only
        what has expired is dropped.
        """
        rate = self.rate.update(now)
        if self._probe_at == inf:
            self._probe_at = now + self.settings.probe_s
        expired = self.expire(now)
        shed: list[Request] = []
        if not self._waiting:
            return Poll([], expired, shed, None)
        settings = self.settings
        if service_time is not self._planned:
            self._plan(service_time)
        choice = self._choose(now, rate, shed)
        if choice is None:
            return Poll([], expired, shed, None)
        if settings.linger_s > 0.0 and choice.bucket.items < self._top:
            wake_at = min(self._lingers_from + settings.linger_s, choice.start_by)
            if wake_at > now and not choice.bucket.heap[0][2].alone:
                expiry = self.next_expiry()
                return Poll([], expired, shed, wake_at if expiry is None else min(wake_at, expiry))
        batch = self._take(choice, now, shed)
        self._probe_at = now + settings.probe_s
        self._lingers_from = -inf  # what is left has waited for this batch already
        return Poll(batch, expired, shed, self.next_expiry())

    def forecast(self, request: Request, rest_s: float, service_time: ServiceTime) -> float:
        """Predicted seconds until `request`, not in here yet, would be computed. `rest_s`: of the batch under way."""
        if service_time is not self._planned:
            self._plan(service_time)
        a, c, usual = self._a, self._c, min(self._top, self._fitting())
        batches, part = divmod(self.size, usual)
        start = rest_s + batches * (a + c * usual)
        # Who comes until its batch starts joins it.
        own = min(usual, part + request.size + int(self.rate.per_s * start))
        return start + a + c * max(own, part + request.size)

    def item_s(self, service_time: ServiceTime) -> float:
        """What one more item costs in batches of the usual size, seconds."""
        if service_time is not self._planned:
            self._plan(service_time)
        return self._a / min(self._top, self._fitting()) + self._c

    def may_probe(self, now: float) -> bool:
        """Has nothing run for so long that one should, to see whether the service time is still what it was?"""
        return not self._waiting and (now >= self._probe_at or self._probe_at == inf)

    def ran(self, seconds: float, predicted_s: float) -> None:
        """The last batch's time. Where it took half of what was predicted the next may probe at once."""
        if seconds < predicted_s / 2:
            self._probe_at = -inf

    def cancel(self, request: Request) -> bool:
        """Forgets it. False where it isn't waiting: it runs, or was answered. O(1) but for a rare rebuild."""
        if request not in self._waiting:
            return False
        self._remove(request)
        return True

    def expire(self, now: float) -> list[Request]:
        """Takes out those whose deadline has passed. `poll` does it too; this is for while the model is busy."""
        deadlines, waiting = self._deadlines, self._waiting
        expired: list[Request] = []
        if not waiting:
            deadlines.clear()
            return expired
        while deadlines:
            deadline, _, request = deadlines[0]
            if request in waiting:
                if deadline > now:
                    break
                expired.append(request)
                self._remove(request)
            heappop(deadlines)
        if len(deadlines) > 2 * len(waiting) + _DEAD:
            self._sweep_deadlines()
        return expired

    def next_expiry(self) -> float | None:
        """When the next waiting request expires; None where nothing waits or nothing ever expires."""
        deadlines, waiting = self._deadlines, self._waiting
        if not waiting:
            return None
        while deadlines[0][2] not in waiting:
            heappop(deadlines)
        deadline = deadlines[0][0]
        return deadline if deadline < inf else None

    def drain(self) -> list[Request]:
        """Everything that waits, in order; the queue is empty afterwards."""
        entries = [entry for bucket in self._buckets.values() for entry in bucket.heap if entry[2] in self._waiting]
        entries.sort()
        self._waiting.clear()
        self._buckets.clear()
        self._heads.clear()
        self._deadlines.clear()
        self.size = self._gone = 0
        return list(dict.fromkeys(entry[2] for entry in entries))  # cancelled and pushed again: two entries

    def work_s(self, service_time: ServiceTime) -> float:
        """Predicted seconds to compute all that waits, in batches of the largest useful size."""
        if not self.size:
            return 0.0
        a, c = service_time.a_s + self.settings.batch_cost_s, service_time.c_s
        most = min(self.settings.max_size, knee(a, c))
        return -(-self.size // most) * a + self.size * c

    def _plan(self, service_time: ServiceTime) -> None:
        settings = self.settings
        self._planned = service_time
        if service_time.samples:
            # Without the hop a model of a = 5 us and c = 150 us would get batches of one, and hop for each item.
            self._a, self._c = service_time.a_s + settings.batch_cost_s, service_time.c_s
            self._margin = settings.overhead_s + settings.margin_sd * service_time.sd_s
            self._top = min(settings.max_size, knee(self._a, self._c))
        else:
            self._a = self._c = self._margin = 0.0
            self._top = settings.max_size

    def _fitting(self) -> int:
        """The largest batch of which two fit the usual budget, for who comes just after one began waits for it and
        then for its own. Where not even two of one item do, one batch may fill it."""
        a, c, budget = self._a, self._c, self._budget
        return within(a, c, budget / 2 - self._margin) or within(a, c, budget - self._margin) or 1

    def _choose(self, now: float, rate: float, shed: list[Request]) -> _Choice | None:
        """The head's key and how much of it to run; heads that would keep batches inefficient go to `shed`."""
        a, c, margin, top = self._a, self._c, self._margin, self._top
        fitting = self._fitting()
        while True:
            bucket = self._head_bucket()
            if bucket is None:
                return None
            head = bucket.heap[0][2]
            size, items = head.size, bucket.items
            slack = head.deadline - now - margin
            if items == size:
                need = size
            else:
                # Efficient: keeps up with what comes and works the backlog off within one budget. But a request that
                # comes just after a batch began waits for that batch and then for its own: two must fit its time.
                need = min(keeping_up(a, c, rate + self.size / self._budget), fitting, items, top)
                if need < size:
                    need = size
            seconds = a + c * need
            if seconds <= slack or now >= self._probe_at:
                break
            shed.append(head)
            self._remove(head)
        to_target = min(head.target - now - margin, slack)
        # A head whose target is lost is served by its deadline, and doesn't make the batch small.
        aim = to_target if seconds <= to_target else slack
        if items == size:
            return _Choice(bucket, size, size, now + to_target - seconds)
        most = min(items, top)
        if items > top < self.settings.max_size:
            # Sizes beyond the knee must be seen now and then, or a wrong fit could never be noticed.
            self._held += 1
            if self._held >= _EXPLORE_EVERY:
                self._held = 0
                most = min(items, 2 * top, self.settings.max_size)
        most = min(most, within(a, c, aim), max(need, fitting))
        most = max(most, need)
        return _Choice(bucket, most, need, now + to_target - a - c * most)

    def _take(self, choice: _Choice, now: float, shed: list[Request]) -> list[Request]:
        """Fills the batch in order. A member that would be late makes it smaller down to `need`, else it is shed."""
        waiting, bucket, most = self._waiting, choice.bucket, choice.most
        heap = bucket.heap
        start = now + self._margin + self._a
        finish = start + self._c * most
        batch: list[Request] = []
        items = 0
        while heap:
            request = heap[0][2]
            if request not in waiting:
                heappop(heap)
                self._gone -= 1
                continue
            size = request.size
            if batch:
                if items + size > most:
                    break
                if request.deadline < finish:
                    fits = within(self._a, self._c, request.deadline - now - self._margin)
                    if fits < items + size or fits < choice.need:
                        shed.append(request)
                        self._remove(request)
                        continue
                    most = fits
                    finish = start + self._c * most
            heappop(heap)
            del waiting[request]
            batch.append(request)
            items += size
        bucket.items -= items
        self.size -= items
        return batch

    def _head_bucket(self) -> _Bucket | None:
        """The bucket whose head comes first of all."""
        heads, waiting = self._heads, self._waiting
        while heads:
            _, seq, bucket = heads[0]
            heap = bucket.heap
            while heap and heap[0][2] not in waiting:
                heappop(heap)
                self._gone -= 1
            if heap:
                order, first, _ = heap[0]
                if first == seq:
                    return bucket
                if bucket.listed != first:
                    bucket.listed = first
                    heapreplace(heads, (order, first, bucket))
                    continue
            heappop(heads)
        return None

    def _new_bucket(self, key: Hashable) -> _Bucket:
        buckets = self._buckets
        if len(buckets) >= self._purge_at:
            self._buckets = buckets = {k: bucket for k, bucket in buckets.items() if bucket.heap}
            self._purge_at = max(_KEPT_BUCKETS, 2 * len(buckets))
        bucket = buckets[key] = _Bucket()
        return bucket

    def _remove(self, request: Request) -> None:
        """Takes a request out without its entries: they are skipped when they come up, or swept when too many."""
        bucket = self._waiting.pop(request)
        bucket.items -= request.size
        self.size -= request.size
        self._gone += 1
        if self._gone > len(self._waiting) + _DEAD:
            self._sweep()

    def _sweep(self) -> None:
        waiting = self._waiting
        for bucket in self._buckets.values():
            bucket.heap[:] = [entry for entry in bucket.heap if entry[2] in waiting]
            heapify(bucket.heap)
        self._gone = 0
        self._relist()
        self._sweep_deadlines()

    def _sweep_deadlines(self) -> None:
        waiting = self._waiting
        self._deadlines[:] = [entry for entry in self._deadlines if entry[2] in waiting]
        heapify(self._deadlines)

    def _relist(self) -> None:
        heads = self._heads
        heads.clear()
        for bucket in self._buckets.values():
            if bucket.heap:
                order, bucket.listed, _ = bucket.heap[0]
                heads.append((order, bucket.listed, bucket))
        heapify(heads)
