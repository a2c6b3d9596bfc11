"""What a cluster has for Plimsoll and what it lacks: facts in, findings out. Nothing here asks anybody."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.names import CONTROLLER_API
from plimsoll.backends.kubernetes.options import NEWEST_MINOR, OLDEST_MINOR


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`name`: what `--allow` takes. `text`: a clause that ends in the remedy where there is one."""

    level: Level
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ApiOwner:
    """Who serves an aggregated API: `service` NAMESPACE/NAME."""

    service: str
    available: bool = True
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """`version`: as the server says it, v1.36.2+k3s1. `apis`: group/versions. `owners`: APIService name to who serves
    it. `daemon_sets`: NAMESPACE/NAME. `accelerators`: extended resource to (how many, on how many nodes); None where
    nodes may not be seen. `expected`: resources whose nodes are labelled as having it, but that none offers.
    `security`: Pod Security level that the system namespace enforces, None without such a namespace. `forbidden`: what
    whoever asks may not do."""

    version: str
    minor: int
    apis: frozenset[str] = frozenset()
    owners: Mapping[str, ApiOwner] = field(default_factory=dict)
    daemon_sets: tuple[str, ...] | None = ()
    policy_kinds: tuple[str, ...] = ()
    accelerators: Mapping[str, tuple[int, int]] | None = field(default_factory=dict)
    expected: tuple[str, ...] = ()
    device_classes: tuple[str, ...] = ()
    ingress_classes: tuple[str, ...] = ()
    security: str | None = None
    forbidden: tuple[str, ...] = ()


def judge(facts: Facts, values: Values, allowed: Iterable[str] = ()) -> list[Finding]:
    """In the order of the checks. A failure that is allowed by its name is a warning."""
    found = [
        _version(facts), *_routes(facts), _resource_metrics(facts),
        *_metrics_apis(facts, values), _network_policy(facts), *_accelerators(facts),
        _security(facts, values), *_others(facts), *_permissions(facts),
    ]  # fmt: skip
    names = set(allowed)
    return [
        Finding(Level.WARN, one.name, f"{one.text} (allowed)") if one.level is Level.FAIL and one.name in names else one
        for one in found
    ]


def names() -> list[str]:
    return ["version", "metrics-apis", "network-policy", "permissions"]


def _version(facts: Facts) -> Finding:
    text = f"Kubernetes {_plain(facts.version)}"
    if facts.minor < OLDEST_MINOR:
        return Finding(Level.FAIL, "version", f"{text} is older than 1.{OLDEST_MINOR}; upgrade the cluster first")
    if facts.minor > NEWEST_MINOR:
        return Finding(Level.WARN, "version", f"{text} is newer than what this version knows (1.{NEWEST_MINOR})")
    return Finding(Level.OK, "version", text)


def _plain(version: str) -> str:
    return version.removeprefix("v")


def _routes(facts: Facts) -> list[Finding]:
    if "gateway.networking.k8s.io/v1" in facts.apis:
        return [Finding(Level.OK, "routes", "Gateway API")]
    if facts.ingress_classes:
        return [Finding(Level.OK, "routes", f"Ingress ({', '.join(facts.ingress_classes)})")]
    return [
        Finding(
            Level.WARN,
            "routes",
            "neither the Gateway API nor an IngressClass: services are reached inside the cluster, or through the "
            "gateway's Service (--set gateway.service.type=LoadBalancer)",
        )
    ]


def _resource_metrics(facts: Facts) -> Finding:
    owner = facts.owners.get("v1beta1.metrics.k8s.io")
    if owner is None:
        text = "no metrics-server: HPAs on CPU and memory decide nothing (writer: Controller needs none)"
        return Finding(Level.WARN, "metrics-server", text)
    if not owner.available:
        return Finding(Level.WARN, "metrics-server", f"metrics.k8s.io is down ({owner.service}): {owner.message}")
    return Finding(Level.OK, "metrics-server", "metrics-server")


