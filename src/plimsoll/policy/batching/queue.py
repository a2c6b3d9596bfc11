"""One replica's queue: earliest deadline first, batches sized by the learned service time. See docs/batching.md.

A host pushes requests as they come and polls whenever the model is free; `Poll` says what to run now, whom to answer
without computing, and when to look again though nothing happens. Everything is O(log n) a request.

Most queues hold requests of nobody in particular, of one key, whose targets and deadlines come in the order they came
themselves. As long as that is so they stand in a line, a deque, where a push costs 0.4 us; the first that is different
makes all of them move to lanes and heaps (1.1 us), which give the same answers, until nothing waits any more.
"""

from collections import deque
from collections.abc import Hashable
from math import inf, sqrt

from plimsoll.core.request import Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching.filling import Filling
from plimsoll.policy.batching.forecast import going_first
from plimsoll.policy.batching.lanes import Bucket
from plimsoll.policy.batching.plan import BatchPlan
from plimsoll.policy.batching.poll import BatchSettings, Choice, Poll
from plimsoll.policy.batching.rate import ArrivalRate
from plimsoll.policy.batching.sizing import keeping_up, within
from plimsoll.policy.batching.waiting import Waiting

_EXPLORE_EVERY = 32  # batches held at the knee before one goes beyond it
_SMALL, _EXPLORE_SMALL = 4, 4  # a knee as small as this costs most where it is wrong, and least to look beyond
_EXPLORE_SHARE = 0.03  # of the budget: what such a batch may take longer


