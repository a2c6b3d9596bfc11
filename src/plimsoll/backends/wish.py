"""What to start and what to stop, so that what runs becomes what was wished. Shared by fake and local."""

from collections.abc import Iterable

from plimsoll.ports.backend import DesiredReplicas, ObservedReplica, ReplicaPhase, ReplicaTemplate

# Who goes first when there are too many: those that serve nobody.
_FIRST_TO_GO = (ReplicaPhase.BACKING_OFF, ReplicaPhase.FAILED, ReplicaPhase.STARTING, ReplicaPhase.READY)


def difference(
    desired: Iterable[DesiredReplicas], staying: Iterable[ObservedReplica]
) -> tuple[list[ReplicaTemplate], list[str]]:
    """(a template for each replica to start, ids of those to stop). `staying`: what was not told to stop, in the order
    it was started. Of equal ones the youngest goes."""
    here: dict[str, list[ObservedReplica]] = {}
    for replica in staying:
        here.setdefault(replica.revision, []).append(replica)
    start: list[ReplicaTemplate] = []
    stop: list[str] = []
    for wish in desired:
        there = here.pop(wish.template.revision, [])
        start += [wish.template] * (wish.count - len(there))
        stop += _surplus(there, len(there) - wish.count)
    for there in here.values():
        stop += _surplus(there, len(there))
    return start, stop


def _surplus(replicas: list[ObservedReplica], count: int) -> list[str]:
    youngest_first = [
        (replica, index) for index, replica in enumerate(replicas) if replica.phase is not ReplicaPhase.DRAINING
    ]
    # One that drains by itself will end anyway, but it is started again unless told not to: it goes before all.
    draining = [replica.id for replica in replicas if replica.phase is ReplicaPhase.DRAINING]
    youngest_first.sort(key=lambda pair: (_FIRST_TO_GO.index(pair[0].phase), -pair[1]))
    return [*draining, *(replica.id for replica, _ in youngest_first)][: max(count, 0)]
