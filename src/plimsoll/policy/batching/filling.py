"""A batch being filled: who may join it, and who would be late in it."""

from plimsoll.core.request import Request
from plimsoll.policy.batching.plan import BatchPlan
from plimsoll.policy.batching.sizing import within


class Filling:
    """Members are offered in order. `batch`: who joined, of `items`; `late`: who would have been late even in the
    smallest. `most` items may join; one that would be late makes it smaller, down to `need`. It ends at `finish`."""

    __slots__ = ("_need", "_now", "_plan", "batch", "finish", "items", "late", "left", "most")

    def __init__(self, plan: BatchPlan, most: int, need: int, finish: float, now: float) -> None:
        self._plan, self.most, self._need, self.finish, self._now = plan, most, need, finish, now
        self.batch: list[Request] = []
        self.late: list[Request] = []
        self.items = 0
        self.left = False  # the last one offered did not join

    def offer(self, request: Request) -> bool:
        """False: it is full, and `request` waits on. Else it has left the queue: it joined, or (`left`) is late."""
        items = self.items + request.size
        self.left = False
        if self.batch:
            if items > self.most:
                return False
            if request.deadline < self.finish:
                plan = self._plan
                fits = within(plan.a_s, plan.c_s, request.deadline - self._now - plan.margin_s)
                if fits < items or fits < self._need:
                    self.late.append(request)
                    self.left = True
                    return True
                self.finish -= plan.c_s * (self.most - fits)
                self.most = fits
        self.batch.append(request)
        self.items = items
        return True
