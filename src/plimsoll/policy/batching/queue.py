"""One replica's queue: earliest deadline first, batches sized by the learned service time. See docs/batching.md.

A host pushes requests as they come and polls whenever the model is free; `Poll` says what to run now, whom to answer
without computing, and when to look again though nothing happens. Everything is O(log n) a request.
"""

from heapq import heapify, heappop, heappush
from math import inf, sqrt

from plimsoll.core.request import Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching.forecast import going_first
from plimsoll.policy.batching.lanes import Bucket, Lane, Lanes, Level, Turn
from plimsoll.policy.batching.plan import BatchPlan
from plimsoll.policy.batching.poll import BatchSettings, Choice, Poll
from plimsoll.policy.batching.rate import ArrivalRate
from plimsoll.policy.batching.sizing import keeping_up, knee, within

_EXPLORE_EVERY = 32  # batches held at the knee before one goes beyond it
_SMALL, _EXPLORE_SMALL = 4, 4  # a knee as small as this costs most where it is wrong, and least to look beyond
_EXPLORE_SHARE = 0.03  # of the budget: what such a batch may take longer
_DEAD = 256  # dead entries tolerated before heaps are rebuilt


class BatchQueue:
    """`size`: items waiting; `len()`: requests waiting; `rate.per_s`: items a second that arrive."""

    __slots__ = ("_deadlines", "_gone", "_held", "_lanes", "_lingers_from", "_probe_at", "_seq", "_waiting", "plan",
                 "rate", "settings", "size")  # fmt: skip

    def __init__(self, settings: BatchSettings) -> None:
        self.settings = settings
        self.rate = ArrivalRate()
        self.size = 0
        self._seq = 0
        # Entries in the heaps whose request isn't in here any more are dead, and skipped when they come up.
        self._waiting: dict[Request, Bucket] = {}
        self._gone = 0  # dead entries in the buckets, at most
        self._lanes = Lanes()
        self._deadlines: list[tuple[float, int, Request]] = []
        self._lingers_from = -inf
        self._held = 0  # batches in a row that the knee kept smaller than the backlog
        self.plan = BatchPlan(settings)
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
        lanes = self._lanes
        lane = lanes.last
        if lane.tenant != request.tenant or lane.priority != request.priority:
            lane = lanes.lane(request.priority, request.tenant)
        key = request if request.alone else request.key  # a request equals only itself: nobody joins it
        bucket = lane.buckets.get(key)
        if bucket is None:
            bucket = lanes.bucket(lane, key)
        target, deadline, size = request.target, request.deadline, request.size
        moment = target if target < deadline else deadline
        heap = bucket.heap
        heappush(heap, (moment, seq, request))
        if heap[0][1] == seq:
            lane.enlist(bucket, moment, seq)
        if not lane.items:
            lane.weight, lane.latest, lane.slots = request.weight, moment, None
            if lanes.lone is not lane:
                lanes.wake(lane)
        elif moment > lane.latest:
            lane.latest = moment
        lane.items += size
        if lane.slots is not None:
            lane.slots.add(moment, size)
        if lanes.lone is not lane:
            lane.rate.arrived += size
            lane.level.rate.arrived += size
        heappush(self._deadlines, (deadline, seq, request))
        if seq & 7 == 1:  # one in eight tells enough
            self.plan.asked(target - request.arrived)
        waiting[request] = bucket
        bucket.shape.items += size
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
        plan = self.plan
        plan.learn(service_time)
        choice = self._choose(now, rate, shed)
        if choice is None:
            return Poll([], expired, shed, None)
        if settings.linger_s > 0.0 and choice.bucket.shape.items < plan.top:
            wake_at = min(self._lingers_from + settings.linger_s, choice.start_by)
            if wake_at > now and not choice.bucket.heap[0][2].alone:
                expiry = self.next_expiry()
                return Poll([], expired, shed, wake_at if expiry is None else min(wake_at, expiry))
        batch = self._take(choice, now, shed)
        self._probe_at = now + settings.probe_s
        self._lingers_from = -inf  # what is left has waited for this batch already
        return Poll(batch, expired, shed, self.next_expiry())

    def forecast(self, request: Request, now: float, rest_s: float, service_time: ServiceTime) -> float:
        """Predicted seconds until `request`, not in here yet, would be computed. `rest_s`: of the batch under way."""
        plan = self.plan
        plan.learn(service_time)
        a, c, usual = plan.a_s, plan.c_s, plan.usual()
        lanes = self._lanes
        lane: Lane | None = lanes.last
        if request.tenant != lanes.last.tenant or request.priority != lanes.last.priority:
            lane = lanes.find(request.priority, request.tenant)
        size = request.size
        ahead = 0.0 if lane is None else lane.ahead(min(request.target, request.deadline), self._waiting)
        if lanes.known > 1 or lane is None:
            rivals = lanes.rivals(request.priority, lane, request.weight, ahead + size, now)
            ahead += going_first(rivals, ahead + size, rest_s, a / usual + c)
        batches = ahead // usual
        part = ahead - batches * usual + size
        start = rest_s + batches * (a + c * usual)
        # Who comes until its batch starts joins it. Of n batches the spread is that of one times the root of n; of the
        # one that all predictions carry is counted elsewhere.
        spread = plan.spread_s * (sqrt(batches + 1.0) - 1.0)
        return start + spread + a + c * max(part, min(usual, part + self.rate.per_s * start))

    def item_s(self, service_time: ServiceTime) -> float:
        """What one more item costs in batches of the usual size, seconds."""
        plan = self.plan
        plan.learn(service_time)
        return plan.a_s / plan.usual() + plan.c_s

    def goes_ahead(self, running_s: float) -> bool:
        """Whether to form the next batch while one of `running_s` runs: where that is so short that the way to the host
        and back would be a large part of it, and enough wait for a batch of the usual size, so that nobody who comes
        meanwhile could have joined."""
        settings, plan = self.settings, self.plan
        return running_s < settings.ahead_s and plan.c_s > 0.0 and not settings.linger_s and self.size >= plan.usual()

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
        """Everything that waits, higher priorities first; the queue is empty afterwards."""
        waiting = sorted(
            (-bucket.lane.priority, moment, seq, request)
            for bucket in self._lanes.buckets()
            for moment, seq, request in bucket.heap
            if request in self._waiting
        )
        self._waiting.clear()
        self._lanes = Lanes()
        self._deadlines.clear()
        self.size = self._gone = 0
        return list(dict.fromkeys(entry[3] for entry in waiting))  # cancelled and pushed again: two entries

    def work_s(self, service_time: ServiceTime) -> float:
        """Predicted seconds to compute all that waits, in batches of the largest useful size."""
        if not self.size:
            return 0.0
        a, c = service_time.a_s + self.plan.between_s, service_time.c_s
        most = min(self.settings.max_size, knee(a, c))
        return -(-self.size // most) * a + self.size * c

    def _choose(self, now: float, rate: float, shed: list[Request]) -> Choice | None:
        """The head's key and how much of it to run; heads that would keep batches inefficient go to `shed`."""
        plan = self.plan
        a, c, margin, top = plan.a_s, plan.c_s, plan.margin_s, plan.top
        waiting, lanes = self._waiting, self._lanes
        lone = lanes.lone
        while True:
            bucket = lanes.head(waiting) if lone is None else lone.head(waiting)
            if bucket is None:
                return None
            head = bucket.heap[0][2]
            size, items = head.size, bucket.shape.items
            slack = head.deadline - now - margin
            if items == size:
                need = size
            else:
                # Efficient: keeps up with what comes and works the backlog off within one budget. But a request that
                # comes just after a batch began waits for that batch and then for its own: two must fit its time.
                fitting = plan.fitting()
                need = min(keeping_up(a, c, rate + self.size / plan.budget_s), fitting, items, top)
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
            return Choice(bucket, size, size, now + to_target - seconds)
        most = min(items, top)
        if items > top < self.settings.max_size:
            # Sizes beyond the knee must be seen now and then, or a wrong fit could never be noticed.
            self._held += 1
            if self._held >= (_EXPLORE_EVERY if top > _SMALL else _EXPLORE_SMALL):
                self._held = 0
                # Those behind it were promised smaller ones.
                more = within(0.0, c, _EXPLORE_SHARE * plan.budget_s) or 1
                most = min(items, 2 * top, top + more, self.settings.max_size)
        most = min(most, within(a, c, aim), max(need, fitting))
        most = max(most, need)
        return Choice(bucket, most, need, now + to_target - a - c * most)

    def _take(self, choice: Choice, now: float, shed: list[Request]) -> list[Request]:
        """Fills the batch in order. A member that would be late makes it smaller down to `need`, else it is shed."""
        if self._lanes.lone is None:
            return self._take_in_turn(choice, now, shed)
        waiting, bucket, most = self._waiting, choice.bucket, choice.most
        heap, lane = bucket.heap, bucket.lane
        finish = now + self.plan.margin_s + self.plan.a_s + self.plan.c_s * most
        batch: list[Request] = []
        items = 0
        while heap:
            moment, _, request = heap[0]
            if request not in waiting:
                heappop(heap)
                continue
            size = request.size
            if batch:
                if items + size > most:
                    break
                if request.deadline < finish:
                    fits = self._smaller(choice, items + size, request, now, shed)
                    if not fits:
                        continue
                    finish -= self.plan.c_s * (most - fits)
                    most = fits
            heappop(heap)
            del waiting[request]
            batch.append(request)
            items += size
            if lane.slots is not None:
                lane.slots.take(moment, size)
        bucket.shape.items -= items
        lane.items -= items
        self.size -= items
        if self._lanes.known > 1:
            lane.level.charge(lane, items)
        return batch

    def _take_in_turn(self, choice: Choice, now: float, shed: list[Request]) -> list[Request]:
        """As `_take`, with a turn of the lanes for each member."""
        waiting, most, lanes = self._waiting, choice.most, self._lanes
        bucket: Bucket | None = choice.bucket
        shape = choice.bucket.shape
        passed: list[tuple[Level, Turn]] = []
        finish = now + self.plan.margin_s + self.plan.a_s + self.plan.c_s * most
        batch: list[Request] = []
        items = 0
        while bucket is not None:
            moment, _, request = bucket.heap[0]
            size, lane = request.size, bucket.lane
            if batch and items + size > most:
                break
            fits = most
            if batch and request.deadline < finish:
                fits = self._smaller(choice, items + size, request, now, shed)
            if fits:
                finish -= self.plan.c_s * (most - fits)
                most = fits
                heappop(bucket.heap)
                del waiting[request]
                batch.append(request)
                items += size
                if lane.slots is not None:
                    lane.slots.take(moment, size)
                lane.level.charge(lane, size)
                self._leave(bucket, size)
            bucket = lanes.next_of(shape.key, waiting, passed)
        lanes.restore(passed)
        return batch

    def _smaller(self, choice: Choice, items: int, late: Request, now: float, shed: list[Request]) -> int:
        """The size with which `late` is in time as one of `items`; 0 where it was shed."""
        fits = within(self.plan.a_s, self.plan.c_s, late.deadline - now - self.plan.margin_s)
        if fits >= items and fits >= choice.need:
            return fits
        shed.append(late)
        self._remove(late)
        return 0

    def _leave(self, bucket: Bucket, size: int) -> None:
        lane, lanes = bucket.lane, self._lanes
        bucket.shape.items -= size
        self.size -= size
        lane.items -= size
        if not lane.items and lanes.lone is not lane:
            lanes.sleep(lane)

    def _remove(self, request: Request) -> None:
        """Takes a request out without its entries: they are skipped when they come up, or swept when too many."""
        bucket = self._waiting.pop(request)
        lane, size = bucket.lane, request.size
        if lane.slots is not None:
            lane.slots.take(min(request.target, request.deadline), size)
        self._leave(bucket, size)
        self._gone += 1
        if self._gone > len(self._waiting) + _DEAD:
            self._sweep()

    def _sweep(self) -> None:
        self._gone = 0
        self._lanes.sweep(self._waiting)
        self._sweep_deadlines()

    def _sweep_deadlines(self) -> None:
        waiting = self._waiting
        self._deadlines[:] = [entry for entry in self._deadlines if entry[2] in waiting]
        heapify(self._deadlines)
