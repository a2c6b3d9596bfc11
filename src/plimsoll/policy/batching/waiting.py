"""Requests that wait in lanes and heaps: found by whose turn it is, by deadline, by themselves.

Entries in the heaps whose request isn't in here any more are dead, and skipped when they come up.
"""

from heapq import heapify, heappop, heappush
from math import inf

from plimsoll.core.request import Request
from plimsoll.policy.batching.filling import Filling
from plimsoll.policy.batching.lanes import Bucket, Lane, Lanes, Level, Turn

_DEAD = 256  # dead entries tolerated before heaps are rebuilt


class Waiting:
    """`requests`: what waits, each with its bucket."""

    __slots__ = ("_deadlines", "_gone", "lanes", "requests")

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.requests: dict[Request, Bucket] = {}
        self._gone = 0  # dead entries in the buckets, at most
        self._deadlines: list[tuple[float, int, Request]] = []

    def add(self, request: Request, moment: float, seq: int) -> None:
        """`moment`: its target, or its deadline where that is sooner. ValueError where it is in here already."""
        waiting = self.requests
        if request in waiting:
            raise ValueError(f"request {request.id} is in the queue already")
        lanes = self.lanes
        lane = lanes.last
        if lane.tenant != request.tenant or lane.priority != request.priority:
            lane = lanes.lane(request.priority, request.tenant)
        key = request if request.alone else request.key  # a request equals only itself: nobody joins it
        bucket = lane.buckets.get(key)
        if bucket is None:
            bucket = lanes.bucket(lane, key)
        size = request.size
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
        heappush(self._deadlines, (request.deadline, seq, request))
        waiting[request] = bucket
        bucket.shape.items += size

    def forget(self) -> bool:
        """Drops what is dead. True where nothing waits, and nobody's lane is the only one that is known, so that no
        turns have to be remembered."""
        lanes = self.lanes
        if self.requests or lanes.known != 1 or lanes.last.tenant or lanes.last.priority:
            return False
        self._deadlines.clear()
        if self._gone:
            self._sweep()
        return True

    def lane_of(self, request: Request) -> Lane | None:
        """None: nobody of its tenant and priority was here lately."""
        lanes = self.lanes
        if request.tenant == lanes.last.tenant and request.priority == lanes.last.priority:
            return lanes.last
        return lanes.find(request.priority, request.tenant)

    def ahead(self, lane: Lane, moment: float) -> int:
        """Items of the lane that go before one of `moment`."""
        return lane.ahead(moment, self.requests)

    def head(self) -> Bucket | None:
        """Whose turn it is: its first request is the first of all."""
        lone = self.lanes.lone
        return self.lanes.head(self.requests) if lone is None else lone.head(self.requests)

    def take(self, bucket: Bucket) -> Request:
        """The first of `bucket`, which `head` gave: a batch of its own."""
        moment, _, request = heappop(bucket.heap)
        lane, size = bucket.lane, request.size
        del self.requests[request]
        if lane.slots is not None:
            lane.slots.take(moment, size)
        if self.lanes.known > 1:
            lane.level.charge(lane, size)
        self._leave(bucket, size)
        return request

    def fill(self, filling: Filling, bucket: Bucket) -> None:
        """From `bucket`, which `head` gave, and others of its key in their turns."""
        if self.lanes.lone is None:
            self._fill_in_turn(filling, bucket)
            return
        waiting, heap, lane = self.requests, bucket.heap, bucket.lane
        batch = filling.batch
        while heap:
            moment, _, request = heap[0]
            if request not in waiting:
                heappop(heap)
                continue
            items = filling.items + request.size
            if items <= filling.most and request.deadline >= filling.finish:  # as `offer`, without the call
                batch.append(request)
                filling.items = items
            elif not filling.offer(request):
                break
            elif filling.left:
                self.remove(request)
                continue
            heappop(heap)
            del waiting[request]
            if lane.slots is not None:
                lane.slots.take(moment, request.size)
        bucket.shape.items -= filling.items
        lane.items -= filling.items
        if self.lanes.known > 1:
            lane.level.charge(lane, filling.items)

    def _fill_in_turn(self, filling: Filling, first: Bucket) -> None:
        """As `fill`, with a turn of the lanes for each member."""
        lanes, shape = self.lanes, first.shape
        bucket: Bucket | None = first
        passed: list[tuple[Level, Turn]] = []
        while bucket is not None:
            request = bucket.heap[0][2]
            if not filling.offer(request):
                break
            if filling.left:
                self.remove(request)
            else:
                self.take(bucket)
            bucket = lanes.next_of(shape.key, self.requests, passed)
        lanes.restore(passed)

    def remove(self, request: Request) -> bool:
        """Takes a request out without its entries: they are skipped when they come up, or swept when too many. False
        where it isn't here."""
        bucket = self.requests.pop(request, None)
        if bucket is None:
            return False
        lane, size = bucket.lane, request.size
        if lane.slots is not None:
            lane.slots.take(min(request.target, request.deadline), size)
        self._leave(bucket, size)
        self._gone += 1
        if self._gone > len(self.requests) + _DEAD:
            self._sweep()
        return True

    def _leave(self, bucket: Bucket, size: int) -> None:
        lane, lanes = bucket.lane, self.lanes
        bucket.shape.items -= size
        lane.items -= size
        if not lane.items and lanes.lone is not lane:
            lanes.sleep(lane)

    def expire(self, now: float) -> list[Request]:
        """Takes out those whose deadline has passed."""
        deadlines, waiting = self._deadlines, self.requests
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
                self.remove(request)
            heappop(deadlines)
        if len(deadlines) > 2 * len(waiting) + _DEAD:
            self._sweep_deadlines()
        return expired

    def next_deadline(self) -> float:
        """inf where nothing waits."""
        deadlines, waiting = self._deadlines, self.requests
        if not waiting:
            return inf
        while deadlines[0][2] not in waiting:
            heappop(deadlines)
        return deadlines[0][0]

    def in_order(self) -> list[Request]:
        """Everything, higher priorities first."""
        waiting = sorted(
            (-bucket.lane.priority, moment, seq, request)
            for bucket in self.lanes.buckets()
            for moment, seq, request in bucket.heap
            if request in self.requests
        )
        return list(dict.fromkeys(entry[3] for entry in waiting))  # cancelled and pushed again: two entries

    def _sweep(self) -> None:
        self._gone = 0
        self.lanes.sweep(self.requests)
        self._sweep_deadlines()

    def _sweep_deadlines(self) -> None:
        waiting = self.requests
        self._deadlines[:] = [entry for entry in self._deadlines if entry[2] in waiting]
        heapify(self._deadlines)
