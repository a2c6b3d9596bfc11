"""Whatever is pushed, cancelled and polled: nobody is lost, answered twice, mixed wrongly or computed too late."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.core.request import Items, Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching import BatchQueue, BatchSettings

pushes = st.tuples(
    st.just("push"),
    st.integers(1, 12),  # size
    st.sampled_from("abc"),
    st.integers(-1, 1),  # priority
    st.sampled_from([0.0, 0.005, 0.05, 0.5, float("inf")]),  # target
    st.sampled_from([0.0, 0.01, 0.1, float("inf")]),  # deadline
    st.booleans(),
)
steps = st.lists(
    st.one_of(
        pushes,
        pushes,
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("poll"), st.sampled_from([0.0, 0.001, 0.02, 0.3])),
        st.tuples(st.just("expire"), st.sampled_from([0.0, 0.02])),
    ),
    max_size=60,
)
times = st.builds(
    ServiceTime,
    a_s=st.sampled_from([0.0, 0.001, 0.03]),
    c_s=st.sampled_from([0.0, 0.0001, 0.01]),
    sd_s=st.sampled_from([0.0, 0.002]),
    samples=st.sampled_from([0, 50]),
)


class World:
    """The queue, what was pushed, and what has ended in whatever way."""

    def __init__(self, queue, service_time):
        self.queue, self.service_time = queue, service_time
        self.now, self.pushed, self.ended = 0.0, [], set()
        self.ran = None  # when a batch ran last

    def push(self, size, key, priority, target, deadline, alone):
        name, now = str(len(self.pushed)), self.now
        one = Request(name, now, now + target, now + deadline, size, key, Items([]), priority, alone=alone)
        self.queue.push(one, now)
        self.pushed.append(one)

    def cancel(self, index):
        if index < len(self.pushed):
            one = self.pushed[index]
            assert self.queue.cancel(one) == (one not in self.ended)
            self.ended.add(one)

    def expire(self, after):
        self.now += after
        self.end(self.queue.expire(self.now))

    def end(self, requests):
        for one in requests:
            assert one not in self.ended
            self.ended.add(one)

    def poll(self, after):
        self.now += after
        now, queue = self.now, self.queue
        result = queue.poll(now, self.service_time)
        for part in (result.batch, result.expired, result.shed):
            self.end(part)
        self.check_batch(result.batch)
        if result.batch or self.ran is None:
            self.ran = now
        assert all(one.deadline <= now for one in result.expired)
        assert self.service_time.samples or result.shed == []
        assert result.wake_at is None or result.wake_at > now
        if len(queue) and not result.batch:  # only a linger makes a free model wait
            assert queue.settings.linger_s
            assert result.wake_at is not None
        return result.wake_at

    def check_batch(self, batch):
        assert len({one.key for one in batch}) <= 1
        assert len(batch) == 1 or not any(one.alone for one in batch)
        size = sum(one.size for one in batch)
        assert size <= self.queue.settings.max_size or len(batch) == 1
        probe = len(batch) == 1 and self.ran is not None and self.now >= self.ran + self.queue.settings.probe_s
        if self.service_time.samples and not probe:
            assert all(one.deadline >= self.now + self.service_time.predict(size) - 1e-9 for one in batch)

    def check_sizes(self):
        waiting = [one for one in self.pushed if one not in self.ended]
        assert len(self.queue) == len(waiting)
        assert self.queue.size == sum(one.size for one in waiting)


@settings(max_examples=300, deadline=None)
@given(steps, times, st.integers(1, 8), st.sampled_from([0.0, 0.01]))
def test_invariants(script, service_time, max_size, linger_s):
    world = World(BatchQueue(BatchSettings(max_size=max_size, linger_s=linger_s, overhead_s=0.0)), service_time)
    for name, *arguments in script:
        getattr(world, name)(*arguments)
        world.check_sizes()
    for _ in range(2 * len(world.pushed) + 1):
        wake_at = world.poll(0.0)
        if wake_at is not None:
            world.now = max(world.now, min(wake_at, world.now + 0.01))
    assert world.ended == set(world.pushed)