def _metrics_apis(facts: Facts, values: Values) -> list[Finding]:
    found = []
    for group, version, wanted, key in (
        ("external.metrics.k8s.io", "v1beta1", values.metrics_apis.external, "external"),
        ("custom.metrics.k8s.io", "v1beta2", values.metrics_apis.custom, "custom"),
    ):
        ours = f"{values.namespace}/{CONTROLLER_API}"
        owner = next(
            (one for name, one in sorted(facts.owners.items()) if name.endswith(f".{group}") and one.service != ours),
            None,
        )
        if owner is not None and wanted:
            text = f"{group} is served by {_short(owner)}; leave metricsApis.{key} off: a cluster has one of it"
            found.append(Finding(Level.FAIL, "metrics-apis", text))
        elif owner is not None:
            down = "" if owner.available else f", which is down ({owner.message})"
            text = f"{group} is served by {_short(owner)}{down}: ours stays off (writer: Controller needs none)"
            found.append(Finding(Level.WARN, "metrics-apis", text))
        elif f"{version}.{group}" in facts.owners and not facts.owners[f"{version}.{group}"].available:
            message = facts.owners[f"{version}.{group}"].message
            found.append(Finding(Level.WARN, "metrics-apis", f"{group} is ours, and down: {message}"))
        else:
            state = "ours" if f"{version}.{group}" in facts.owners or wanted else "free"
            found.append(Finding(Level.OK, "metrics-apis", f"{group} is {state}"))
    return found


def _short(owner: ApiOwner) -> str:
    return owner.service.rpartition("/")[2] or "another"


# DaemonSets by which network plugins are known. Flannel alone routes and enforces nothing; with Calico (Canal) it does.
_ENFORCING = {
    "calico-node": "Calico", "canal": "Canal", "cilium": "Cilium", "anetd": "GKE Dataplane V2",
    "antrea-agent": "Antrea", "kube-router": "kube-router", "weave-net": "Weave Net", "azure-npm": "Azure NPM",
    "ovnkube-node": "OVN-Kubernetes", "kindnet": "kindnet", "romana-agent": "Romana", "kube-ovn-cni": "Kube-OVN",
}  # fmt: skip
_NOT_ENFORCING = {"kube-flannel-ds": "flannel", "kube-flannel": "flannel"}
_ASK = {"aws-node": "the VPC CNI enforces it only with enableNetworkPolicy"}
_KINDS = {"cilium.io": "Cilium", "crd.projectcalico.org": "Calico", "k8s.ovn.org": "OVN-Kubernetes"}
_DISTRIBUTIONS = {"+k3s": "k3s", "+rke2": "RKE2"}  # both have a policy controller inside


def _network_policy(facts: Facts) -> Finding:
    """By the plugins that run: nothing in the API says whether somebody enforces a policy."""
    name = "network-policy"
    known = [one.rpartition("/")[2] for one in facts.daemon_sets or ()]
    enforcing = sorted({_ENFORCING[one] for one in known if one in _ENFORCING})
    enforcing += [_KINDS[group] for group in facts.policy_kinds if group in _KINDS and not enforcing]
    enforcing += [told for mark, told in _DISTRIBUTIONS.items() if mark in facts.version and not enforcing]
    if enforcing:
        return Finding(Level.OK, name, f"NetworkPolicy ({enforcing[0]})")
    passive = sorted({_NOT_ENFORCING[one] for one in known if one in _NOT_ENFORCING})
    if passive:
        return Finding(
            Level.FAIL,
            name,
            f"NetworkPolicy is not enforced by this CNI ({passive[0]}): replicas would be reachable past the gateway "
            f"(--allow {name} to go on)",
        )
    asked = [text for one, text in _ASK.items() if one in known]
    why = asked[0] if asked else "no CNI that is known here"
    if facts.daemon_sets is None:
        why = "DaemonSets may not be listed"
    return Finding(Level.WARN, name, f"whether NetworkPolicy is enforced is not known: {why}")


