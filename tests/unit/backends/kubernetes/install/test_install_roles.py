"""Who may do what: least privilege, and a team that needs nobody."""

import pytest

from plimsoll.backends.kubernetes.install import system_objects, values_of
from plimsoll.backends.kubernetes.install.roles import (
    CERTIFIER_RULES,
    CONTROLLER_RULES,
    CONTROLLER_SYSTEM,
    GATEWAY_RULES,
    OPERATOR_AUTHORITY,
    OPERATOR_NAMED,
    OPERATOR_RULES,
    OPERATOR_SYSTEM,
)

EVERY = (
    *CERTIFIER_RULES,
    *OPERATOR_RULES,
    *OPERATOR_NAMED,
    *OPERATOR_SYSTEM,
    *OPERATOR_AUTHORITY,
    *CONTROLLER_RULES,
    *CONTROLLER_SYSTEM,
    *GATEWAY_RULES,
)


def cluster_roles(text=""):
    found = system_objects(values_of(text))
    return {obj["metadata"]["name"]: obj for obj in found if obj["kind"] == "ClusterRole"}


def may(role, resource, verb, group="plimsoll.dev"):
    return any(
        verb in rule["verbs"] and resource in rule["resources"] and group in rule["apiGroups"] for rule in role["rules"]
    )


def test_every_right_has_its_reason_and_none_is_for_everything():
    for rule in EVERY:
        assert rule.why
        assert "*" not in (rule.group, *rule.resources, *rule.verbs), rule
    assert not [rule for rule in EVERY if {"escalate", "bind", "impersonate"} & set(rule.verbs)]


def test_nobody_of_ours_reads_secrets_of_the_whole_cluster():
    for rule in (*OPERATOR_RULES, *CONTROLLER_RULES, *GATEWAY_RULES):
        assert "secrets" not in rule.resources, rule


def test_the_gateway_only_sees_endpoints():
    assert cluster_roles()["plimsoll-gateway"]["rules"] == [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}
    ]


def test_only_by_name_where_a_change_would_reach_what_belongs_to_others():
    for rule in OPERATOR_NAMED:
        assert rule.names, rule


def test_secrets_are_read_where_it_was_said_and_nowhere_else():
    bound = [
        (obj["metadata"]["namespace"], obj["subjects"][0]["name"])
        for obj in system_objects(values_of("secrets: {namespaces: [shop]}"))
        if obj["kind"] == "RoleBinding" and obj["roleRef"]["name"] == "plimsoll-secret-reader"
    ]
    assert bound == [("shop", "plimsoll-controller")]


def test_the_operator_writes_secrets_where_it_was_said_and_its_own_by_name():
    found = system_objects(values_of("secrets: {certificates: [shop]}"))
    bound = [obj for obj in found if obj["kind"].endswith("Binding") and obj["roleRef"]["name"] == "plimsoll-certifier"]
    assert [(obj["kind"], obj["metadata"]["namespace"], obj["subjects"][0]["name"]) for obj in bound] == [
        ("RoleBinding", "shop", "plimsoll-operator")
    ]
    named = {name for rule in OPERATOR_SYSTEM if "secrets" in rule.resources for name in rule.names}
    assert named == {"plimsoll-certificates", "plimsoll-gateway-certificate"}
    (free,) = [rule for rule in OPERATOR_SYSTEM if "secrets" in rule.resources and not rule.names]
    assert free.verbs == ("create",)


def test_whoever_edits_a_namespace_may_serve_in_it():
    roles = cluster_roles()
    joined = {
        name: sorted(
            label.rpartition("-")[2] for label in role["metadata"]["labels"] if "aggregate-to" in label
        )
        for name, role in roles.items()
        if "plimsoll-view plimsoll-scale plimsoll-edit plimsoll-admin plimsoll-platform".find(name) >= 0
    }  # fmt: skip
    assert joined["plimsoll-view"] == ["admin", "edit", "view"]
    assert joined["plimsoll-edit"] == ["admin", "edit"]
    assert joined["plimsoll-scale"] == joined["plimsoll-platform"] == []


def test_to_scale_and_to_deploy_are_two_rights():
    roles = cluster_roles()
    scale, view, edit = roles["plimsoll-scale"], roles["plimsoll-view"], roles["plimsoll-edit"]
    assert may(scale, "modelservices/scale", "update")
    assert not may(scale, "modelservices", "patch")
    assert not may(view, "modelservices/scale", "update")
    assert may(edit, "modelservices", "create")
    assert may(edit, "modelservices/scale", "patch")
    for name in ("plimsoll-scale", "plimsoll-view", "plimsoll-edit", "plimsoll-admin"):
        for kind in ("tenants", "platforms"):
            assert not may(roles[name], kind, "create"), name
        assert not may(roles[name], "modelservices/status", "patch"), name


def test_the_operator_may_do_what_it_does_to_each_kind():
    """Every kind that a service becomes, by the operator's own list of them."""
    pytest.importorskip("lightkube", reason="needs the extra k8s")
    from plimsoll.backends.kubernetes.operator import kinds

    def verbs(kind):
        group = kind.api_version.rpartition("/")[0]
        return {
            verb
            for rule in (*OPERATOR_RULES, *OPERATOR_SYSTEM)
            for verb in rule.verbs
            if rule.group == group and kind.plural in rule.resources and not rule.names
        }

    for kind in (*kinds.WORKLOADS, *kinds.OWNED, kinds.REVISIONS):
        assert verbs(kind) >= {"create", "delete", "get", "list", "patch", "watch"}, kind
    for kind in kinds.SHARED:
        assert verbs(kind) >= {"create", "get", "patch"}, kind
