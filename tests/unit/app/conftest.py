"""The API server in memory with Plimsoll's definitions, and a service's folder."""

import pytest
from tests.kube import FakeCluster
from tests.unit.app.on_cluster import MODEL, SERVICE

from plimsoll.app import install
from plimsoll.backends.kubernetes.names import API_VERSION


@pytest.fixture(scope="module")
def running():
    with FakeCluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running, monkeypatch):
    """With Plimsoll's definitions, and no services."""
    monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig))
    running.apply(*install.crd_objects())
    yield running
    _remove_services(running)


def _remove_services(running):
    for obj in running.objects("ModelService"):
        kind = running.api.kind(API_VERSION, "ModelService")
        space, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        running.api.change_now(kind, space, name, lambda one: one["metadata"].pop("finalizers", None))
        running.api.delete_now(kind, space, name)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "service.yaml").write_text(SERVICE)
    (tmp_path / "model.py").write_text(MODEL)
    return str(tmp_path / "service.yaml")