def _accelerators(facts: Facts) -> list[Finding]:
    found = []
    if facts.accelerators is None:
        found.append(Finding(Level.WARN, "accelerators", "nodes may not be listed: GPUs are not known"))
    elif facts.accelerators:
        told = [f"{name} {count} on {nodes} nodes" for name, (count, nodes) in sorted(facts.accelerators.items())]
        found.append(Finding(Level.OK, "accelerators", ", ".join(told).replace(" on 1 nodes", " on 1 node")))
    else:
        found.append(Finding(Level.OK, "accelerators", "no GPUs"))
    for resource in facts.expected:
        text = f"nodes are labelled as having {resource}, and offer none: is its device plugin running?"
        found.append(Finding(Level.WARN, "accelerators", text))
    if "resource.k8s.io/v1" in facts.apis and facts.device_classes:
        found.append(Finding(Level.OK, "dra", f"DRA ({', '.join(facts.device_classes)})"))
    return found


def _security(facts: Facts, values: Values) -> Finding:
    if facts.security == "":
        text = f"namespace {values.namespace} has no Pod Security level: install sets restricted"
        return Finding(Level.OK if values.create_namespace else Level.WARN, "pod-security", text)
    if facts.security not in (None, "restricted"):
        text = f"namespace {values.namespace} enforces {facts.security}; ours pass restricted"
        return Finding(Level.OK, "pod-security", text)
    return Finding(Level.OK, "pod-security", "Pod Security")


def _others(facts: Facts) -> list[Finding]:
    known = {
        "KEDA": "keda.sh/v1alpha1",
        "Prometheus operator": "monitoring.coreos.com/v1",
        "cert-manager": "cert-manager.io/v1",
    }
    there = [name for name, api in known.items() if api in facts.apis]
    return [Finding(Level.OK, "others", name) for name in there]


def _permissions(facts: Facts) -> list[Finding]:
    if not facts.forbidden:
        return [Finding(Level.OK, "permissions", "you may install")]
    listed = ", ".join(facts.forbidden[:5]) + (
        f" and {len(facts.forbidden) - 5} more" if len(facts.forbidden) > 5 else ""
    )
    return [Finding(Level.FAIL, "permissions", f"you may not {listed}; ask a cluster admin to install")]


# Extended resources of device plugins, and the node labels that announce them.
_RESOURCES = re.compile(
    r"(nvidia\.com/(gpu|mig-.+)|amd\.com/gpu|gpu\.intel\.com/.+|google\.com/tpu|habana\.ai/gaudi"
    r"|aws\.amazon\.com/neuron.*|intel\.com/.*gpu.*|huawei\.com/.*|qualcomm\.com/.*)(\.shared)?\Z"
)
_ANNOUNCED = {
    "nvidia.com/gpu.present": "nvidia.com/gpu",
    "feature.node.kubernetes.io/pci-10de.present": "nvidia.com/gpu",
    "feature.node.kubernetes.io/pci-1002.present": "amd.com/gpu",
    "cloud.google.com/gke-accelerator": "nvidia.com/gpu",
    "cloud.google.com/gke-tpu-accelerator": "google.com/tpu",
}


def accelerators_of(nodes: Sequence[Mapping[str, object]]) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """(what they offer, what their labels promise in vain), from Node objects."""
    offered: dict[str, tuple[int, int]] = {}
    promised: set[str] = set()
    for node in nodes:
        status, meta = _mapping(node.get("status")), _mapping(node.get("metadata"))
        for resource, quantity in _mapping(status.get("allocatable")).items():
            if _RESOURCES.match(resource) and str(quantity).isdecimal() and int(str(quantity)):
                count, on = offered.get(resource, (0, 0))
                offered[resource] = count + int(str(quantity)), on + 1
        labels = _mapping(meta.get("labels"))
        promised |= {resource for label, resource in _ANNOUNCED.items() if labels.get(label) not in (None, "false")}
    families = {name.partition("/")[0] for name in offered}
    return offered, tuple(sorted(one for one in promised if one.partition("/")[0] not in families))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
