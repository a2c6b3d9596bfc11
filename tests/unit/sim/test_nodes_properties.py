"""Whatever is asked and released, in whatever order: nodes never hold more than they have, nobody is forgotten, every
node-second is counted once."""

import heapq
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace
from plimsoll.sim.nodes import Nodes
from plimsoll.sim.nodes_kinds import Bins, Sizes, fits, to_ask
from plimsoll.sim.scenario import NodeClass, Scenario, Service, Traffic

CORES = st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0])
NEEDS = st.builds(
    lambda cpu, memory, gpu: {"cpu": cpu, "memory": memory, "gpu": gpu},
    CORES,
    st.sampled_from([0.0, 1e9, 3e9]),
    st.sampled_from([0.0, 0.0, 1.0]),
)
CLASSES = st.builds(
    lambda cpu, memory, gpu, price, takes, p90, bounds, idle, mtbf: NodeClass(
        "",
        {"cpu": cpu, "memory": memory, "gpu": gpu},
        price,
        takes,
        p90,
        bounds[0],
        bounds[1],
        idle,
        mtbf_s=mtbf,
    ),
    st.sampled_from([2.0, 4.0, 7.3]),
    st.sampled_from([4e9, 1e10, inf]),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([0.0, 7.0, 60.0]),
    st.sampled_from([None, 90.0]),
    st.sampled_from([(0, None), (0, 3), (2, 5), (1, 1), (0, 0)]),
    st.sampled_from([0.0, 30.0]),
    st.sampled_from([None, 200.0]),
)
ACTS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "release", "wait"]), st.integers(0, 40), st.integers(0, 2)), max_size=60
)


def scenario(needs, classes, firsts=(0, 0, 0), priorities=(0, 0, 0)):
    everything = NodeClass("sure", {"cpu": 8.0, "memory": inf, "gpu": 4.0}, 9.0, 20.0, None, 0, None, 100.0)
    services = [
        Service(
            f"s{i}",
            Traffic(Trace()),
            Profile(0.004, 0.0015),
            Bounds(0, 99),
            start_replicas=firsts[i],
            needs=need,
            priority=priorities[i],
        )
        for i, need in enumerate(needs)
    ]
    named = [NodeClass(f"c{i}", *_values(one)) for i, one in enumerate(classes)]
    return Scenario(services, nodes=[*named, everything], seed=7)


def _values(one):
    return (
        one.capacity,
        one.price_per_hour,
        one.provisioning_s,
        one.provisioning_p90_s,
        one.least,
        one.most,
        one.idle_after_s,
        one.idle_watts,
        one.max_watts,
        one.mtbf_s,
    )


class Host:
    """Asks and releases, and keeps books of its own."""

    def __init__(self, given):
        self.scenario = given
        self.events, self.sequence, self.now = [], 0, 0.0
        self.waiting, self.running, self.number = {}, {}, 0
        self.room = Nodes(given)
        self.node_s = 0.0
        self.room.begin(self, 0.0)
        for index, service in enumerate(given.services):
            for _ in range(service.start_replicas):
                self.ask(index)

    def at(self, when, action):
        assert when >= self.now
        self.sequence += 1
        heapq.heappush(self.events, (when, self.sequence, action))

    def ask(self, service):
        self.number += 1
        name = f"r{self.number}"
        (self.running if self.room.ask(name, service, self.now) else self.waiting)[name] = service

    def granted(self, replica, now):
        assert now == self.now
        self.running[replica] = self.waiting.pop(replica)  # it waited, and is told once

    def node_lost(self, replicas, now):
        for name in replicas:
            service = self.running.pop(name)
            if self.number % 2:
                self.ask(service)  # as a crew does, at once

    def until(self, now):
        while self.events and self.events[0][0] <= now:
            self._pass(self.events[0][0])
            _, _, action = heapq.heappop(self.events)
            action(self.now)
            self.check()
        self._pass(now)

    def _pass(self, now):
        self.node_s += (len(self.room.ready) + len(self.room.coming)) * (now - self.now)
        self.now = now

    def check(self):
        room, services = self.room, self.scenario.services
        on_nodes = {}
        for node in room.ready.values():
            on_nodes |= node.replicas
            for at, resource in enumerate(room._sizes.resources):
                held = sum(services[one].needs[resource] for one in (*node.replicas.values(), *node.held))
                have = node.kind.spec.capacity[resource]
                assert held <= have + 1e-9 * max(1.0, held)
                assert node.free[at] >= 0
        assert on_nodes == self.running
        for kind in room.kinds:
            assert kind.spec.most is None or kind.ready + kind.coming <= kind.spec.most
            assert kind.ready == sum(node.kind is kind for node in room.ready.values())
            assert kind.coming == sum(node.kind is kind for node in room.coming.values())
        for index in range(len(services)):
            need = room._sizes.needs[index]
            assert room.spare_slots(index) == min(10**6, sum(fits(node.free, need) for node in room.ready.values()))


