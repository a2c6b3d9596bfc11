"""Roles for those who serve models: who may look, who may scale, who may deploy. They join Kubernetes' own view, edit
and admin, so whoever may edit a namespace may serve a model in it, without a right to anything outside."""

from plimsoll.backends.kubernetes.install.parts import obj
from plimsoll.backends.kubernetes.install.roles import READ
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.names import GROUP
from plimsoll.backends.kubernetes.objects import Obj

_CHANGE = ("create", "delete", "patch", "update")


def roles(values: Values) -> list[Obj]:
    look = _rule(READ, "modelservices", "modelservices/status", "revisions")
    # `patch` alone would not do: kubectl scale updates, autoscalers patch.
    scale = _rule(("get", "patch", "update"), "modelservices/scale")
    deploy = _rule(_CHANGE, "modelservices")
    everything = _rule((*_CHANGE, "deletecollection"), "modelservices")
    whole = _rule((*READ, *_CHANGE, "deletecollection"), "platforms", "tenants")
    return [
        _role("plimsoll-view", [look], "view", "edit", "admin"),
        # Bound alone it lets an on-call engineer scale what somebody else deploys.
        _role("plimsoll-scale", [look, scale]),
        _role("plimsoll-edit", [look, scale, deploy], "edit", "admin"),
        _role("plimsoll-admin", [look, scale, everything], "admin"),
        # Of the whole cluster, so it joins none of a namespace's roles.
        _role("plimsoll-platform", [whole, _rule(READ, "platforms/status", "tenants/status")]),
    ]


def _rule(verbs: tuple[str, ...], *resources: str) -> Obj:
    return {"apiGroups": [GROUP], "resources": list(resources), "verbs": sorted(verbs)}


def _role(name: str, rules: list[Obj], *joins: str) -> Obj:
    found = obj("rbac.authorization.k8s.io/v1", "ClusterRole", name, "system", rules=rules)
    found["metadata"]["labels"] |= {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in joins}
    return found
