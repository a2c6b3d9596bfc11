"""Which counts are the controller's to write. One writer a service: what another scales is left alone, but for the step
between none and one, which an HPA can't take."""

from plimsoll.control.cluster.service import ClusterService
from plimsoll.ports.backend import ReplicaPhase


def count_to_write(state: ClusterService) -> int | None:
    """For the workload at `state.target`; None: leave it.

    The controller writes the wanted count and the spares beside it. With writer HPA or KEDA it writes 0 where nothing
    is wanted any more (that rests an HPA), and 1 where something is wanted of a workload that is at 0.
    """
    if not state.target or _proves_itself(state):
        return None
    if state.service.spec.scaling.writer == "Controller":
        if state.by_hand is None and state.scaled is None and _undecided(state):
            return None
        return state.wanted + state.spares
    if state.count is None:
        return None
    if state.count == 0:
        return 1 if state.wanted > 0 else None
    # Only a policy's own word, or a person's: 0 because nothing was decided yet would end what serves.
    return 0 if state.wanted == 0 and (state.by_hand == 0 or state.scaled == 0) else None


def _undecided(state: ClusterService) -> bool:
    """It scales, and nothing has been decided since this controller began."""
    return state.service.max_replicas > state.service.min_replicas


def _proves_itself(state: ClusterService) -> bool:
    """Its first replica is on its way, and nobody asks for it: it may sleep once it was ready, so that whoever applied
    a model that doesn't load has heard of it. One that fails for good goes, too."""
    if state.wanted or state.by_hand is not None or not state.count or state.proved == state.target:
        return False
    starting = any(replica.phase is ReplicaPhase.STARTING for replica in state.of(state.target))
    return starting and state.nobody_will_come is None
