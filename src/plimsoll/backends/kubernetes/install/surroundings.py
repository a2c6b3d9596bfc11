"""What stands around Plimsoll's pods: namespaces, priorities, network policies, admission, aggregated APIs."""

from plimsoll.backends.kubernetes import names
from plimsoll.backends.kubernetes.install.parts import labels, obj, selector
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.names import (
    BALLOON_PRIORITY,
    CONTROL_PORT,
    CONTROLLER_API,
    GROUP,
    HIGH_PRIORITY,
    LOW_PRIORITY,
    METRICS_API_PORT,
    METRICS_PORT,
    NORMAL_PRIORITY,
    OPERATOR,
    SCALER_PORT,
    SERVING_PORT,
    SERVING_TLS_PORT,
    SYSTEM_PRIORITY,
    VERSION,
    WEBHOOK_PORT,
)
from plimsoll.backends.kubernetes.objects import Obj

WEBHOOK_PATH = "/validate"
_LEVELS = ("enforce", "audit", "warn")


def namespace(values: Values) -> list[Obj]:
    """Every pod of ours here passes the strictest level, so nothing else gets in either."""
    return [_namespace(values.namespace, "restricted", "system")]


def node_namespace(values: Values) -> list[Obj]:
    """A folder of the node is forbidden by `baseline` and `restricted` alike. So the one DaemonSet that needs it has a
    namespace of its own, where nobody but the platform team may create pods; it still runs as `restricted` would have
    it in every other respect."""
    return [_namespace(values.model_cache.namespace, "privileged", "model-cache")]


def authority_namespace(values: Values) -> list[Obj]:
    """For one Secret, the key that signs replicas' certificates: whoever may read tenants' keys must not have it."""
    return [_namespace(names.authority_namespace(values.namespace), "restricted", "operator")]


def _namespace(name: str, level: str, component: str) -> Obj:
    security = {f"pod-security.kubernetes.io/{mode}": level for mode in _LEVELS}
    meta = {"name": name, "labels": labels(component) | security}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def priorities(values: Values) -> list[Obj]:
    """Ours sit above any model, and below what the cluster itself needs (2,000,000,000). Balloons sit below
    everything, and below zero: Cluster Autoscaler's default cutoff is -10, under which it brings no nodes. A pod
    without a class has 0, and so have normal ones: they take the place of low ones and balloons alone."""
    return [
        _priority(SYSTEM_PRIORITY, 100_000_000, "PreemptLowerPriority", "Plimsoll's own pods."),
        _priority(HIGH_PRIORITY, 10_000, "PreemptLowerPriority", "Services with scaling.priority above 0."),
        _priority(NORMAL_PRIORITY, 0, "PreemptLowerPriority", "Services with scaling.priority 0."),
        _priority(LOW_PRIORITY, -5, "PreemptLowerPriority", "Services with scaling.priority below 0."),
        _priority(BALLOON_PRIORITY, -10, "Never", "Placeholders: any pod may have their room."),
    ]


def _priority(name: str, value: int, preemption: str, what: str) -> Obj:
    found = obj("scheduling.k8s.io/v1", "PriorityClass", name, "system")
    return found | {"value": value, "preemptionPolicy": preemption, "globalDefault": False, "description": what}


def network_policies(values: Values) -> list[Obj]:
    """Who may connect to our pods. Ports that the API server calls (webhook, aggregated APIs) are open: its address is
    no pod's and can't be selected; both authenticate whoever calls. Outgoing connections stay open for the same
    reason: all three speak to the API server. Probes come from the node and are always let in."""
    anywhere: list[Obj] = []
    scrapers = values.network_policies.scrapers
    gateways = [{"podSelector": {"matchLabels": selector("gateway")}}]
    ours = [{"podSelector": {"matchLabels": selector("operator")}}]
    return [
        obj("networking.k8s.io/v1", "NetworkPolicy", "plimsoll-default-deny", "system", values.namespace)
        | {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
        _policy(
            values, "gateway", _rule(values.network_policies.clients, SERVING_PORT, SERVING_TLS_PORT),
            _rule(scrapers, METRICS_PORT), _rule([*_controllers()], METRICS_PORT),
        ),
        _policy(
            values, "controller", _rule(gateways, CONTROL_PORT), _rule(anywhere, METRICS_API_PORT, SCALER_PORT),
            _rule(scrapers, METRICS_PORT), _rule(ours, METRICS_PORT),
        ),
        _policy(values, "operator", _rule(anywhere, WEBHOOK_PORT), _rule(scrapers, METRICS_PORT)),
    ]  # fmt: skip


def _controllers() -> list[Obj]:
    return [{"podSelector": {"matchLabels": selector("controller")}}]


def _rule(peers: object, *ports: int) -> Obj:
    """No peers: from anywhere."""
    return ({"from": peers} if peers != [] else {}) | {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}


def _policy(values: Values, component: str, *rules: Obj) -> Obj:
    spec = {"podSelector": {"matchLabels": selector(component)}, "policyTypes": ["Ingress"], "ingress": list(rules)}
    return obj("networking.k8s.io/v1", "NetworkPolicy", f"plimsoll-{component}", component, values.namespace, spec=spec)


def webhook(values: Values) -> list[Obj]:
    """Without a caBundle: the operator writes it, and renews it with its certificate. `Ignore`: a service that is wrong
    gets in while nobody answers, and the operator then says so in its status; nothing is held up."""
    service = {"namespace": values.namespace, "name": OPERATOR, "path": WEBHOOK_PATH, "port": 443}
    rule = {
        "apiGroups": [GROUP],
        "apiVersions": [VERSION],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["modelservices", "tenants", "platforms"],
        "scope": "*",
    }
    hook = {
        "name": f"validate.{GROUP}",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": service},
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "rules": [rule],
        "sideEffects": "None",
        "timeoutSeconds": 2,
    }
    found = obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", OPERATOR, "operator")
    return [found | {"webhooks": [hook]}]


def external_metrics(values: Values) -> list[Obj]:
    return [_api_service(values, "external.metrics.k8s.io", "v1beta1")]


def custom_metrics(values: Values) -> list[Obj]:
    return [_api_service(values, "custom.metrics.k8s.io", "v1beta2")]


def _api_service(values: Values, group: str, version: str) -> Obj:
    found = obj("apiregistration.k8s.io/v1", "APIService", f"{version}.{group}", "controller")
    spec = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "service": {"namespace": values.namespace, "name": CONTROLLER_API, "port": 443},
    }
    return found | {"spec": spec}
