"""A service on nodes, and a host that turns their clock."""

import heapq

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace
from plimsoll.sim.nodes import Nodes
from plimsoll.sim.scenario import NodeClass, Scenario, Service, Traffic


def service(name="s", first=0, priority=0, **needs):
    return Service(
        name,
        Traffic(Trace()),
        Profile(0.004, 0.0015),
        Bounds(0, 1000, p99_s=0.1),
        start_replicas=first,
        needs=needs or {"cpu": 1.0},
        priority=priority,
    )


class Host:
    """Virtual time, and what a `Room` told."""

    def __init__(self, classes, *services, seed=1):
        self.events, self.sequence, self.now = [], 0, 0.0
        self.granted_at, self.lost = {}, []
        self.room = Nodes(Scenario(services or [service()], nodes=classes, seed=seed))
        self.room.begin(self, 0.0)

    def at(self, when, action):
        assert when >= self.now
        self.sequence += 1
        heapq.heappush(self.events, (when, self.sequence, action))

    def granted(self, replica, now):
        assert replica not in self.granted_at
        self.granted_at[replica] = now

    def node_lost(self, replicas, now):
        self.lost.append((now, sorted(replicas)))

    def until(self, now):
        while self.events and self.events[0][0] <= now:
            self.now, _, action = heapq.heappop(self.events)
            action(self.now)
        self.now = now

    def ask(self, *names, of=0):
        """Those that have room at once."""
        return [name for name in names if self.room.ask(name, of, self.now)]

    def release(self, *names):
        for name in names:
            self.room.release(name, self.now)

    @property
    def nodes(self):
        """Ready ones: class and replicas."""
        return [(node.kind.spec.name, sorted(node.replicas)) for node in self.room.ready.values()]

    def counts(self):
        """(ready, coming)"""
        return len(self.room.ready), len(self.room.coming)


FOUR = NodeClass("four", {"cpu": 4.0}, price_per_hour=0.36, provisioning_s=180.0, idle_after_s=600.0)
