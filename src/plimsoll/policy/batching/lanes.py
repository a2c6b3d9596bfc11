"""Whose turn it is: strict priority, then deficit round robin over tenants by weight, then the earliest target.

A lane holds what one tenant has waiting at one priority. Deficit round robin (Shreedhar, Varghese: "Efficient Fair
Queuing Using Deficit Round Robin", SIGCOMM 1995) in the form that lets a lane overdraw (RFC 8290 section 4.1.1): in
each round a lane earns its weight, it may go as long as it has credit, and what it took is charged. The rounds are
counted, not walked: a lane stands in a heap under the round in which it has credit again, so a turn is O(log lanes)
whatever the sizes and weights are. A tenant that asked for less than its share keeps some of the rounds that went by
without it, so that its next few requests go first.

As long as one lane alone has anything waiting only the charges are kept.
"""

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from math import floor, inf

from plimsoll.core.request import Request
from plimsoll.policy.batching.rate import ArrivalRate
from plimsoll.policy.batching.slots import Slots

_EARNED = 0.25  # items that a weight of 1 earns in a round: small, so that turns interleave finely
_KEPT_ROUNDS = 64.0  # of the past that a lane may still claim: 16 items at a weight of 1
_KEPT = 64  # empty buckets kept for their keys' next request, and empty lanes: making one costs as much as a push
_SLACK = 256  # old entries tolerated before the ring is rebuilt
_EXACT = 32  # lanes up to which those are asked, too, that have nothing waiting now but may have soon

Entry = tuple[float, int, Request]  # the moment that orders it, sequence, request
Rival = tuple[float, float, float]  # items that wait, items a second that come, at most so many items by its turns
Turn = tuple[float, int, "Lane"]  # the round in which it may go, its place in a round, the lane


class Shape:
    """All that waits under one key, whoever's: `items` can share batches. `buckets` refer to it."""

    __slots__ = ("buckets", "items", "key")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.items = 0
        self.buckets = 0


class Bucket:
    """One lane's requests of one key: a heap. `listed`: the sequence number under which its head stands among the
    lane's heads."""

    __slots__ = ("heap", "lane", "listed", "shape")

    def __init__(self, lane: "Lane", shape: Shape) -> None:
        self.lane, self.shape = lane, shape
        self.heap: list[Entry] = []
        self.listed = 0


class Lane:
    """One tenant's requests of one priority. `items` waiting; `latest`: no request in it has a later moment.

    `due`: the round in which it may go again; `credit`: what it may take then, items; `place`: its place in a round.
    """

    __slots__ = ("buckets", "busy", "credit", "due", "heads", "items", "latest", "level", "place", "priority",
                 "purge_at", "rate", "slots", "tenant", "weight")  # fmt: skip

    def __init__(self, level: "Level", tenant: str) -> None:
        self.level, self.priority, self.tenant = level, level.priority, tenant
        self.weight = 1.0
        self.buckets: dict[Hashable, Bucket] = {}
        self.purge_at = _KEPT
        self.heads: list[tuple[float, int, Bucket]] = []  # for each bucket one entry no later than its head
        self.items = 0
        self.latest = -inf
        self.slots: Slots | None = None  # made when first somebody asks for a place before `latest`
        self.rate = ArrivalRate()  # of what came while others had something waiting
        self.busy = -1
        self.due = 0.0
        self.credit = 0.0
        self.place = 0

    def charge(self, items: int) -> None:
        """It took so many. Where its credit is used up it waits as many rounds as earn more than nothing."""
        self.credit -= items
        if self.credit <= 0.0:
            earned = _EARNED * self.weight
            rounds = floor(-self.credit / earned) + 1
            self.credit += rounds * earned
            self.due += rounds

    def ahead(self, moment: float, waiting: dict[Request, Bucket]) -> int:
        """Items that go before one whose target or deadline is at `moment`."""
        if moment >= self.latest:
            return self.items
        if self.slots is None:
            self.slots = Slots()
            for bucket in self.buckets.values():
                for at, _, request in bucket.heap:
                    if request in waiting:
                        self.slots.add(at, request.size)
        return self.slots.until(moment)

    def head(self, waiting: dict[Request, Bucket]) -> Bucket | None:
        """The bucket whose head comes first. Heads that don't wait any more are dropped on the way."""
        heads = self.heads
        while heads:
            _, seq, bucket = heads[0]
            heap = bucket.heap
            while heap and heap[0][2] not in waiting:
                heappop(heap)
            if heap:
                moment, first, _ = heap[0]
                if first == seq:
                    return bucket
                if bucket.listed != first:
                    bucket.listed = first
                    heapreplace(heads, (moment, first, bucket))
                    continue
            heappop(heads)
        return None

    def enlist(self, bucket: Bucket, moment: float, seq: int) -> None:
        """`bucket` has a new head."""
        bucket.listed = seq
        heappush(self.heads, (moment, seq, bucket))
        if len(self.heads) > 2 * len(self.buckets) + _SLACK:
            self.relist()

    def relist(self) -> None:
        heads = self.heads
        heads.clear()
        for bucket in self.buckets.values():
            if bucket.heap:
                moment, bucket.listed, _ = bucket.heap[0]
                heads.append((moment, bucket.listed, bucket))
        heapify(heads)


