"""Who of ours may do what: the verbs each process uses, and why. A verb that nothing uses stands nowhere.

A server-side apply that may create needs both `create` and `patch`. What is watched is listed once; `get` is a single
look before a decision.
"""

from collections.abc import Iterable
from typing import NamedTuple

from plimsoll.backends.kubernetes.install.parts import obj
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.names import (
    CERTIFICATES,
    CERTIFIER,
    CONTROLLER,
    GATEWAY,
    LEASE_CONTROLLER,
    LEASE_OPERATOR,
    OPERATOR,
    REPLICA_AUTHORITY,
    authority_namespace,
    serving_certificate,
)
from plimsoll.backends.kubernetes.objects import Obj

_RBAC = "rbac.authorization.k8s.io/v1"
WATCH = ("list", "watch")
READ = ("get", *WATCH)
APPLY = ("create", "delete", "get", "list", "patch", "watch")
SECRET_READER = "plimsoll-secret-reader"


class Rule(NamedTuple):
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()

    def as_object(self) -> Obj:
        found: Obj = {"apiGroups": [self.group], "resources": list(self.resources), "verbs": sorted(self.verbs)}
        return found | ({"resourceNames": list(self.names)} if self.names else {})


OPERATOR_RULES = (
    Rule("plimsoll.dev", ("modelservices",), (*WATCH, "get", "patch"), "watched; the finalizer is a patch"),
    Rule("plimsoll.dev", ("platforms", "tenants"), WATCH, "classes, prices and routes shape what is rendered"),
    Rule("plimsoll.dev", ("modelservices/status", "platforms/status", "tenants/status"), ("patch",), "conditions"),
    Rule("plimsoll.dev", ("modelservices/finalizers",), ("update",), "owner references that block deletion"),
    Rule("plimsoll.dev", ("revisions",), APPLY, "what each revision was made of"),
    Rule("plimsoll.dev", ("revisions/status",), ("patch",), "how each revision does"),
    Rule("", ("configmaps", "serviceaccounts", "services"), APPLY, "a service's own; owners of packed models"),
    Rule("", ("persistentvolumeclaims",), ("create", "get", "patch"), "the model cache of a namespace"),
    Rule("apps", ("deployments", "statefulsets"), APPLY, "a Deployment a revision"),
    Rule("apps", ("deployments/scale", "statefulsets/scale"), ("patch",), "rolling between revisions"),
    Rule("policy", ("poddisruptionbudgets",), APPLY, "draining a node leaves enough replicas"),
    Rule("autoscaling", ("horizontalpodautoscalers",), APPLY, "policy HPA, writer HPA"),
    Rule("networking.k8s.io", ("networkpolicies",), APPLY, "who reaches a replica, and what it reaches"),
    Rule("networking.k8s.io", ("ingresses",), WATCH, "whether they still say what they should"),
    Rule("gateway.networking.k8s.io", ("httproutes",), APPLY, "the way in, where the cluster has the Gateway API"),
    Rule("keda.sh", ("scaledobjects",), APPLY, "writer KEDA"),
    Rule("monitoring.coreos.com", ("podmonitors", "servicemonitors"), APPLY, "metrics, where Prometheus' operator is"),
    Rule("resource.k8s.io", ("resourceclaimtemplates",), APPLY, "accelerators by dynamic resource allocation"),
    Rule("", ("pods", "nodes"), WATCH, "what is wrong with a replica, in words"),
    Rule("", ("events",), (*WATCH, "create", "patch"), "told to people; why a volume isn't mounted"),
    Rule("", ("namespaces",), WATCH, "a namespace that is going takes no new objects"),
)  # fmt: skip

# By name: its own certificate authority stands in these, and in no other's.
OPERATOR_NAMED = (
    Rule(
        "admissionregistration.k8s.io", ("validatingwebhookconfigurations",), ("get", "patch"), "caBundle", (OPERATOR,)
    ),
    Rule(
        "apiregistration.k8s.io",
        ("apiservices",),
        ("get", "patch"),
        "caBundle of those that lead to our controller",
        ("v1beta1.external.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"),
    ),
)

OPERATOR_SYSTEM = (
    Rule("coordination.k8s.io", ("leases",), ("create",), "who of two acts (create can't be limited by name)"),
    Rule("coordination.k8s.io", ("leases",), ("get", "update"), "the same", (LEASE_OPERATOR,)),
    Rule("", ("secrets",), ("create",), "the certificate (create can't be limited by name)"),
    Rule("", ("secrets",), ("get", "update"), "renewing the certificate", (CERTIFICATES,)),
    Rule(
        "", ("secrets",), ("delete", "get", "patch"), "replicaTls: what gateways show", (serving_certificate(GATEWAY),)
    ),
    Rule("networking.k8s.io", ("ingresses",), ("create", "delete", "get", "patch"), "the way in, beside the gateway"),
    Rule(
        "gateway.networking.k8s.io",
        ("referencegrants",),
        ("create", "delete", "get", "patch"),
        "routes of a namespace may lead to the gateway",
    ),
)

# In a namespace of its own: nobody else of ours reads there.
OPERATOR_AUTHORITY = (
    Rule("", ("secrets",), ("create",), "replicaTls: the authority (create can't be limited by name)"),
    Rule("", ("secrets",), ("delete", "get", "patch"), "the same", (REPLICA_AUTHORITY,)),
)

