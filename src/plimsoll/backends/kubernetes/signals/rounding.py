"""A wanted count as a metric that an HPA does not ignore. Pure.

An HPA leaves the count alone while value / count is within its tolerance of 1 (0.1 unless set), and else takes the
value's ceiling. Since 1.35 the rendered HPA sets the tolerance to 0, and the value is the count itself. Before, a small
step up would be lost: the value is raised just past the band, which costs a replica or a few more than wanted. A small
step down is left lost: the other way round would serve with less than is needed.
"""

from math import floor

TOLERANCE = 0.1  # --horizontal-pod-autoscaler-tolerance
_PAST = 0.001  # HPAs count in thousandths


def published(wanted: int, current: int | None, tolerance: float) -> float:
    """The value for an HPA with a target of 1 a replica, `current` replicas and this tolerance."""
    if not current or tolerance <= 0.0 or wanted <= current:
        return float(wanted)
    edge = current * (1.0 + tolerance)
    return float(wanted) if wanted > edge + 1e-9 else round(floor(edge * 1000 + 1e-6) / 1000 + _PAST, 3)


def landing(value: float, current: int, tolerance: float) -> int:
    """Where such an HPA goes: its own rule (k8s.io/kubernetes, replica_calculator.go, GetExternalPerPodMetricReplicas),
    for tests and plans."""
    if current and abs(value / current - 1.0) <= tolerance + 1e-12:
        return current
    return -floor(-value + 1e-9)
