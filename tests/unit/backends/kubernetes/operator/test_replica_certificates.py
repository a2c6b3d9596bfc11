"""`replicaTls: Required` turned on and off: which Secrets stand when, whose they are, and without the right."""

import base64
import json

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install 'plimsoll-serve[k8s]'")

from cryptography import x509
from tests.kube import FakeCluster
from tests.unit.backends.kubernetes.operator.running import (
    ACCOUNT,
    SHOP,
    OperatorProcess,
    Shop,
    condition,
    prepared,
    service,
    until,
)

from plimsoll.backends.kubernetes.install.roles import certificate_namespace
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.names import (
    CONTROLLER,
    GATEWAY,
    REPLICA_AUTHORITY,
    SYSTEM_NAMESPACE,
    authority_namespace,
)

HOME = authority_namespace(SYSTEM_NAMESPACE)
GATEWAYS = "plimsoll-gateway-certificate"


def platform(replica_tls):
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": "default"},
        "spec": {"gateway": {"replicaTls": replica_tls}},
    }


@pytest.fixture
def cluster():
    with FakeCluster(hollow=True) as cluster:
        yield prepared(cluster)


def secret(cluster, name, namespace=SHOP):
    """Its data; None where there is none."""
    found = cluster.get("Secret", name, namespace)
    return found and {key: base64.b64decode(value) for key, value in found["data"].items()}


def secure(shop):
    """Of workloads with pods: whether each speaks TLS."""
    return {
        "replica-tls" in json.dumps(one["spec"]["template"]["spec"])
        for one in shop.deployments().values()
        if one["spec"]["replicas"]
    }


def names_of(pem):
    found = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


def test_turned_on_it_waits_for_the_gateways_and_turned_off_nothing_is_left(cluster):
    cluster.apply(*certificate_namespace(Values(), SHOP), service())
    shop = Shop(cluster)
    with OperatorProcess(cluster, PLIMSOLL_SETTLE_SECONDS=3) as operator:
        shop.ready(count=2)
        assert cluster.get("Secret", REPLICA_AUTHORITY, HOME) is None
        cluster.apply(platform("Required"))
        until(lambda: secret(cluster, "mood-certificate"), lambda: operator.log)
        assert secure(shop) == {False}, "gateways have no certificate to show yet"
        gateways, mine = secret(cluster, GATEWAYS, SYSTEM_NAMESPACE), secret(cluster, "mood-certificate")
        assert names_of(gateways["tls.crt"]) == ["plimsoll-gateway.plimsoll-system.svc"]
        assert names_of(mine["tls.crt"])[0] == "mood.shop.svc"
        authority = secret(cluster, REPLICA_AUTHORITY, HOME)
        assert gateways["ca.crt"] == mine["ca.crt"] == authority["ca.crt"]
        assert authority["tls.key"] not in (gateways["tls.key"], mine["tls.key"])
        meta = cluster.get("Secret", "mood-certificate", SHOP)["metadata"]
        assert meta["ownerReferences"][0]["uid"] == shop.service["metadata"]["uid"]
        assert meta["labels"]["plimsoll.dev/service"] == "mood"
        until(lambda: secure(shop) == {True}, lambda: operator.log)
        shop.ready(count=2)

    with OperatorProcess(cluster, name="operator-1", PLIMSOLL_SETTLE_SECONDS=3) as operator:
        # Another one finds what stands, and makes nothing anew; deployments stay what they are.
        until(lambda: operator.leading)
        deployments = set(shop.deployments())
        until(lambda: operator.metric("plimsoll_operator_looks_total"), lambda: operator.log)
        assert secret(cluster, "mood-certificate") == mine
        assert set(shop.deployments()) == deployments
        cluster.apply(service("fraud"))
        until(lambda: secret(cluster, "fraud-certificate"), lambda: operator.log)
        Shop(cluster, "fraud").ready(count=2)
        assert secure(Shop(cluster, "fraud")) == {True}
        cluster.apply(platform("Disabled"))
        until(lambda: cluster.get("Secret", REPLICA_AUTHORITY, HOME) is None, lambda: operator.log, 60)
        assert secure(shop) == {False}
        assert not [one for one in cluster.objects("Secret", SHOP) if one["metadata"]["name"].endswith("-certificate")]
        assert cluster.get("Secret", GATEWAYS, SYSTEM_NAMESPACE) is None
        shop.ready(count=2)


def test_without_the_right_a_service_says_how_to_give_it_and_serves_on(cluster):
    cluster.apply(service())
    shop = Shop(cluster)
    with OperatorProcess(cluster, PLIMSOLL_SETTLE_SECONDS=0) as operator:
        shop.ready(count=2)
        before = shop.counts()
        cluster.apply(platform("Required"))

        def told():
            return [one for one in (shop.status.get("conditions") or ()) if "plimsoll-certifier" in one["message"]]

        until(told, lambda: f"{shop.status}\n{operator.log}")
        assert "kubectl create rolebinding plimsoll-certificates -n shop" in told()[0]["message"]
        assert shop.counts() == before
        cluster.apply(*certificate_namespace(Values(), SHOP))
        until(lambda: secure(shop) == {True}, lambda: operator.log)
        shop.ready(count=2)
        assert not told()


def test_a_secret_of_somebody_else_is_left_alone(cluster):
    mine = {"ca.crt": "bWluZQ=="}
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mood-certificate", "namespace": SHOP}}
    cluster.apply(*certificate_namespace(Values(), SHOP), platform("Required"), theirs | {"data": mine}, service())
    shop = Shop(cluster)
    with OperatorProcess(cluster, PLIMSOLL_SETTLE_SECONDS=0) as operator:
        until(lambda: "not Plimsoll's" in json.dumps(shop.status), lambda: f"{shop.status}\n{operator.log}")
        assert cluster.get("Secret", "mood-certificate", SHOP)["data"] == mine
        assert condition(shop.service)["status"] == "False"


def may_read(shop, user, namespace, name):
    asked = {"namespace": namespace, "resource": "secrets", "name": name, "verb": "get"}
    spec = {"user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": asked}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = shop.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review).json()
    return answer["status"]["allowed"]


def test_its_rights_reach_no_secret_elsewhere(cluster):
    cluster.apply(*certificate_namespace(Values(), SHOP))
    shop = Shop(cluster)
    for namespace, name, allowed in (
        (SHOP, "mood-certificate", True),
        ("kube-system", "mood-certificate", False),
        (HOME, REPLICA_AUTHORITY, True),
        (HOME, "another", False),
        (SYSTEM_NAMESPACE, "tenants", False),
    ):
        assert may_read(shop, ACCOUNT, namespace, name) is allowed, (namespace, name)


def test_nobody_else_of_ours_reads_the_key_that_signs(cluster):
    shop, accounts = Shop(cluster), f"system:serviceaccount:{SYSTEM_NAMESPACE}:"
    assert may_read(shop, accounts + CONTROLLER, SYSTEM_NAMESPACE, "tenants"), "which is why it is not there"
    for name in (CONTROLLER, GATEWAY):
        assert not may_read(shop, accounts + name, HOME, REPLICA_AUTHORITY), name
