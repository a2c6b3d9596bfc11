"""Where replicas find room. The world asks; what is below it (nodes, a machine) answers, at once or later.

The world makes no difference between a cluster and a laptop: it asks for room before it starts a replica, gives it back
when the replica is gone, and is told when room came or was lost.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from plimsoll.sim.scenario import Scenario


class Host(Protocol):
    """What a `Room` may call: the world, and the services in it."""

    def at(self, when: float, action: Callable[[float], None]) -> None:
        """`action(now)` is called at `when`."""
        ...

    def granted(self, replica: str, now: float) -> None:
        """`replica`, which waited, has room from `now`; it starts."""
        ...

    def node_lost(self, replicas: Sequence[str], now: float) -> None:
        """Their node failed. They are dead and need not be released."""
        ...


class Room(Protocol):
    """Replicas are known by their names, which are never used twice."""

    def begin(self, host: Host, now: float) -> None:
        """Once, before anything else."""
        ...

    def ask(self, replica: str, service: int, now: float) -> bool:
        """Room for one of the scenario's service number `service`. True: here it is. False: `Host.granted` will follow,
        unless `release` comes before."""
        ...

    def release(self, replica: str, now: float) -> None:
        """It is gone, or waits no longer."""
        ...

    def spare_slots(self, service: int) -> int | None:
        """Replicas for which there is room now; None: no bound."""
        ...

    def lead(self, service: int) -> tuple[float, float]:
        """Median and 90th percentile of how long room takes to come where there is none, seconds."""
        ...

    def used(self, now: float) -> tuple[dict[str, float], float, float]:
        """Up to `now`: node-seconds by class, what they cost, watt-hours."""
        ...

    def leaving(self, replicas: Sequence[str]) -> list[str]:
        """`replicas`, all of one service, in the order in which they had best go; of equal ones as they were given."""
        return list(replicas)

    def worked(self, replica: str, busy_s: float) -> None:
        """It computed for `busy_s` seconds since the last call; for the energy. A host that never calls this is taken
        to keep all that its replicas have busy."""
        return


class Unlimited(Room):
    """Room for every replica at once, and nothing to pay for it but the replicas."""

    def begin(self, host: Host, now: float) -> None:
        pass

    def ask(self, replica: str, service: int, now: float) -> bool:
        return True

    def release(self, replica: str, now: float) -> None:
        pass

    def spare_slots(self, service: int) -> int | None:
        return None

    def lead(self, service: int) -> tuple[float, float]:
        return 0.0, 0.0

    def used(self, now: float) -> tuple[dict[str, float], float, float]:
        return {}, 0.0, 0.0


def room_for(scenario: Scenario) -> Room:
    """Raises UserError for nodes that can't be, and for a replica that fits on none."""
    if not scenario.nodes:
        return Unlimited()
    from plimsoll.sim.nodes import Nodes

    return Nodes(scenario)
