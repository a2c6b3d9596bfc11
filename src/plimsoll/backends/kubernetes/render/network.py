"""Who may connect to a replica, and where it may connect to: NetworkPolicies; and how Prometheus finds it."""

from plimsoll.backends.kubernetes.names import COMPONENT_LABEL, NAME_LABEL
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.render.model import reference_of
from plimsoll.backends.kubernetes.render.scene import Scene

MONITORING_API = "monitoring.coreos.com/v1"
_NAMESPACE_NAME = "kubernetes.io/metadata.name"  # what Kubernetes itself puts on every namespace
_NODE_DNS = "169.254.20.10/32"  # NodeLocal DNSCache
# Where pods get their cloud's credentials: instance metadata, GKE's server behind it, EKS Pod Identity.
_IDENTITY = ("169.254.169.254/32", "169.254.169.252/32", "169.254.170.23/32")
_STORE_PORTS = {"http": 80}
_OF_CLOUDS = frozenset({"s3", "gs"})


def network_policy(scene: Scene, *, routed: bool) -> Obj | None:
    """None where the platform wants none. The kubelet's probes come from the node, which no policy keeps out. `routed`:
    whether an Ingress or a Gateway leads straight to the pods, from a namespace that isn't known."""
    if scene.platform is not None and scene.platform.spec.network_policy == "Disabled":
        return None
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": scene.meta(scene.name),
        "spec": {
            "podSelector": {"matchLabels": scene.pod_labels},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": _callers(scene, routed),
                    "ports": [_port("http"), *([_port("https")] if scene.secure else [])],
                },
                {"from": _watchers(scene), "ports": [_port("metrics")]},
            ],
            "egress": _ways_out(scene),
        },
    }


def _port(port: str | int, protocol: str = "TCP") -> Obj:
    return {"protocol": protocol, "port": port}


def _of_namespace(name: str) -> Obj:
    return {"matchLabels": {_NAMESPACE_NAME: name}}


def _callers(scene: Scene, routed: bool) -> list[Obj]:
    if not scene.plain:
        gateway = {"matchLabels": {COMPONENT_LABEL: "gateway"}}
        return [{"namespaceSelector": _of_namespace(scene.options.system_namespace), "podSelector": gateway}]
    if routed:
        scene.note(
            "NetworkPolicy",
            "any pod reaches the serving port: where the Ingress or Gateway runs is not known; narrow it",
        )
        return [{"namespaceSelector": {}}]
    return [{"podSelector": {}}]  # its own namespace


def _watchers(scene: Scene) -> list[Obj]:
    prometheus: Obj = {"namespaceSelector": {}, "podSelector": {"matchLabels": {NAME_LABEL: "prometheus"}}}
    if scene.plain:
        return [prometheus]
    return [{"namespaceSelector": _of_namespace(scene.options.system_namespace)}, prometheus]


def _ways_out(scene: Scene) -> list[Obj]:
    names: Obj = {
        "to": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": _NODE_DNS}}],
        # 5353: where some distributions' name servers listen behind their Service.
        "ports": [_port(53, "UDP"), _port(53), _port(5353, "UDP"), _port(5353)],
    }
    found = [names]
    reference = reference_of(scene)
    if reference is None or not reference.network:
        return found
    # Stores are known by names, policies by addresses: the port is all that can be said.
    found.append({"ports": [_port(_store_port(reference.scheme, reference.host))]})
    if reference.scheme in _OF_CLOUDS and scene.service.spec.model.secret_ref is None:
        identity = [{"ipBlock": {"cidr": cidr}} for cidr in _IDENTITY]
        found.append({"to": identity, "ports": [_port(80), _port(988)]})
    return found


def _store_port(scheme: str, host: str) -> int:
    _, colon, port = host.rpartition(":")
    return int(port) if colon and port.isdecimal() else _STORE_PORTS.get(scheme, 443)


def monitor(scene: Scene) -> Obj | None:
    """What the platform wants for the Prometheus operator; None where it wants none or has none."""
    kind = "None" if scene.platform is None else scene.platform.spec.monitoring
    if kind == "None":
        return None
    if not scene.options.has(MONITORING_API):
        scene.note("Platform spec.monitoring", f"{MONITORING_API} is not served; install the Prometheus operator first")
        return None
    endpoint = {"port": "metrics", "path": "/metrics", "interval": "15s"}
    pods = kind == "PodMonitor"
    return {
        "apiVersion": MONITORING_API,
        "kind": kind,
        "metadata": scene.meta(scene.name),
        "spec": {
            "selector": {"matchLabels": scene.pod_labels},
            "podMetricsEndpoints" if pods else "endpoints": [endpoint],
        },
    }
