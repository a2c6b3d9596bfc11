"""A replica as the pod it would be."""

from plimsoll.core.scaling import ReplicaState, ScaledReplica
from plimsoll.policy.scaling.hpa.objects import Container, Phase, Pod, ReadyCondition, Status

CONTAINER = "model"
# Every replica requests one core here: `ScaledReplica.cpu` is the share of it.
CONTAINERS = (Container(CONTAINER, {"cpu": 1000}),)

_PHASES = {ReplicaState.PENDING: Phase.PENDING, ReplicaState.FAILED: Phase.FAILED}


def as_pod(replica: ScaledReplica) -> Pod:
    """Pending waits for a node; starting runs and was never ready; draining is deleted. The kubelet's start time is
    taken to be `asked_at`."""
    phase = _PHASES.get(replica.state, Phase.RUNNING)
    if replica.state is ReplicaState.READY:
        since = replica.asked_at if replica.ready_at is None else replica.ready_at
        ready = ReadyCondition(Status.TRUE, since)
    else:
        ready = ReadyCondition(Status.FALSE, replica.asked_at)
    return Pod(
        replica.id,
        phase,
        ready,
        start_time=replica.asked_at,
        deleted=replica.state is ReplicaState.DRAINING,
        containers=CONTAINERS,
    )
