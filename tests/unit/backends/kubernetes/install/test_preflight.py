"""What a cluster has, said in a clause each; what it lacks, with the remedy."""

import pytest

from plimsoll.backends.kubernetes.install.preflight import ApiOwner, Facts, Level, accelerators_of, judge, names
from plimsoll.backends.kubernetes.install.values import values_of

GOOD = Facts(
    version="v1.36.2",
    minor=36,
    apis=frozenset({"gateway.networking.k8s.io/v1"}),
    owners={"v1beta1.metrics.k8s.io": ApiOwner("kube-system/metrics-server")},
    daemon_sets=("kube-system/cilium",),
    accelerators={"nvidia.com/gpu": (8, 1)},
)
KEDA = ApiOwner("keda/keda-operator-metrics-apiserver")


def facts(**other):
    return Facts(**({name: getattr(GOOD, name) for name in GOOD.__slots__} | other))


def found(name, values="", allow=(), **other):
    return [(one.level, one.text) for one in judge(facts(**other), values_of(values), allow) if one.name == name]


def test_a_good_cluster_has_nothing_to_complain_about():
    told = judge(GOOD, values_of())
    assert {one.level for one in told} == {Level.OK}
    assert [one.text for one in told][:3] == ["Kubernetes 1.36.2", "Gateway API", "metrics-server"]
    assert "nvidia.com/gpu 8 on 1 node" in [one.text for one in told]


@pytest.mark.parametrize(
    ("version", "minor", "level"), [("v1.32.1", 32, Level.FAIL), ("v1.33.0", 33, Level.OK), ("v1.40.0", 40, Level.WARN)]
)
def test_versions(version, minor, level):
    assert found("version", version=version, minor=minor)[0][0] is level


def test_an_api_that_another_serves_is_named_and_left_alone():
    owners = {**GOOD.owners, "v1beta1.external.metrics.k8s.io": KEDA}
    assert found("metrics-apis", owners=owners) == [
        (
            Level.WARN,
            "external.metrics.k8s.io is served by keda-operator-metrics-apiserver: ours stays off "
            "(writer: Controller needs none)",
        ),
        (Level.OK, "custom.metrics.k8s.io is free"),
    ]
    asked = found("metrics-apis", "metricsApis: {external: true}", owners=owners)
    assert asked[0][0] is Level.FAIL
    assert "leave metricsApis.external off" in asked[0][1]


def test_an_older_version_of_an_api_is_taken_too():
    owners = {"v1beta1.custom.metrics.k8s.io": ApiOwner("monitoring/prometheus-adapter")}
    assert found("metrics-apis", "metricsApis: {custom: true}", owners=owners)[1][0] is Level.FAIL


def test_what_is_ours_is_ours():
    owners = {"v1beta1.external.metrics.k8s.io": ApiOwner("plimsoll-system/plimsoll-controller-api")}
    assert found("metrics-apis", owners=owners)[0] == (Level.OK, "external.metrics.k8s.io is ours")
    down = {
        "v1beta1.external.metrics.k8s.io": ApiOwner("plimsoll-system/plimsoll-controller-api", False, "no endpoints")
    }
    assert found("metrics-apis", owners=down)[0] == (
        Level.WARN,
        "external.metrics.k8s.io is ours, and down: no endpoints",
    )


def test_a_network_plugin_that_enforces_nothing_fails_until_it_is_allowed():
    flannel = {"daemon_sets": ("kube-flannel/kube-flannel-ds",)}
    assert found("network-policy", **flannel) == [
        (
            Level.FAIL,
            "NetworkPolicy is not enforced by this CNI (flannel): replicas would be reachable past the gateway "
            "(--allow network-policy to go on)",
        )
    ]
    assert found("network-policy", allow=["network-policy"], **flannel)[0][0] is Level.WARN
    canal = ("kube-flannel/kube-flannel-ds", "kube-system/canal")
    assert found("network-policy", daemon_sets=canal) == [(Level.OK, "NetworkPolicy (Canal)")]


@pytest.mark.parametrize(
    ("other", "level", "told"),
    [
        ({"daemon_sets": (), "version": "v1.34.1+k3s1"}, Level.OK, "k3s"),
        ({"daemon_sets": (), "policy_kinds": ("cilium.io",)}, Level.OK, "Cilium"),
        ({"daemon_sets": ("kube-system/aws-node",)}, Level.WARN, "enableNetworkPolicy"),
        ({"daemon_sets": ()}, Level.WARN, "no CNI that is known here"),
        ({"daemon_sets": None}, Level.WARN, "may not be listed"),
    ],
)
def test_network_plugins(other, level, told):
    (one,) = found("network-policy", **other)
    assert one[0] is level
    assert told in one[1]


def test_permissions_fail_with_what_is_missing():
    missing = tuple(f"create {letter}" for letter in "abcdefg")
    ((level, text),) = found("permissions", forbidden=missing)
    assert level is Level.FAIL
    assert "create a, create b, create c, create d, create e and 2 more" in text


def test_accelerators_by_what_nodes_offer_and_promise():
    def node(labels=None, **allocatable):
        return {"metadata": {"labels": labels}, "status": {"allocatable": allocatable}}

    nodes = [
        node({"nvidia.com/gpu.present": "true"}, **{"nvidia.com/gpu": "4"}),
        node(**{"nvidia.com/mig-1g.10gb": "7", "cpu": "8", "example.com/dongle": "1"}),
        node({"cloud.google.com/gke-tpu-accelerator": "tpu-v5"}),
        node(**{"nvidia.com/gpu": "0"}),
    ]
    offered, promised = accelerators_of(nodes)
    assert offered == {"nvidia.com/gpu": (4, 1), "nvidia.com/mig-1g.10gb": (7, 1)}
    assert promised == ("google.com/tpu",)
    assert "is its device plugin running?" in found("accelerators", expected=promised)[1][1]
    assert found("accelerators", accelerators=None)[0][0] is Level.WARN
    assert found("accelerators", accelerators={}) == [(Level.OK, "no GPUs")]


def test_without_a_way_in_the_remedy_is_named():
    assert "gateway.service.type=LoadBalancer" in found("routes", apis=frozenset())[0][1]
    assert found("routes", apis=frozenset(), ingress_classes=("nginx",)) == [(Level.OK, "Ingress (nginx)")]


def test_every_failure_can_be_allowed_by_its_name():
    bad = facts(
        minor=1, daemon_sets=("a/kube-flannel-ds",), forbidden=("x",),
        owners={"v1beta1.external.metrics.k8s.io": KEDA},
    )  # fmt: skip
    values = values_of("metricsApis: {external: true}")
    assert {one.name for one in judge(bad, values) if one.level is Level.FAIL} == set(names())
    assert not [one for one in judge(bad, values, names()) if one.level is Level.FAIL]
