"""A packed model goes with the last service that was made of it, whoever applied it."""

import shutil
import subprocess

import pytest
import yaml
from tests.kube import FakeCluster
from tests.unit.backends.kubernetes.operator.running import SHOP, OperatorProcess, Shop, prepared, service, until

MODEL = "mood-model-1234567890"


@pytest.fixture(scope="module")
def cluster():
    with FakeCluster(hollow=True) as cluster, OperatorProcess(prepared(cluster)) as operator:
        until(lambda: operator.leading, lambda: operator.log)
        yield cluster


def packed(name=MODEL, labels=None):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": SHOP, "labels": labels or {"plimsoll.dev/model-of": "mood"}},
        "immutable": True,
        "data": {"model.py": "class Mood: ..."},
    }


def made_of(service_name, configmap=MODEL):
    model = {"uri": f"configmap://{configmap}", "digest": f"sha256:{'a' * 64}", "format": "Python", "className": "Mood"}
    return service(service_name, model=model)


def owners(cluster, name=MODEL):
    return {one["name"]: one for one in cluster.get("ConfigMap", name, SHOP)["metadata"].get("ownerReferences") or ()}


def gone(cluster, name=MODEL):
    return lambda: cluster.get("ConfigMap", name, SHOP) is None


def test_several_services_own_one_and_the_last_takes_it_along(cluster):
    cluster.apply(packed(), made_of("mood"), made_of("mood-b"))
    until(lambda: len(owners(cluster)) == 2)
    uid = cluster.get("ModelService", "mood", SHOP)["metadata"]["uid"]
    assert owners(cluster)["mood"] == {
        "apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService", "name": "mood", "uid": uid,
    }, "none of them is its controller, and none waits for it"  # fmt: skip
    cluster.apply(packed())  # whoever brought it brings it again
    assert set(owners(cluster)) == {"mood", "mood-b"}
    Shop(cluster, "mood").delete()
    until(lambda: Shop(cluster, "mood").service is None)
    assert "mood-b" in owners(cluster)
    assert cluster.get("ConfigMap", MODEL, SHOP) is not None
    Shop(cluster, "mood-b").delete()
    until(gone(cluster))


@pytest.fixture
def held(cluster):
    """Pods of `late` are not ready by themselves."""
    cluster.hollow.hold = lambda pod: pod["metadata"]["labels"]["plimsoll.dev/service"] == "late"
    yield
    cluster.hollow.hold = lambda pod: False


def test_one_that_comes_later_is_adopted_when_it_comes(cluster, held):
    name = "late-model-1234567890"
    cluster.apply(made_of("late", name))
    shop = Shop(cluster, "late")

    def pods():
        mine = [one["metadata"]["name"] for one in cluster.objects("Pod", SHOP)]
        return [one for one in mine if one.startswith("late-")]

    until(lambda: len(pods()) == 2)
    shop.ready("Starting")
    cluster.apply(packed(name))
    for pod in pods():  # the kubelet finds it, too
        cluster.hollow.set(pod, SHOP, ready=True)
    until(lambda: "late" in owners(cluster, name))
    shop.delete()
    until(gone(cluster, name))


def test_what_somebody_else_made_stays_his(cluster):
    cluster.apply(packed("his-own", {"team": "a"}), made_of("borrower", "his-own"))
    shop = Shop(cluster, "borrower")
    shop.ready(count=2)
    assert owners(cluster, "his-own") == {}
    shop.delete()
    assert not gone(cluster, "his-own")()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_plain_kubectl_apply_of_what_pack_printed_leaves_the_owners(cluster, tmp_path):
    name = "plain-model-1234567890"
    file = tmp_path / "packed.yaml"
    file.write_text(yaml.safe_dump_all([packed(name), made_of("plain", name)]))

    def kubectl(*args):
        command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    kubectl("apply", "-f", str(file))
    until(lambda: "plain" in owners(cluster, name))
    assert f"configmap/{name} unchanged" in kubectl("apply", "-f", str(file))
    assert set(owners(cluster, name)) == {"plain"}
    kubectl("delete", "msvc", "plain", "-n", SHOP)
    until(gone(cluster, name))
