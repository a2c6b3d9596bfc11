"""What of a service becomes an Event: another reason for being ready or not, and replicas that left their nodes."""

from plimsoll.backends.kubernetes.conditions import Reason
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.seen import Seen, ServiceObject
from plimsoll.backends.kubernetes.operator.telling import Tell

_FINE = frozenset(
    str(one) for one in (Reason.SERVING, Reason.SCALED_TO_ZERO, Reason.STARTING, Reason.ROLLING_OUT, Reason.PAUSED)
)
_WHY = {  # the reasons of a pod's condition DisruptionTarget
    "EvictionByEvictionAPI": "drained",
    "DeletionByTaintManager": "a taint, or a node that was lost",
    "DeletionByPodGC": "a node that is gone",
    "PreemptionByScheduler": "for pods of higher priority",
    "TerminationByKubelet": "the node ran short, or shut down",
}


class News:
    """Of one service. `service`: as it stands when an operator begins; what was told before isn't told again."""

    def __init__(self, service: ServiceObject) -> None:
        conditions = service.status.get("conditions") or ()
        self._reason = next((str(one.get("reason")) for one in conditions if one.get("type") == "Ready"), "")
        self._leaving: dict[str, str] = {}  # pods by name, with why
        self._since = 0.0

    def ready(self, service: ServiceObject, status: Obj, tell: Tell) -> None:
        """`status`: what was written."""
        ready = next((one for one in status["conditions"] if one["type"] == "Ready"), None)
        if ready is None or ready["reason"] == self._reason:
            return
        self._reason = ready["reason"]
        tell(service, "Normal" if ready["reason"] in _FINE else "Warning", ready["reason"], ready["message"])

    def moved(self, seen: Seen, now: float, tell: Tell) -> None:
        """Once as many serve as are wanted: how many had to leave, why, and how long it took. `now`: since 1970."""
        evicted = {pod.name: pod.evicted for pod in seen.pods if pod.evicted and pod.name not in self._leaving}
        if evicted and not self._leaving:
            self._since = now
        self._leaving |= evicted
        staying = {pod.name for pod in seen.pods if not pod.deleting}
        if not self._leaving or staying & self._leaving.keys():
            return
        if seen.ready < sum(one.replicas for one in seen.workloads):
            return
        count, why = len(self._leaving), ", ".join(sorted({_WHY.get(one, one) for one in self._leaving.values()}))
        self._leaving = {}
        took = f"{max(0.0, now - self._since):.0f} s until as many served again"
        tell(seen.service, "Normal", "Moved", f"moved {count} replica{'s' * (count > 1)} ({why}), {took}")
