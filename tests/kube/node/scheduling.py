"""Where a pod goes: filters and the least loaded node; in words why none fits; whom it may push aside."""

from collections import Counter

from tests.kube.node.quantities import number, requests


class NodeState:
    """A node and the pods bound to it."""

    def __init__(self, node, pods):
        self.node, self.pods = node, pods
        self.name = node["metadata"]["name"]
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        self.room = {key: number(value) for key, value in allocatable.items()}
        self.used = Counter()
        for pod in pods:
            self.used.update(requests(pod["spec"]))

    @property
    def load(self):
        shares = [self.used[key] / self.room[key] for key in ("cpu", "memory", "pods") if self.room.get(key)]
        return sum(shares) / len(shares) if shares else 0.0


def objections(state, pod):
    """Why `pod` can't run there; empty where it can."""
    spec, node = pod["spec"], state.node
    if node["spec"].get("unschedulable"):
        return ["node(s) were unschedulable"]
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] != "PreferNoSchedule" and not _tolerated(taint, spec.get("tolerations") or ()):
            value = f": {taint['value']}" if taint.get("value") else ": "
            return [f"node(s) had untolerated taint {{{taint['key']}{value}}}"]
    if not _selected(spec, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    return [
        "Too many pods" if key == "pods" else f"Insufficient {key}"
        for key, amount in sorted(requests(spec).items())
        if amount > 0 and state.used[key] + amount > state.room.get(key, 0) + 1e-9
    ]


def choose(states, pod):
    """(node's name or None, message). The message is the scheduler's."""
    found = {state.name: objections(state, pod) for state in states}
    fitting = [state for state in states if not found[state.name]]
    if fitting:
        return min(fitting, key=lambda state: (_spread(state, pod), state.load, state.name)).name, ""
    counted = Counter(why for reasons in found.values() for why in reasons)
    told = ", ".join(f"{count} {why}" for why, count in sorted(counted.items()))
    if not states:
        return None, "no nodes available to schedule pods"
    total = f"0/{len(states)} nodes are available"
    helped = sum(not any(why.startswith(("Insufficient", "Too many")) for why in reasons) for reasons in found.values())
    words = []
    if helped:
        words.append(f"{helped} Preemption is not helpful for scheduling")
    if len(states) - helped:
        words.append(f"{len(states) - helped} No preemption victims found for incoming pod")
    return None, f"{total}: {told}. preemption: {total}: {', '.join(words)}."


def victims(states, pod):
    """(node's name, pods of lower priority that would have to go), None where that wouldn't help."""
    if pod["spec"].get("preemptionPolicy") == "Never":
        return None
    mine, best = pod["spec"].get("priority", 0), None
    for state in states:
        lower = sorted((one for one in state.pods if one["spec"].get("priority", 0) < mine),
                       key=lambda one: one["spec"].get("priority", 0))  # fmt: skip
        for count in range(1, len(lower) + 1):
            left = [one for one in state.pods if one not in lower[:count]]
            if not objections(NodeState(state.node, left), pod):
                if best is None or count < len(best[1]):
                    best = state.name, lower[:count]
                break
    return best


def _spread(state, pod):
    """Pods of the same owner there already."""
    owners = {one["uid"] for one in pod["metadata"].get("ownerReferences") or ()}
    return sum(
        any(one["uid"] in owners for one in other["metadata"].get("ownerReferences") or ()) for other in state.pods
    )


def _tolerated(taint, tolerations):
    for one in tolerations:
        if one.get("effect") not in (None, "", taint["effect"]):
            continue
        if one.get("operator", "Equal") == "Exists":
            if one.get("key") in (None, "", taint["key"]):
                return True
        elif one.get("key") == taint["key"] and one.get("value", "") == taint.get("value", ""):
            return True
    return False


def _selected(spec, node):
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    return any(_term(term, labels, node) for term in affinity.get("nodeSelectorTerms") or ())


def _term(term, labels, node):
    named = {"metadata.name": node["metadata"]["name"]}
    return all(_expression(one, labels) for one in term.get("matchExpressions") or ()) and all(
        _expression(one, named) for one in term.get("matchFields") or ()
    )


def _expression(one, labels):
    value, values = labels.get(one["key"]), one.get("values") or []
    match one["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(values[0])
    return value is not None and int(value) < int(values[0])
