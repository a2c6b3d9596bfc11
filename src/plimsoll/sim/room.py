"""Where replicas find room. The world asks; what is below it (nodes, a machine) answers, at once or later.

The world makes no difference between a cluster and a laptop: it asks for room before it starts a replica, gives it back
when the replica is gone, and is told when room came or was lost.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from plimsoll.core.errors import UserError
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


class Unlimited:
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
    if not scenario.nodes:
        return Unlimited()
    raise UserError("nodes are not simulated yet; leave --nodes out")