# Of each service NAME-certificate alone is touched, and only one with our labels; but a role can limit neither `create`
# by name nor the others by a part of it. So it is bound nowhere but in namespaces that the values list, or whose team
# says so; elsewhere services say what is missing.
CERTIFIER_RULES = (
    Rule(
        "", ("secrets",), ("create", "delete", "get", "patch"), "replicaTls: a service's certificate (NAME-certificate)"
    ),
)

CONTROLLER_RULES = (
    Rule("plimsoll.dev", ("modelservices", "platforms", "tenants"), READ, "what is to be scaled, and for whom"),
    Rule("apps", ("deployments", "statefulsets"), READ, "how many replicas there are"),
    Rule("apps", ("deployments/scale", "statefulsets/scale"), ("get", "patch"), "how many there should be"),
    Rule("", ("pods",), (*READ, "patch"), "where replicas are; pod-deletion-cost, do-not-disrupt"),
    Rule("", ("nodes",), READ, "why a pod waits; how long a node takes"),
    Rule("", ("resourcequotas",), READ, "why a pod waits"),
    Rule("", ("events",), ("create", "get", "list", "patch", "watch"), "why a pod waits; what was decided"),
    Rule("discovery.k8s.io", ("endpointslices",), READ, "which replicas are ready"),
    Rule("metrics.k8s.io", ("pods",), ("get", "list"), "CPU in use, for policy HPA"),
    Rule("authentication.k8s.io", ("tokenreviews",), ("create",), "is it a gateway that asks?"),
    Rule("authorization.k8s.io", ("subjectaccessreviews",), ("create",), "may this caller read metrics?"),
)

CONTROLLER_SYSTEM = (
    Rule("coordination.k8s.io", ("leases",), ("create",), "who of two writes (create can't be limited by name)"),
    Rule("coordination.k8s.io", ("leases",), ("get", "patch", "update", "watch"), "the same", (LEASE_CONTROLLER,)),
    Rule("", ("secrets",), READ, "keys of tenants, URLs of Redis"),
)

GATEWAY_RULES = (Rule("discovery.k8s.io", ("endpointslices",), READ, "which replicas are ready, within a second"),)


def accounts(values: Values) -> list[Obj]:
    """With a token: each of the three speaks to the API server."""
    return [
        obj("v1", "ServiceAccount", name, component, values.namespace)
        for name, component in ((OPERATOR, "operator"), (CONTROLLER, "controller"), (GATEWAY, "gateway"))
    ]


def cluster_roles(values: Values) -> list[Obj]:
    return [
        cluster_role(OPERATOR, "operator", (*OPERATOR_RULES, *OPERATOR_NAMED)),
        cluster_role(CONTROLLER, "controller", CONTROLLER_RULES),
        cluster_role(GATEWAY, "gateway", GATEWAY_RULES),
        # Bound nowhere by itself: namespaces of the values, or a team in its own.
        cluster_role(SECRET_READER, "controller", (Rule("", ("secrets",), READ, "keys of tenants, URLs of Redis"),)),
        cluster_role(CERTIFIER, "operator", CERTIFIER_RULES),
        *(
            _bound("ClusterRoleBinding", name, component, "", "ClusterRole", name, name, values.namespace)
            for name, component in ((OPERATOR, "operator"), (CONTROLLER, "controller"), (GATEWAY, "gateway"))
        ),
    ]


def system_roles(values: Values) -> list[Obj]:
    made = [
        *_role(OPERATOR, "operator", values.namespace, OPERATOR_SYSTEM, values.namespace),
        *_role(CONTROLLER, "controller", values.namespace, CONTROLLER_SYSTEM, values.namespace),
    ]
    # The front-proxy's authority, by which a call through the API server is known; the role is Kubernetes' own.
    reader = "extension-apiserver-authentication-reader"
    made.append(
        _bound("RoleBinding", CONTROLLER, "controller", "kube-system", "Role", reader, CONTROLLER, values.namespace)
    )
    return made


def authority_roles(values: Values) -> list[Obj]:
    where = authority_namespace(values.namespace)
    return _role(OPERATOR, "operator", where, OPERATOR_AUTHORITY, values.namespace)


def secret_namespace(values: Values, namespace: str) -> list[Obj]:
    """One more namespace whose Secrets the controller may read."""
    return [
        _bound(
            "RoleBinding", SECRET_READER, "controller", namespace, "ClusterRole", SECRET_READER, CONTROLLER,
            values.namespace,
        )
    ]  # fmt: skip


def certificate_namespace(values: Values, namespace: str) -> list[Obj]:
    """One more namespace whose services may have `replicaTls`."""
    return [
        _bound(
            "RoleBinding", CERTIFIER, "operator", namespace, "ClusterRole", CERTIFIER, OPERATOR, values.namespace
        )
    ]  # fmt: skip


def cluster_role(name: str, component: str, rules: Iterable[Rule]) -> Obj:
    return obj(_RBAC, "ClusterRole", name, component, rules=[rule.as_object() for rule in rules])


def _role(name: str, component: str, namespace: str, rules: Iterable[Rule], home: str) -> list[Obj]:
    """A Role in `namespace` for the account of that name at home."""
    return [
        obj(_RBAC, "Role", name, component, namespace, rules=[rule.as_object() for rule in rules]),
        _bound("RoleBinding", name, component, namespace, "Role", name, name, home),
    ]


def _bound(
    kind: str, name: str, component: str, namespace: str, role_kind: str, role: str, account: str, home: str
) -> Obj:
    return obj(
        _RBAC,
        kind,
        name,
        component,
        namespace,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": home}],
    )
