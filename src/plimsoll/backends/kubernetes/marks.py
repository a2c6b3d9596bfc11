"""Annotations that tell Kubernetes which pods to leave alone: what to write on which pod now. Pure.

Before a workload shrinks, its busy pods are made dear (pod-deletion-cost: the ReplicaSet controller takes the cheapest
first), and what costs more an hour is made a little cheaper to lose. While a pod drains, node autoscalers are asked to
let it finish.
"""

from collections.abc import Mapping, Sequence

from plimsoll.backends.kubernetes.pods import DELETION_COST, DO_NOT_DISRUPT, SAFE_TO_EVICT, PodSeen
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase

_COST_MOST = 2**30
_STEP = 100  # a cost is written anew where it differs by as much: one request inside more or less is none


def deletion_costs(replicas: Sequence[ObservedReplica], prices: Mapping[str, float]) -> dict[str, int]:
    """Of each ready replica (others are the first to go anyway): the requests inside count first, then what its kind of
    node costs. `prices`: of a kind, any currency."""
    ranks = {kind: rank for rank, kind in enumerate(sorted(prices, key=lambda kind: -prices[kind]))}
    costs: dict[str, int] = {}
    for replica in replicas:
        if replica.phase is not ReplicaPhase.READY:
            continue
        inside = replica.load.get("in_flight", 0.0) + replica.load.get("queued", 0.0)
        costs[replica.id] = min(int(_STEP * inside) + min(ranks.get(replica.kind, 0), _STEP - 1), _COST_MOST)
    return costs


def costs_to_write(pods: Mapping[str, PodSeen], costs: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Annotations by pod, for those whose cost differs enough from what is written: each write costs the API server."""
    found: dict[str, dict[str, str]] = {}
    for name, cost in costs.items():
        pod = pods.get(name)
        if pod is None or pod.phase is ReplicaPhase.DRAINING:
            continue
        written = pod.marks[0]
        try:
            before = int(written or "0")
        except ValueError:
            continue  # somebody else's word
        if abs(cost - before) >= _STEP:
            found[name] = {DELETION_COST: str(cost)}
    return found


def drain_marks(pod: PodSeen) -> dict[str, str]:
    """For a pod that drains: empty where it has them already."""
    if pod.phase is not ReplicaPhase.DRAINING:
        return {}
    _, evict, disrupt = pod.marks
    wanted = {SAFE_TO_EVICT: ("false", evict), DO_NOT_DISRUPT: ("true", disrupt)}
    return {key: value for key, (value, written) in wanted.items() if written != value}