class BatchQueue:
    """`size`: items waiting; `len()`: requests waiting; `rate.per_s`: items a second that arrive. `line`: not None
    where what waits stands in one: a host may then use again what has left, for nothing in here refers to it."""

    __slots__ = ("_held", "_key", "_last", "_latest", "_lingers_from", "_ones", "_probe_at", "_seq",
                 "_waiting", "line", "plan", "rate", "settings", "size")  # fmt: skip

    def __init__(self, settings: BatchSettings) -> None:
        self.settings = settings
        self.rate = ArrivalRate()
        self.size = 0
        self._seq = 0
        self.line: deque[Request] | None = deque()  # None: what waits is in `_waiting`
        self._key: Hashable = None  # of all in the line, and the latest moment and deadline
        self._latest = self._last = -inf
        self._ones = True  # each in the line is one item
        self._waiting = Waiting()  # what does not stand in a line
        self._lingers_from = -inf
        self._held = 0  # batches in a row that the knee kept smaller than the backlog
        self.plan = BatchPlan(settings)
        self._probe_at = inf  # inf: it was never polled

    def __len__(self) -> int:
        line = self.line
        return len(self._waiting.requests if line is None else line)

    def push(self, request: Request, now: float) -> None:
        line = self.line
        if line is None and not self.size and self._waiting.lanes.known == 1 and self._waiting.forget():
            line = self.line = deque()
        target, deadline, size = request.target, request.deadline, request.size
        moment = target if target < deadline else deadline
        seq = self._seq + 1
        if (
            line is None
            or request.priority
            or request.tenant
            or request.alone
            or request.place is self  # it may be in here already
            or (line and (moment < self._latest or deadline < self._last or request.key != self._key))
        ):
            if not self.size:
                self._lingers_from = now
            if line is not None:
                self._leave_line()
            self._waiting.add(request, moment, seq)
        else:
            if not line:
                self._key, self._ones, self._lingers_from = request.key, True, now
            if size != 1:
                self._ones = False
            self._latest, self._last = moment, deadline
            line.append(request)
        self._seq = seq
        request.queued, request.place = now, self
        if seq & 7 == 1:  # one in eight tells enough
            self.plan.asked(target - request.arrived)
        self.size += size
        self.rate.arrived += size

    def _leave_line(self) -> None:
        """All that stand in the line are put in order as if they had been from the beginning."""
        line, self.line = self.line or (), None
        first = self._seq - len(line) + 1  # they are those that came last
        for seq, request in enumerate(line, first):
            self._waiting.add(request, min(request.target, request.deadline), seq)

    def poll(self, now: float, service_time: ServiceTime) -> Poll:
        """Decides for a model that is free at `now`. Requests in the answer have left the queue.

        With `service_time.samples` of 0 nothing is known: what waits is taken in order up to `max_size`, and only
        what has expired is dropped.
        """
        rate = self.rate.update(now)
        if self._probe_at == inf:
            self._probe_at = now + self.settings.probe_s
        line = self.line
        expired = self.expire(now) if line is None or (line and line[0].deadline <= now) else []
        shed: list[Request] = []
        if not (self._waiting.requests if line is None else line):
            return Poll([], expired, shed, None)
        settings = self.settings
        plan = self.plan
        if service_time is not plan.learned:
            plan.learn(service_time)
        if line and (len(line) == 1 or settings.max_size == 1) and settings.linger_s <= 0.0:
            # The only one, or the only one that fits: nothing has to be weighed.
            head = line[0]
            slack = head.deadline - now - plan.margin_s
            if plan.a_s + plan.c_s * head.size <= slack or now >= self._probe_at:
                line.popleft()
                self.size -= head.size
                self._probe_at = now + settings.probe_s
                self._lingers_from = -inf
                return Poll([head], expired, shed, self.next_expiry() if line else None)
        choice = self._choose(now, rate, shed)
        if choice is None:
            return Poll([], expired, shed, None)
        if settings.linger_s > 0.0 and choice.items < plan.top:
            wake_at = min(self._lingers_from + settings.linger_s, choice.start_by)
            if wake_at > now and not choice.head.alone:
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
        a, c, usual = plan.a_s, plan.c_s, plan.usual
        line, size = self.line, request.size
        if line is not None and not request.priority and not request.tenant and self._is_last(request):
            ahead: float = self.size
        else:
            if line:
                self._leave_line()
            waiting = self._waiting
            lane = waiting.lane_of(request)
            ahead = 0.0 if lane is None else waiting.ahead(lane, min(request.target, request.deadline))
            if waiting.lanes.known > 1 or lane is None:
                rivals = waiting.lanes.rivals(request.priority, lane, request.weight, ahead + size, now)
                ahead += going_first(rivals, ahead + size, rest_s, a / usual + c)
        batches = ahead // usual
        part = ahead - batches * usual + size
        start = rest_s + batches * (a + c * usual)
        # Who comes until its batch starts joins it. Of n batches the spread is that of one times the root of n; of the
        # one that all predictions carry is counted elsewhere.
        spread = plan.spread_s * (sqrt(batches + 1.0) - 1.0)
        return start + spread + a + c * max(part, min(usual, part + self.rate.per_s * start))

    def at_most(self, rest_s: float, service_time: ServiceTime) -> float:
        """Never less than `forecast` of any newcomer of one item whom no others' turns concern; a third of its cost.
        inf where turns do."""
        if self.line is None and self._waiting.lanes.known > 1:
            return inf
        plan, size = self.plan, self.size
        if service_time is not plan.learned:
            plan.learn(service_time)
        if size < plan.usual:
            return rest_s + plan.full_s
        batches = size // plan.usual
        return rest_s + (batches + 1) * plan.full_s + plan.spread_s * (sqrt(batches + 1.0) - 1.0)

    def _is_last(self, request: Request) -> bool:
        """Would it stand behind all others in the line?"""
        latest = self._latest
        return not self.line or (request.target >= latest and request.deadline >= latest)

    def item_s(self, service_time: ServiceTime) -> float:
        """What one more item costs in batches of the usual size, seconds."""
        plan = self.plan
        if service_time is not plan.learned:
            plan.learn(service_time)
        return plan.item_s

    def goes_ahead(self, running_s: float) -> bool:
        """Whether to form the next batch while one of `running_s` runs: where that is so short that the way to the host
        and back would be a large part of it, and enough wait for a batch of the usual size, so that nobody who comes
        meanwhile could have joined."""
        settings, plan = self.settings, self.plan
        return running_s < settings.ahead_s and plan.c_s > 0.0 and not settings.linger_s and self.size >= plan.usual

    def may_probe(self, now: float) -> bool:
        """Has nothing run for so long that one should, to see whether the service time is still what it was?"""
        return not len(self) and (now >= self._probe_at or self._probe_at == inf)

    def ran(self, seconds: float, predicted_s: float) -> None:
        """The last batch's time. Where it took half of what was predicted the next may probe at once."""
        if seconds < predicted_s / 2:
            self._probe_at = -inf

    def cancel(self, request: Request) -> bool:
        """Forgets it. False where it isn't waiting: it runs, or was answered. O(1) but for a rare rebuild."""
        if self.line is not None:
            if request.place is not self or request not in self.line:
                return False
            self._leave_line()
        if not self._waiting.remove(request):
            return False
        self.size -= request.size
        return True

    def expire(self, now: float) -> list[Request]:
        """Takes out those whose deadline has passed. `poll` does it too; this is for while the model is busy."""
        line = self.line
        if line is None:
            expired = self._waiting.expire(now)
        else:
            expired = []
            while line and line[0].deadline <= now:
                expired.append(line.popleft())
        for request in expired:
            self.size -= request.size
        return expired

    def next_expiry(self) -> float | None:
        """When the next waiting request expires; None where nothing waits or nothing ever expires."""
        line = self.line
        first = self._waiting.next_deadline() if line is None else inf
        deadline = line[0].deadline if line else first
        return deadline if deadline < inf else None

    def drain(self) -> list[Request]:
        """Everything that waits, higher priorities first; the queue is empty afterwards."""
        line = self.line
        self.size = 0
        if line is None:
            everything = self._waiting.in_order()
            self._waiting = Waiting()
        else:
            everything = list(line)
            line.clear()
        return everything

    def work_s(self, service_time: ServiceTime) -> float:
        """Predicted seconds to compute all that waits, in batches of the largest useful size."""
        if not self.size:
            return 0.0
        plan, size = self.plan, self.size
        if service_time is not plan.learned:
            plan.learn(service_time)
        return -(-size // plan.efficient) * (service_time.a_s + plan.between_s) + size * service_time.c_s

    def _choose(self, now: float, rate: float, shed: list[Request]) -> Choice | None:
        """The head's key and how much of it to run; heads that would keep batches inefficient go to `shed`."""
        plan = self.plan
        a, c, margin, top = plan.a_s, plan.c_s, plan.margin_s, plan.top
        line = self.line
        bucket: Bucket | None = None
        while True:
            if line is not None:
                if not line:
                    return None
                head, items = line[0], self.size
            else:
                bucket = self._waiting.head()
                if bucket is None:
                    return None
                head, items = bucket.heap[0][2], bucket.shape.items
            size = head.size
            slack = head.deadline - now - margin
            if items == size:
                need = size
            else:
                # Efficient: keeps up with what comes and works the backlog off within one budget. But a request that
                # comes just after a batch began waits for that batch and then for its own: two must fit its time.
                fitting = plan.fitting
                need = min(keeping_up(a, c, rate + self.size / plan.budget_s), fitting, items, top)
                if need < size:
                    need = size
            seconds = a + c * need
            if seconds <= slack or now >= self._probe_at:
                break
            shed.append(head)
            self.size -= size
            if line is not None:
                line.popleft()
            else:
                self._waiting.remove(head)
        to_target = min(head.target - now - margin, slack)
        # A head whose target is lost is served by its deadline, and doesn't make the batch small.
        aim = to_target if seconds <= to_target else slack
        if items == size:
            return Choice(bucket, head, items, size, size, now + to_target - seconds)
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
        return Choice(bucket, head, items, most, need, now + to_target - a - c * most)

    def _take(self, choice: Choice, now: float, shed: list[Request]) -> list[Request]:
        """Fills the batch in order. A member that would be late makes it smaller down to `need`, else it is shed."""
        line, plan = self.line, self.plan
        finish = now + plan.margin_s + plan.a_s + plan.c_s * choice.most
        if line is not None and self._ones and (len(line) == 1 or line[1].deadline >= finish):
            # Nobody in it would be late: those behind the second have no earlier deadlines.
            if choice.most >= len(line):
                batch = list(line)
                line.clear()
            else:
                batch = [line.popleft() for _ in range(choice.most)]
            self.size -= len(batch)
            return batch
        if choice.bucket is not None and choice.items == choice.head.size:
            self.size -= choice.items
            return [self._waiting.take(choice.bucket)]
        filling = Filling(plan, choice.most, choice.need, finish, now)
        if line is not None:
            while line and filling.offer(line[0]):
                line.popleft()
        elif choice.bucket is not None:
            self._waiting.fill(filling, choice.bucket)
        for request in filling.late:
            self.size -= request.size
        self.size -= filling.items
        shed += filling.late
        return filling.batch
