"""What `plimsoll status` says of Plimsoll itself on a cluster: which of its own processes nobody has heard of."""

from plimsoll.backends.kubernetes.api import ApiError
from plimsoll.backends.kubernetes.install.reach import Reach
from plimsoll.backends.kubernetes.names import LEASE_CONTROLLER, LEASE_OPERATOR, SYSTEM_NAMESPACE
from plimsoll.backends.kubernetes.operator.seen import seconds

SILENT_S = 120.0  # a Lease is renewed every 2 s, by a clock that may differ from ours

_AWAY = {
    LEASE_OPERATOR: ("operator", "serving, budgets and scaling go on; changes of services wait"),
    LEASE_CONTROLLER: ("controller", "serving goes on; counts stay, and no request wakes a service from zero"),
}


async def notes(reach: Reach, now: float) -> list[str]:
    """By the Leases, whose holders renew them. `now`: since 1970. Nothing where there are none (another namespace), or
    where whoever asks may not see them: most may not."""
    found = []
    for lease, (who, goes_on) in _AWAY.items():
        try:
            seen = await reach.get("coordination.k8s.io/v1", "Lease", lease, SYSTEM_NAMESPACE)
        except ApiError:
            continue
        spec = (seen or {}).get("spec") or {}
        silent = now - seconds(spec.get("renewTime")) > SILENT_S
        if seen is not None and (silent or not spec.get("holderIdentity")):
            found.append(f"no {who} is at work: {goes_on}. Look: kubectl get pods -n {SYSTEM_NAMESPACE}")
    return found
