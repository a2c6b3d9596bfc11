"""The commands about a cluster as somebody types them, against the API server in memory."""

import json
import subprocess

import pytest
import yaml
from tests.e2e.conftest import PLIMSOLL
from tests.kube import FakeCluster


@pytest.fixture(scope="module")
def cluster():
    with FakeCluster() as running:
        yield running


@pytest.fixture
def there(plimsoll, cluster):
    """A command that finds that cluster."""
    return lambda *args, **extra: plimsoll(*args, KUBECONFIG=str(cluster.kubeconfig), **extra)


def test_install_prints_what_it_would_apply_the_same_each_time(plimsoll, tmp_path):
    first, second = plimsoll("install"), plimsoll("install", PYTHONHASHSEED="3")
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    objects = list(yaml.safe_load_all(first.stdout))
    kinds = [one["kind"] for one in objects]
    assert kinds[:2] == ["CustomResourceDefinition"] * 2
    assert kinds.index("Namespace") < kinds.index("Deployment")
    listed = json.loads(plimsoll("install", "--only", "system", "-o", "json").stdout)
    assert listed["items"] == [one for one in objects if one["kind"] != "CustomResourceDefinition"]


def test_a_typing_mistake_in_the_values_is_told_with_its_place(plimsoll, tmp_path):
    (tmp_path / "values.yaml").write_text("gateway:\n  replica: 3\n")
    done = plimsoll("install", "--values", "values.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: values.yaml:2  gateway.replica: unknown key; did you mean replicas?\n"
    assert "expected crds or system" in plimsoll("install", "--only", "crd").stderr


def test_from_an_empty_cluster_to_an_empty_cluster(there, service):
    checked = there("preflight", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["ok"]
    assert there("install", "--context", "memory", "--dry-run").stdout.startswith("apiVersion: apiextensions.k8s.io/v1")
    done = there("install", "--context", "memory")
    assert done.returncode == 0, done.stderr
    assert "  deployment/plimsoll-system/plimsoll-operator   created\n" in done.stdout
    assert there("upgrade", "--dry-run").stdout == "nothing differs\n"

    done = there("apply", service("mood"), "--context", "memory", "--no-wait")
    assert done.returncode == 0, done.stderr
    assert "  default/mood   created\n" in done.stdout
    shown = there("status", "--context", "memory")
    assert "mood" in shown.stdout
    assert "the operator hasn't seen it yet" in shown.stdout
    told = json.loads(there("status", "mood", "--namespace", "default", "--json").stdout)
    assert told["services"][0]["phase"] == "Progressing"
    late = there("apply", service("mood"), "--context", "memory", "--timeout", "1s")
    assert late.returncode == 1
    assert "not ready after 1 s; it goes on" in late.stdout
    assert "held at 3" in there("scale", "mood", "3", "--context", "memory").stdout
    assert there("delete", "mood", "--context", "memory").stdout == "  mood   deleted\n"

    asked = there("uninstall", "--dry-run")
    assert "0 services end: none" in asked.stdout
    done = there("uninstall", "--yes")
    assert done.returncode == 0, done.stderr
    assert "namespace plimsoll-system, plimsoll-system-authority stays" in done.stdout
    assert there("uninstall", "--yes").stdout == "Plimsoll isn't installed there\n"
    missing = there("status", "--context", "memory")
    assert "install Plimsoll there first" in missing.stderr


def test_a_failed_preflight_ends_with_1_until_it_is_allowed(there, cluster):
    cluster.apply({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "kube-flannel-ds", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}},
    })  # fmt: skip
    done = there("preflight")
    assert done.returncode == 1
    assert "fail  NetworkPolicy is not enforced by this CNI (flannel)" in done.stdout
    assert there("preflight", "--allow", "network-policy").returncode == 0
    assert "expected one of" in there("preflight", "--allow", "all").stderr


def test_names_are_completed_from_the_cluster(there, cluster, service, env):
    there("install", "--context", "memory")
    there("apply", service("mood"), "--context", "memory", "--no-wait")
    words = "plimsoll scale --context memory mo"
    asked = subprocess.run(
        PLIMSOLL, check=False, capture_output=True, text=True,
        env=env | {"KUBECONFIG": str(cluster.kubeconfig), "_PLIMSOLL_COMPLETE": "complete_bash",
                   "COMP_WORDS": words, "COMP_CWORD": "4"},
    )  # fmt: skip
    assert asked.stdout.split() == ["mood"], asked.stderr
