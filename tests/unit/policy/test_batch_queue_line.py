"""A queue whose requests stand in a line gives the answers that lanes and heaps give, whatever is asked of it."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.core.request import Items, Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching import BatchQueue, BatchSettings

BUDGETS = [(0.1, 0.2)] * 12 + [(0.02, 0.04), (0.1, 0.05), (0.3, 0.3), (float("inf"), float("inf"))]
push = st.tuples(
    st.just("push"),
    st.sampled_from([1] * 9 + [3]),  # size
    st.sampled_from(["k"] * 15 + ["l"]),
    st.sampled_from([0] * 20 + [1]),  # priority
    st.sampled_from([""] * 20 + ["t"]),  # tenant
    st.sampled_from(BUDGETS),
    st.sampled_from([False] * 20 + [True]),  # alone
)
steps = st.lists(
    st.one_of(
        push,
        push,
        push,
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.0004, 0.003, 0.03])),
        st.tuples(st.just("poll"), st.just(0)),
        st.tuples(st.just("forecast"), st.sampled_from(BUDGETS), st.sampled_from([0.0, 0.01])),
        st.tuples(st.just("cancel"), st.integers(0, 60)),
        st.tuples(st.just("expire"), st.just(0)),
        st.tuples(st.just("learn"), st.sampled_from([0.0, 0.001, 0.004]), st.sampled_from([0.0, 0.0002, 0.0015])),
        st.tuples(st.just("drain"), st.just(0)),
    ),
    max_size=120,
)


class Both:
    """The two, asked the same."""

    def __init__(self, settings):
        self.queues = [BatchQueue(settings), BatchQueue(settings)]
        self.leave()
        self.now, self.service_time = 5.0, ServiceTime(0.004, 0.0015, 0.0005, 100)
        self.pushed = []
        self.lined_up = 0

    def leave(self):
        if self.queues[1].line is not None:
            self.queues[1]._leave_line()

    def ask(self, question):
        """Of both; the answers are the same."""
        one, other = (question(queue, index) for index, queue in enumerate(self.queues))
        assert one == other
        return one

    def push(self, size, key, priority, tenant, budget, alone):
        target, deadline = (self.now + seconds for seconds in budget)
        name = str(len(self.pushed))
        pair = [
            Request(name, self.now, target, deadline, size, key, Items([]), priority, tenant, alone=alone)
            for _ in self.queues
        ]
        self.pushed.append(pair)
        self.ask(lambda queue, index: queue.push(pair[index], self.now))
        self.lined_up += self.queues[0].line is not None

    def wait(self, seconds):
        self.now += seconds

    def poll(self, _):
        self.ask(lambda queue, index: repr(queue.poll(self.now, self.service_time)))

    def forecast(self, budget, rest_s):
        target, deadline = (self.now + seconds for seconds in budget)
        request = Request("new", self.now, target, deadline, 1, "k", Items([]))
        bound = self.queues[0].at_most(rest_s, self.service_time)
        seconds = self.ask(lambda queue, index: queue.forecast(request, self.now, rest_s, self.service_time))
        assert seconds <= bound * (1 + 1e-12)

    def cancel(self, index):
        if index < len(self.pushed):
            self.ask(lambda queue, number: queue.cancel(self.pushed[index][number]))

    def expire(self, _):
        self.ask(lambda queue, index: [request.id for request in queue.expire(self.now)])

    def learn(self, a_s, c_s):
        self.service_time = ServiceTime(a_s, c_s, 0.001, 100)

    def drain(self, _):
        self.ask(lambda queue, index: [request.id for request in queue.drain()])


@settings(max_examples=400, deadline=None)
@given(steps, st.sampled_from([1, 4, 64]), st.sampled_from([0.0, 0.0, 0.01]))
def test_a_line_and_lanes_agree(script, max_size, linger_s):
    both = Both(BatchSettings(max_size=max_size, linger_s=linger_s))
    for name, *arguments in script:
        both.leave()
        getattr(both, name)(*arguments)
        both.ask(lambda queue, _: (len(queue), queue.size, queue.next_expiry(), queue.may_probe(both.now)))
        both.ask(lambda queue, _: (queue.work_s(both.service_time), queue.item_s(both.service_time)))


def test_it_lines_up_again_once_nothing_waits():
    queue = BatchQueue(BatchSettings())
    known = ServiceTime(0.004, 0.0015, 0.0, 100)
    lone = [Request(str(i), i, i + 1.0, i + 2.0, 1, "k", Items([])) for i in range(5)]
    queue.push(lone[0], 0.0)
    assert queue.line is not None
    queue.push(Request("alone", 0.0, 1.0, 2.0, 1, "k", Items([]), alone=True), 0.0)
    assert queue.line is None
    while queue.poll(0.1, known).batch:
        pass
    queue.push(lone[1], 1.0)
    assert queue.line is not None
    assert queue.poll(1.0, known).batch == [lone[1]]


def test_the_same_request_may_come_again_after_it_left():
    queue = BatchQueue(BatchSettings())
    request = Request("a", 0.0, 0.1, 0.2, 1, "k", Items([]))
    for now in (0.0, 0.01, 0.02):
        queue.push(request, now)
        assert queue.poll(now, ServiceTime(0.004, 0.0015, 0.0, 100)).batch == [request]
    assert len(queue) == queue.size == 0


def test_a_line_is_a_line():
    """What the comparison above is worth: it does see lines."""
    both = Both(BatchSettings())
    for _ in range(10):
        both.leave()
        both.push(1, "k", 0, "", (0.1, 0.2), False)
    assert both.lined_up == 10
    assert isinstance(both.queues[0].line, deque)
    assert both.queues[1].line is None