@settings(max_examples=120, deadline=None)
@given(
    st.lists(NEEDS, min_size=3, max_size=3),
    st.lists(CLASSES, max_size=3),
    st.tuples(*[st.integers(0, 6)] * 3),
    st.tuples(*[st.integers(0, 1)] * 3),
    ACTS,
)
def test_never_over_capacity_nobody_forgotten_every_second_counted(needs, classes, firsts, priorities, acts):
    host = Host(scenario(needs, classes, firsts, priorities))
    for act, number, service in acts:
        if act == "ask":
            host.ask(service)
        elif act == "wait":
            host.until(host.now + number * 1.7)
        elif host.running or host.waiting:
            everyone = [*host.running, *host.waiting]
            name = everyone[number % len(everyone)]
            host.running.pop(name, None)
            host.waiting.pop(name, None)
            host.room.release(name, host.now)
        host.check()
    steady = all(one.mtbf_s is None for one in host.scenario.nodes)
    host.until(host.now + (1e5 if steady else 500.0))  # one class has no bound; a lognormal time can be long
    if steady:
        assert not host.waiting
        least = sum(kind.spec.least for kind in host.room.kinds)
        assert len(host.room.ready) >= least
    seconds, cost, _ = host.room.used(host.now)
    assert abs(sum(seconds.values()) - host.node_s) <= 1e-6 * max(1.0, host.node_s)
    prices = {one.name: one.price_per_hour for one in host.scenario.nodes}
    assert abs(cost - sum(prices[name] * one / 3600 for name, one in seconds.items())) < 1e-9
    for name in [*host.running, *host.waiting]:
        host.room.release(name, host.now)
    host.running.clear()
    host.waiting.clear()
    host.until(host.now + 1000.0)
    if steady:
        assert not host.room.coming
        assert len(host.room.ready) == least, "all are empty: only the least stay"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(NEEDS, min_size=3, max_size=3),
    st.lists(CLASSES, max_size=3),
    st.tuples(*[st.integers(0, 300)] * 3),
    st.integers(0, 5),
)
def test_nodes_asked_for_hold_all_that_waits(needs, classes, waiting, there):
    sizes = Sizes(*_parts(scenario(needs, classes)), seed=1)
    bins = [Bins(there, list(sizes.kinds[-1].capacity))]
    asked = []

    def ask(kind):
        kind.coming += 1
        asked.append(kind)

    assert to_ask(sizes, waiting, bins, ask) == [0, 0, 0]
    assert sum(one.count for one in bins) == there + len(asked)
    assert all(min(one.free, default=0) >= 0 for one in bins)
    for at in range(len(sizes.resources)):
        have = there * sizes.kinds[-1].capacity[at] + sum(kind.capacity[at] for kind in asked)
        taken = sum(count * need[at] for count, need in zip(waiting, sizes.needs, strict=True))
        assert have - taken == sum(one.count * one.free[at] for one in bins)
    assert all(kind.spec.most is None or kind.coming <= kind.spec.most for kind in sizes.kinds)


def _parts(one):
    return one.services, one.nodes
