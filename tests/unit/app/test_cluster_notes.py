"""What `status` says of Plimsoll's own processes: nothing while they work, and a line for each that doesn't."""

import pytest
from tests.kube import FakeCluster

from plimsoll.app.cluster import on_cluster
from plimsoll.app.cluster_notes import SILENT_S, notes

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def lease(name, holder, renewed):
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "plimsoll-system"},
        "spec": {"holderIdentity": holder, "renewTime": renewed},
    }


@pytest.fixture(scope="module")
def running():
    with FakeCluster() as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "plimsoll-system"}})
        yield cluster


def told(after_s=0.0):
    return on_cluster(None, None, lambda reach: notes(reach, NOW + after_s))


def test_who_is_silent_is_told_with_what_goes_on(running, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig))
    assert told() == [], "another namespace, or not installed"
    running.apply(lease("plimsoll-operator", "a", "2027-01-15T08:00:00.000000Z"),
                  lease("plimsoll-controller", "b", "2027-01-15T08:00:00.000000Z"))  # fmt: skip
    assert told(SILENT_S) == []
    operator, controller = told(SILENT_S + 1)
    assert operator.startswith("no operator is at work: serving, budgets and scaling go on")
    assert controller.startswith("no controller is at work: serving goes on; counts stay")
    # scaled to none, it gave its Lease back: that is known at once
    running.apply(lease("plimsoll-operator", "", "2027-01-15T08:00:00.000000Z"))
    assert [line.split()[1] for line in told()] == ["operator"]
    monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig_of("bob:devs")))
    assert told() == [], "who may not see Leases is told nothing"
