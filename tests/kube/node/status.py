"""What a kubelet writes into a pod's status: phase, conditions, containers."""

from tests.kube.api import timestamp


class PodStatus:
    """Of one pod. `main`, `init`: its containers."""

    def __init__(self, address, main, init):
        self._address, self.main, self.init = address, main, init
        self._begun = timestamp()
        self._conditions = {}

    def of(self, pod, initialized):
        """The status, with the conditions of others that `pod` has."""
        states = [one.state for one in self.main]
        ready = bool(self.main) and all(one.ready for one in self.main)
        unready = [one.name for one in self.main if not one.ready]
        why = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
        conditions = [
            self._condition("PodScheduled", True),
            self._condition("Initialized", initialized),
            self._condition("ContainersReady", ready, *why),
            self._condition("Ready", ready and _gates_met(pod), *why),
        ]
        own = {one["type"] for one in conditions}
        kept = [one for one in (pod.get("status") or {}).get("conditions") or () if one["type"] not in own]
        status = {
            "phase": self._phase(pod, initialized, states),
            "podIP": self._address,
            "podIPs": [{"ip": self._address}],
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "startTime": self._begun,
            "conditions": [*conditions, *kept],
            "containerStatuses": [one.status for one in self.main],
        }
        if self.init:
            status["initContainerStatuses"] = [one.status for one in self.init]
        return status

    def _phase(self, pod, initialized, states):
        if not initialized:
            never = pod["spec"].get("restartPolicy") == "Never"
            failed = any((one.state.get("terminated") or {}).get("exitCode") for one in self.init)
            return "Failed" if never and failed else "Pending"
        if all("terminated" in one for one in states):
            codes = [one["terminated"]["exitCode"] for one in states]
            policy = pod["spec"].get("restartPolicy", "Always")
            if policy == "Never" or (policy == "OnFailure" and not any(codes)):
                return "Failed" if any(codes) else "Succeeded"
            return "Running"
        has_run = any(one.restarts or "waiting" not in one.state for one in self.main)
        return "Running" if has_run else "Pending"

    def _condition(self, kind, holds, reason="", message=""):
        word = "True" if holds else "False"
        old = self._conditions.get(kind)
        since = old["lastTransitionTime"] if old and old["status"] == word else timestamp()
        found = {"type": kind, "status": word, "lastTransitionTime": since}
        if not holds and reason:
            found |= {"reason": reason, "message": message}
        self._conditions[kind] = found
        return found


def _gates_met(pod):
    met = {one["type"] for one in (pod.get("status") or {}).get("conditions") or () if one["status"] == "True"}
    return all(gate["conditionType"] in met for gate in pod["spec"].get("readinessGates") or ())
