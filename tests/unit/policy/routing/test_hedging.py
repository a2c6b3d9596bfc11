from random import Random

import pytest
from tests.unit.policy.routing.world import CAPACITY, Gateway, Replica, World, latency

from plimsoll.core.outcome import Outcome
from plimsoll.policy.routing import Hedging, ReplicaLoad
from plimsoll.policy.routing.hedging import StepQuantile


def idle(now, wait_s=0.0):
    load = ReplicaLoad()
    load.report(wait_s, 0.002, now)
    return load


def learned(seconds=0.020, requests=1000, now=10.0):
    hedging = Hedging()
    for _ in range(requests):
        hedging.sent(now)
        hedging.observe(Outcome.OK, seconds)
    return hedging


@pytest.mark.parametrize("draw", [lambda r: r.expovariate(100), lambda r: r.uniform(0.01, 0.02), lambda r: 0.010])
def test_the_estimate_comes_to_rest_where_one_in_twenty_is_above(draw):
    for seed in range(5):
        random, estimate, above = Random(seed), StepQuantile(0.95), 0
        for i in range(6000):
            value = draw(random)
            above += i >= 1000 and value > estimate.value
            estimate.observe(value)
        assert above / 5000 == pytest.approx(0.05, abs=0.012), seed


def test_the_estimate_follows_within_fifty_up_and_a_thousand_down():
    estimate = StepQuantile(0.95)
    for seconds, times in ((0.010, 200), (0.100, 60)):
        for _ in range(times):
            estimate.observe(seconds)
    assert estimate.value == pytest.approx(0.100, rel=0.06)
    for _ in range(1000):
        estimate.observe(0.010)
    assert estimate.value == pytest.approx(0.010, rel=0.06)


def test_no_copy_before_a_hundred_responses():
    hedging = learned(requests=99)
    assert hedging.delay_s(10.0) is None
    assert not hedging.allowed(idle(10.0), 1.0, 10.0)
    hedging.observe(Outcome.OK, 0.020)
    assert hedging.delay_s(10.0) == pytest.approx(0.020, rel=0.06)
    assert hedging.allowed(idle(10.0), 1.0, 10.0)


def test_a_copy_needs_time_and_a_replica_that_is_known_to_be_free():
    hedging = learned()
    assert not hedging.allowed(idle(10.0), 0.015, 10.0)  # no time for another 20 ms
    assert not hedging.allowed(idle(10.0, wait_s=0.008), 1.0, 10.0)  # a queue
    assert not hedging.allowed(ReplicaLoad(), 1.0, 10.0)  # unknown
    assert not hedging.allowed(idle(8.0), 1.0, 10.0)  # known no longer
    assert hedging.copies == 0  # what was refused costs nothing
    assert hedging.allowed(idle(10.0), 1.0, 10.0)
    assert hedging.copies == 1


def test_only_answers_say_what_is_usual():
    """A replica that refuses half of the requests at once, and loses some, is no faster for it."""
    hedging = learned(requests=100, seconds=0.020)
    usual_s = hedging.delay_s(10.0)
    for _ in range(500):
        hedging.observe(Outcome.SHED, 0.0002)
        hedging.observe(Outcome.EXPIRED, 3.0)
        hedging.observe(Outcome.REPLICA_LOST, 5.0)
        hedging.observe(Outcome.MODEL_ERROR, 0.001)
    assert hedging.delay_s(10.0) == usual_s


def test_copies_are_a_twentieth_of_the_requests():
    hedging = learned(requests=1000)
    assert sum(hedging.allowed(idle(10.0), 1.0, 10.0) for _ in range(1000)) == 50 + 4
    for _ in range(100):
        hedging.sent(10.5)
    assert sum(hedging.allowed(idle(10.5), 1.0, 10.5) for _ in range(100)) == 5


class HedgingGateway(Gateway):
    def __init__(self, world, replicas, **more):
        super().__init__(world, replicas, **more)
        self.hedging, self.copies = Hedging(), 0

    def send(self, job, member=None):
        super().send(job, member)
        delay_s = self.hedging.delay_s(self.world.now)
        if len(job.sent_to) == 1:
            self.hedging.sent(self.world.now)
            if delay_s is not None:
                self.world.at(self.world.now + delay_s, lambda: self._hedge(job))

    def _hedge(self, job):
        if job.ended is not None or len(job.sent_to) > 1:
            return
        now = self.world.now
        other = self.other(job)
        if other is not None and self.hedging.allowed(other.load, job.deadline - now, now):
            self.copies += 1
            self.send(job, other)

    def hear(self, copy, outcome, report):
        super().hear(copy, outcome, report)
        if outcome:
            self.hedging.observe(outcome, self.world.now - copy.sent)


def stalling(seed, gateway, load):
    """One batch in 250 takes 100 ms longer."""
    world = World(seed)
    replicas = [Replica(world, f"r{i}", stall=0.004, stall_s=0.100) for i in range(4)]
    host = gateway(world, replicas, guard=False)
    host.offer(load * 4 * CAPACITY, 20.0)
    world.run(22.0)
    return host


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_with_slack_hedging_cuts_the_tail_of_stalls(seed):
    plain, hedged = stalling(seed, Gateway, 0.2), stalling(seed, HedgingGateway, 0.2)
    before, after = latency([plain], 0.99), latency([hedged], 0.99)
    print(f"seed {seed}  p99 {before * 1e3:.0f} ms, hedged {after * 1e3:.0f} ms, {hedged.copies} copies")
    assert after < 0.5 * before
    assert hedged.copies <= 0.05 * len(hedged.jobs) + 4


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_under_load_hedging_does_no_harm(seed):
    plain, hedged = stalling(seed, Gateway, 0.8), stalling(seed, HedgingGateway, 0.8)
    before, after = latency([plain], 0.99), latency([hedged], 0.99)
    print(f"seed {seed}  p99 {before * 1e3:.0f} ms, hedged {after * 1e3:.0f} ms, {hedged.copies} copies")
    assert after < 1.1 * before
