"""Nodes below the replicas, much as a Kubernetes scheduler and its cluster autoscaler keep them.

A replica that fits on no node waits; nodes are asked for what waits and come after their provisioning time; empty ones
go again. docs/nodes.md says what is simulated and what isn't. Everything at one moment is settled together, by one
event at its end: who waits is packed as a whole, and who has waited goes before who comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from plimsoll.sim.nodes_kinds import MANY, Bins, Kind, Sizes, cheapest, fits, to_ask
from plimsoll.sim.room import Host, Room
from plimsoll.sim.scenario import Scenario


@dataclass(slots=True, eq=False)
class Node:
    """`free`: what is not given to replicas, in the order of `Sizes.resources`; `full`: the largest share of a resource
    that is given away; `replicas`: of which service each is; `held`: room kept for those there from the beginning."""

    number: int
    kind: Kind
    asked_at: float
    free: list[int]
    replicas: dict[str, int] = field(default_factory=dict)
    held: list[int] = field(default_factory=list)
    full: float = 0.0
    empty_since: float = 0.0


@dataclass(slots=True)
class _Placed:
    node: Node
    service: int
    since: float


class Nodes(Room):
    """A `sim.room.Room` of `Scenario.nodes`. Raises UserError where a replica fits on no node class.

    Nodes for the replicas that a scenario begins with are there from the beginning, as `NodeClass.least` are: a trace
    starts in the midst of things. A node is paid from the moment it is asked for until it goes or fails.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._sizes = Sizes(scenario.services, scenario.nodes, scenario.seed)
        self.kinds: Sequence[Kind] = self._sizes.kinds
        self._first = [
            service.bounds.least if service.start_replicas is None else service.start_replicas
            for service in scenario.services
        ]
        self._services = range(len(scenario.services))
        self._waiting: list[dict[str, float]] = [{} for _ in self._services]  # names in order, since when
        self._placed: dict[str, _Placed] = {}
        self.ready: dict[int, Node] = {}
        self.coming: dict[int, Node] = {}
        self._roomy: dict[int, Node] = {}  # of the ready ones, those with room for somebody
        self._numbers = 0
        self._settling = False  # an event will settle what changed at this moment
        self._freed = False  # and there may be room for who waits
        self._held = 0  # of all nodes
        self._told = False  # the host tells what replicas compute
        self._spare = [0 for _ in self._services]  # room for so many, on all that are there
        self._host: Host

    # --- room.Room --------------------------------------------------------------------------------------------------

    def begin(self, host: Host, now: float) -> None:
        self._host = host
        for kind in self.kinds:
            for _ in range(kind.spec.least):
                self._add(self._new(kind, now), now)
        bins = [Bins(kind.ready, list(kind.capacity)) for kind in self.kinds if kind.ready]
        to_ask(self._sizes, self._first, bins, lambda kind: self._add(self._new(kind, now), now))
        self._hold()
        self._settle_soon(now)

    def ask(self, replica: str, service: int, now: float) -> bool:
        node = None if self._freed else self._best(service)
        if node is not None:
            self._place(replica, service, node, now)
            return True
        self._waiting[service][replica] = now
        self._settle_soon(now)
        return False

    def release(self, replica: str, now: float) -> None:
        placed = self._placed.pop(replica, None)
        if placed is None:
            for waiting in self._waiting:
                if waiting.pop(replica, None) is not None:
                    return
            return  # its node failed
        self._lift(replica, placed, now)
        node = placed.node
        if not node.replicas:
            self._emptied(node, now)
        if any(self._waiting):
            self._freed = True
            self._settle_soon(now)

    def spare_slots(self, service: int) -> int | None:
        return min(self._spare[service], MANY)

    def lead(self, service: int) -> tuple[float, float]:
        """Of the class that the next node would be of; where all it fits on have as many as there may be, of the
        cheapest of them. (0, 0) where no class can ever have more nodes than the least."""
        kind = cheapest(self.kinds, service, MANY)
        if kind is None:
            able = [one for one in self.kinds if one.holds[service] and (one.spec.most or 0) > one.spec.least]
            kind = min(able, key=lambda one: (one.spec.price_per_hour / one.holds[service], one.index), default=None)
        return (0.0, 0.0) if kind is None else kind.lead

    def used(self, now: float) -> tuple[dict[str, float], float, float]:
        seconds = {kind.spec.name: kind.gone_s for kind in self.kinds}
        for node in (*self.ready.values(), *self.coming.values()):
            seconds[node.kind.spec.name] += now - node.asked_at
        cost = sum(seconds[kind.spec.name] / 3600 * kind.spec.price_per_hour for kind in self.kinds)
        active = {kind.spec.name: kind.active_s for kind in self.kinds}
        if not self._told:
            for placed in self._placed.values():
                kind = placed.node.kind
                active[kind.spec.name] += kind.power[placed.service] * (now - placed.since)
        joules = 0.0
        for kind in self.kinds:
            spec = kind.spec
            joules += spec.idle_watts * seconds[spec.name]
            joules += max(spec.max_watts - spec.idle_watts, 0.0) * min(active[spec.name], seconds[spec.name])
        return seconds, cost, joules / 3600

    def worked(self, replica: str, busy_s: float) -> None:
        if not self._told:
            self._told = True
            for kind in self.kinds:
                kind.active_s = 0.0
        placed = self._placed.get(replica)
        if placed is not None:
            placed.node.kind.active_s += placed.node.kind.batch_power[placed.service] * busy_s

    def leaving(self, replicas: Sequence[str]) -> list[str]:
        """Those first whose going saves most: the price of their node by the replicas that must go until it is empty.
        Last those beside another service's."""
        ranks: dict[int, tuple[bool, float, int, int]] = {}
        first = (False, float("-inf"), 0, 0)

        def rank(name: str) -> tuple[bool, float, int, int]:
            placed = self._placed.get(name)
            if placed is None:
                return first
            node = placed.node
            if node.number not in ranks:
                count = len(node.replicas)
                shared = any(service != placed.service for service in node.replicas.values())
                ranks[node.number] = (shared, -node.kind.spec.price_per_hour / count, count, -node.number)
            return ranks[node.number]

        return sorted(replicas, key=rank)

    # --- one moment -------------------------------------------------------------------------------------------------

    def _settle_soon(self, now: float) -> None:
        if not self._settling:
            self._settling = True
            self._host.at(now, self._settle)

    def _settle(self, now: float) -> None:
        """Who waits gets what room there is; for the others nodes are asked for."""
        self._settling = self._freed = False
        if self._held:
            for node in [one for one in self.ready.values() if one.held]:
                self._let_loose(node, now)
        granted = []
        for service in self._sizes.order:
            waiting = self._waiting[service]
            while waiting:
                best = self._best(service)
                if best is None:
                    break
                name = next(iter(waiting))
                del waiting[name]
                self._place(name, service, best, now)
                granted.append(name)
        self._provision(now)
        for name in granted:  # last: the host may ask and release in it
            if name in self._placed:
                self._host.granted(name, now)

    def _provision(self, now: float) -> None:
        def ask(kind: Kind) -> None:
            node = self._new(kind, now)
            self.coming[node.number] = node
            kind.coming += 1
            self._host.at(now + kind.takes(), lambda then: self._arrived(node, then))

        for kind in self.kinds:
            while kind.ready + kind.coming < kind.spec.least:
                ask(kind)
        if any(self._waiting):
            bins = [Bins(kind.coming, list(kind.capacity)) for kind in self.kinds if kind.coming]
            to_ask(self._sizes, [len(waiting) for waiting in self._waiting], bins, ask)

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _new(self, kind: Kind, now: float) -> Node:
        self._numbers += 1
        return Node(self._numbers, kind, now, list(kind.capacity))

    def _add(self, node: Node, now: float) -> None:
        """It is there. Empty ones of its class, which were of the least, may now go instead."""
        kind = node.kind
        self.ready[node.number] = node
        kind.ready += 1
        self._count(node, 1)
        if kind.lasts is not None:
            self._host.at(now + kind.lasts(), lambda then: self._failed(node, then))
        self._emptied(node, now)
        if kind.ready == kind.spec.least + 1:
            for one in self.ready.values():
                if one.kind is kind and one is not node and not one.replicas:
                    self._look_at(one, now)

    def _arrived(self, node: Node, now: float) -> None:
        del self.coming[node.number]
        node.kind.coming -= 1
        self._add(node, now)
        if not self._settling:
            self._settle(now)

    def _emptied(self, node: Node, now: float) -> None:
        node.empty_since = now
        self._look_at(node, now)

    def _look_at(self, node: Node, now: float) -> None:
        since = node.empty_since

        def idle(then: float) -> None:
            there = node.number in self.ready and not node.replicas and not node.held and node.empty_since == since
            if there and node.kind.ready > node.kind.spec.least:
                self._remove(node, then)

        self._host.at(max(now, since + node.kind.spec.idle_after_s), idle)

    def _remove(self, node: Node, now: float) -> None:
        del self.ready[node.number]
        node.kind.ready -= 1
        node.kind.gone_s += now - node.asked_at
        self._count(node, -1)
        if any(self._waiting):
            self._settle_soon(now)

    def _failed(self, node: Node, now: float) -> None:
        if node.number not in self.ready:
            return
        lost = list(node.replicas)
        for name in lost:
            self._lift(name, self._placed.pop(name), now)
        self._held -= len(node.held)
        node.held.clear()
        self._remove(node, now)
        self._settle_soon(now)
        if lost:
            self._host.node_lost(lost, now)

    # --- replicas on nodes ------------------------------------------------------------------------------------------

    def _best(self, service: int) -> Node | None:
        """Where one has room: held for it; else with the least beside what it needs (no GPUs for who wants none), then
        the fullest, so that others can be emptied, then the cheapest."""
        need, best, least = self._sizes.needs[service], None, None
        if not self._spare[service] and not self._held:
            return None
        for node in self.ready.values() if self._held else self._roomy.values():
            if service in node.held:
                return node
            kind = node.kind
            if not kind.holds[service]:
                continue
            rank = (kind.odd[service], -node.full, kind.spec.price_per_hour, node.number)
            if (least is None or rank < least) and fits(node.free, need):
                best, least = node, rank
        return best

    def _place(self, replica: str, service: int, node: Node, now: float) -> None:
        if service in node.held:
            node.held.remove(service)
            self._held -= 1
        else:
            self._take(node, service, 1)
        node.replicas[replica] = service
        self._placed[replica] = _Placed(node, service, now)

    def _lift(self, replica: str, placed: _Placed, now: float) -> None:
        node, service = placed.node, placed.service
        del node.replicas[replica]
        self._take(node, service, -1)
        if not self._told:
            node.kind.active_s += node.kind.power[service] * (now - placed.since)

    def _take(self, node: Node, service: int, count: int) -> None:
        needs = self._sizes.needs[service]
        self._count(node, -1)
        free = node.free = [there - count * need for there, need in zip(node.free, needs, strict=True)]
        shares = (1 - there / whole for there, whole in zip(free, node.kind.capacity, strict=True) if whole)
        node.full = max(shares, default=0.0)
        self._count(node, 1)

    def _hold(self) -> None:
        """Room for those that a scenario begins with, packed as a whole; they ask one by one."""
        for service in self._sizes.order:
            need = self._sizes.needs[service]
            left = self._first[service]
            for node in self.ready.values():
                count = min(left, fits(node.free, need))
                if count:
                    self._take(node, service, count)
                    node.held += [service] * count
                    self._held += count
                    left -= count

    def _let_loose(self, node: Node, now: float) -> None:
        """They were not asked for."""
        for service in node.held:
            self._take(node, service, -1)
        self._held -= len(node.held)
        node.held.clear()
        if not node.replicas:
            self._emptied(node, now)

    def _count(self, node: Node, sign: int) -> None:
        """Its room joins what there is (1), or leaves it (-1)."""
        holds, roomy = node.kind.holds, False
        for service, need in enumerate(self._sizes.needs):
            if holds[service]:
                count = fits(node.free, need)
                self._spare[service] += sign * count
                roomy |= count > 0
        if roomy and sign > 0:
            self._roomy[node.number] = node
        else:
            self._roomy.pop(node.number, None)
