"""What the learned service time means for batches: how large one should be, and what it costs beside the model."""

from math import inf

from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching.poll import BatchSettings
from plimsoll.policy.batching.sizing import knee, within

_LARGE, _SPARING = 8, 0.4
_MOST_BETWEEN_S = 0.01  # a stall is no habit
_BETWEEN_WEIGHT = 1 / 32
_LEAST_BUDGET_S = 0.001
_SAME_S = 1e-9  # budgets are differences of clocks: the same one never comes out twice to the last bit


class BatchPlan:
    """`a_s`, `c_s`: t(b) = a + c·b with what passes between batches; `margin_s`: added to predicted finishes; `top`:
    the largest batch that is worth it; `budget_s`: what a request usually has from its arrival to its target.

    `between_s`: what a batch costs beside the model. Learned, for it is more than the hop to a thread and back: who
    encodes 25 answers and refuses 2,000 requests a second meanwhile starts the next batch later.

    `fitting`: the largest batch of which two fit the usual budget, for who comes just after one began waits for it and
    then for its own. Large ones leave a fifth of it to what nobody foresees, at 2% of the capacity; where they would
    become small by that they do not. Where not even two of one item fit, one batch may fill it.

    `usual`: items in a batch where enough wait; `full_s`: what it takes; `item_s`: its share for one of them.
    `efficient`: the largest batch that gains enough to be worth it, as just learned; `top` follows it with patience.
    """

    __slots__ = ("a_s", "between_s", "budget_s", "c_s", "efficient", "fitting", "full_s", "item_s", "learned",
                 "margin_s", "settings", "spread_s", "top", "usual")  # fmt: skip

    def __init__(self, settings: BatchSettings) -> None:
        self.settings = settings
        self.learned: ServiceTime | None = None  # what the rest was computed from
        self.a_s = self.c_s = self.margin_s = self.spread_s = 0.0
        self.top = self.efficient = 1
        self.between_s = settings.batch_cost_s
        self.budget_s = inf
        self._fit()

    def learn(self, service_time: ServiceTime) -> None:
        """Call it before the rest is read; free where `service_time` is the one of before."""
        if service_time is self.learned:
            return
        settings = self.settings
        self.learned = service_time
        # Without the hop a model of a = 5 us and c = 150 us would get batches of one, and hop for each item.
        a_s, c_s = service_time.a_s + self.between_s, service_time.c_s
        top = self.efficient = min(settings.max_size, knee(a_s, c_s))
        if service_time.samples:
            self.a_s, self.c_s = a_s, c_s
            self.spread_s = settings.margin_sd * service_time.sd_s
            self.margin_s = settings.overhead_s + self.spread_s
            # Not with each ripple of the estimate: who was promised the second batch must not end in a third.
            if not 0.8 * self.top <= top <= 1.25 * self.top:
                self.top = top
        else:
            self.a_s = self.c_s = self.margin_s = self.spread_s = 0.0
            self.top = settings.max_size
        self._fit()

    def _fit(self) -> None:
        a, c, budget, margin, top = self.a_s, self.c_s, self.budget_s, self.margin_s, self.top
        fitting = within(a, c, budget / 2 - margin)
        if fitting > _LARGE:
            fitting = max(within(a, c, _SPARING * budget - margin), _LARGE)
        elif not fitting:
            fitting = within(a, c, budget - margin) or 1
        usual = fitting if fitting < top else top
        self.fitting, self.usual, self.full_s = fitting, usual, a + c * usual
        self.item_s = a / usual + c

    def asked(self, budget_s: float) -> None:
        """A request came that has so long to its target: one client in a hurry must not change what size is efficient
        for all."""
        mean = self.budget_s
        change = budget_s - mean
        if -_SAME_S < change < _SAME_S or budget_s == inf:
            return
        self.budget_s = max(budget_s if mean == inf else mean + change / 16, _LEAST_BUDGET_S)
        self._fit()

    def passed_between(self, seconds: float) -> None:
        """From one batch's start to the next one's, which was waiting, without the model's own time."""
        seconds = min(max(seconds, self.settings.batch_cost_s), _MOST_BETWEEN_S)
        self.between_s += _BETWEEN_WEIGHT * (seconds - self.between_s)