class Level:
    """One priority: its lanes, and the round they are in."""

    __slots__ = ("active", "busy", "lanes", "places", "priority", "purge_at", "rate", "ring", "round", "weight")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.lanes: dict[str, Lane] = {}
        self.active: dict[Lane, None] = {}  # those with anything waiting
        self.ring: list[tuple[float, int, Lane]] = []  # (due, place, lane) of each active lane, and old entries
        self.round = 0.0
        self.busy = 0  # times that it was; debts and claims end when nothing waits
        self.rate = ArrivalRate()
        self.weight = 0.0  # of the active lanes
        self.places = 0
        self.purge_at = _KEPT

    def first(self) -> Lane | None:
        """The lane whose turn it is."""
        active, ring = self.active, self.ring
        if len(active) <= 1:
            return next(iter(active), None)
        while True:
            due, place, lane = ring[0]
            if lane in active and lane.due == due and lane.place == place:
                self.round = max(self.round, due)
                return lane
            heappop(ring)

    def charge(self, lane: Lane, items: int) -> None:
        """`lane` has its turn and takes so many."""
        before = lane.due
        lane.charge(items)
        if len(self.active) == 1:
            self.round = max(self.round, lane.due)  # who comes back finds that rounds have gone by
        elif lane.due != before:
            heapreplace(self.ring, (lane.due, lane.place, lane))

    def forget_lanes(self) -> list[Lane]:
        """Those with nothing waiting, and neither a debt nor a smaller claim than a new one's. Returns them."""
        claim, busy, active = self.round - _KEPT_ROUNDS, self.busy, self.active
        gone = [lane for lane in self.lanes.values() if lane not in active and (lane.busy != busy or lane.due <= claim)]
        for lane in gone:
            del self.lanes[lane.tenant]
        self.purge_at = max(_KEPT, 2 * len(self.lanes))
        return gone


class Lanes:
    """The order. `lone`: the only lane with anything waiting, or the last that had; None where there are several."""

    __slots__ = ("_levels", "_order", "_shapes", "active", "known", "last", "lone")

    def __init__(self) -> None:
        self._levels: dict[int, Level] = {}
        self._order: list[Level] = []  # the highest priority first
        self._shapes: dict[Hashable, Shape] = {}
        self.active = 0  # lanes with anything waiting; an empty lone one counts
        self.lone: Lane | None = None
        self.known = 0  # lanes, whether anything waits in them or not
        self.last: Lane = self.lane(0, "")  # the last that `lane` gave

    def lane(self, priority: int, tenant: str) -> Lane:
        """Made where there is none."""
        level = self._levels.get(priority)
        if level is None:
            self._forget_levels()
            level = self._levels[priority] = Level(priority)
            self._order.append(level)
            self._order.sort(key=_rank)
        lane = level.lanes.get(tenant)
        if lane is None:
            if len(level.lanes) >= level.purge_at:
                for gone in level.forget_lanes():
                    self._release_all(gone)
            lane = level.lanes[tenant] = Lane(level, tenant)
            self.known += 1
        self.last = lane
        return lane

    def bucket(self, lane: Lane, key: Hashable) -> Bucket:
        """The lane's for `key`; made where there is none."""
        bucket = lane.buckets.get(key)
        if bucket is None:
            if len(lane.buckets) >= lane.purge_at:
                self._forget_buckets(lane)
            shape = self._shapes.get(key)
            if shape is None:
                shape = self._shapes[key] = Shape(key)
            shape.buckets += 1
            bucket = lane.buckets[key] = Bucket(lane, shape)
        return bucket

    def find(self, priority: int, tenant: str) -> Lane | None:
        level = self._levels.get(priority)
        return level.lanes.get(tenant) if level is not None else None

    def wake(self, lane: Lane) -> None:
        """Something waits in it now. Not for `lone`, which is left as it is while nothing waits."""
        if self.lone is not None and not self.lone.items:
            self.sleep(self.lone)
        level, active = lane.level, lane.level.active
        if lane.busy != level.busy:
            lane.busy, lane.due, lane.credit = level.busy, level.round - _KEPT_ROUNDS, 0.0
        if len(active) == 1:
            other = next(iter(active))
            other.due = max(level.round, other.due)  # a claim is for who comes, not for who was alone
            level.ring[:] = [(other.due, other.place, other)]
        active[lane] = None
        level.weight += lane.weight
        level.places += 1
        lane.place = level.places
        claim = level.round - (_KEPT_ROUNDS if len(active) > 1 else 0.0)
        if lane.due < claim or lane.credit <= 0.0:
            lane.due, lane.credit = max(lane.due, claim), _EARNED * lane.weight
        if len(active) > 1:
            heappush(level.ring, (lane.due, lane.place, lane))
            if len(level.ring) > 2 * len(active) + _SLACK:
                level.ring[:] = [(lane.due, lane.place, lane) for lane in active]
                heapify(level.ring)
        self.active += 1
        self.lone = lane if self.active == 1 else None

    def sleep(self, lane: Lane) -> None:
        """Nothing waits in it any more."""
        level = lane.level
        del level.active[lane]
        level.weight = level.weight - lane.weight if level.active else 0.0
        if not level.active:
            level.busy += 1
        self.active -= 1
        self.lone = (
            next(iter(next(level for level in self._order if level.active).active)) if self.active == 1 else None
        )

    def head(self, waiting: dict[Request, Bucket]) -> Bucket | None:
        """The bucket whose head comes first of all."""
        lane = self.lone
        if lane is None:
            for level in self._order:
                lane = level.first()
                if lane is not None:
                    break
            else:
                return None
        return lane.head(waiting)

    def next_of(self, key: Hashable, waiting: dict[Request, Bucket], passed: list[tuple[Level, Turn]]) -> Bucket | None:
        """The bucket of `key` whose turn it is. Lanes without it lose their place to `passed`: hand that to `restore`
        when the batch is full."""
        for level in self._order:
            ring, active = level.ring, level.active
            if len(active) == 1:
                bucket = _live(next(iter(active)), key, waiting)
                if bucket is not None:
                    return bucket
                continue
            while ring and active:
                due, place, lane = turn = ring[0]
                if lane in active and lane.due == due and lane.place == place:
                    bucket = _live(lane, key, waiting)
                    if bucket is not None:
                        level.round = max(level.round, due)
                        return bucket
                    passed.append((level, turn))
                heappop(ring)
        return None

    def restore(self, passed: list[tuple[Level, Turn]]) -> None:
        for level, turn in passed:
            heappush(level.ring, turn)

    def rivals(self, priority: int, lane: Lane | None, weight: float, items: float, now: float) -> list[Rival]:
        """What may go before the last of `items` of `lane` (None: a new tenant's): all of higher priority, and what
        turns give the other tenants until then."""
        found: list[Rival] = []
        for level in self._order:
            if level.priority < priority:
                break
            if level.priority > priority:
                found.append((sum(other.items for other in level.active), level.rate.update(now), inf))
                continue
            claim = level.round - _KEPT_ROUNDS
            begins = claim if lane is None or lane.busy != level.busy else max(lane.due, claim)
            last = begins + max(items - 1.0, 0.0) / (_EARNED * weight)  # the round in which the last of them goes
            many = len(level.lanes) > _EXACT
            if many and len(level.active) > _EXACT:
                # Too many to ask each: those that wait by their turns, and those to come as if each were a newcomer.
                own, own_rate = (lane.items, lane.rate.update(now)) if lane else (0, 0.0)
                turns = max(0.0, last - level.round) * _EARNED * level.weight + len(level.active)
                waits = min(sum(other.items for other in level.active) - own, turns)
                found.append((waits, max(level.rate.update(now) - own_rate, 0.0), inf))
                continue
            for other in level.active if many else level.lanes.values():
                if other is not lane:
                    due = other.due if other.items else max(other.due, claim)
                    turns = max(0.0, last - due) * _EARNED * other.weight + 1.0
                    found.append((other.items, other.rate.update(now), turns))
            if many:
                known = sum(other.rate.per_s for other in level.active)
                found.append((0, max(level.rate.update(now) - known, 0.0), inf))
        return found

    def buckets(self) -> Iterator[Bucket]:
        """Those that may hold something."""
        for level in self._order:
            for lane in level.active:
                yield from lane.buckets.values()

    def sweep(self, waiting: dict[Request, Bucket]) -> None:
        """Drops what doesn't wait any more."""
        for level in self._order:
            for lane in level.lanes.values():
                for bucket in lane.buckets.values():
                    bucket.heap[:] = [entry for entry in bucket.heap if entry[2] in waiting]
                    heapify(bucket.heap)
                lane.relist()

    def _forget_levels(self) -> None:
        for level in self._order:
            if not level.active:
                for lane in level.lanes.values():
                    self._release_all(lane)
        self._order = [level for level in self._order if level.active]
        self._levels = {level.priority: level for level in self._order}

    def _release_all(self, lane: Lane) -> None:
        self.known -= 1
        for bucket in lane.buckets.values():
            self._release(bucket)

    def _forget_buckets(self, lane: Lane) -> None:
        kept = {}
        for key, bucket in lane.buckets.items():
            if bucket.heap:
                kept[key] = bucket
            else:
                self._release(bucket)
        lane.buckets = kept
        lane.purge_at = max(_KEPT, 2 * len(kept))

    def _release(self, bucket: Bucket) -> None:
        shape = bucket.shape
        shape.buckets -= 1
        if not shape.buckets:
            del self._shapes[shape.key]


def _live(lane: Lane, key: Hashable, waiting: dict[Request, Bucket]) -> Bucket | None:
    """The lane's bucket of `key`, where anything waits in it."""
    bucket = lane.buckets.get(key)
    if bucket is None:
        return None
    heap = bucket.heap
    while heap and heap[0][2] not in waiting:
        heappop(heap)
    return bucket if heap else None


def _rank(level: Level) -> int:
    return -level.priority
