"""`plimsoll install` on an API server: every object is taken, a second time changes nothing, pods pass `restricted`."""

import time

import pytest

from plimsoll.app import install
from plimsoll.app.cluster import on_cluster
from plimsoll.backends.kubernetes.install import values_of

EVERYTHING = """
metricsApis: {external: true, custom: true}
modelCache: {enabled: true}
secrets: {namespaces: [default]}
prePull: [{name: mood, image: "registry.example.com/mood:3"}]
balloons: [{name: gpu, resources: {limits: {nvidia.com/gpu: 1}}}]
"""


@pytest.fixture
def ask(cluster, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    return lambda work: on_cluster(None, None, work)


def applied(ask, objects):
    """What became of the objects; definitions and namespaces may be there from a test before."""
    said = []
    ask(lambda reach: install.apply_all(reach, objects, lambda name, what: said.append((name, what))))
    return {what for name, what in said if not name.startswith(("customresourcedefinition", "namespace"))}


def test_everything_is_taken_once_and_then_unchanged(cluster, ask):
    objects = install.install_objects(values_of(EVERYTHING))
    for word in ("created", "unchanged"):
        assert applied(ask, objects) == {word}
    assert ask(lambda reach: install.plan_upgrade(reach, objects)).nothing

    async def pods(reach):
        return await reach.list("v1", "Pod", "plimsoll-system")

    until = time.monotonic() + 30
    wanted = {"operator", "controller", "gateway"}
    while not wanted <= {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in ask(pods)}:
        assert time.monotonic() < until, "the namespace's Pod Security level keeps pods of ours out"
        time.sleep(0.2)
    fewer = install.install_objects(values_of())
    plan = ask(lambda reach: install.plan_upgrade(reach, fewer))
    ask(lambda reach: install.remove(reach, plan.removed, lambda name, what: None))
    assert {key.kind for key in plan.removed} >= {"APIService", "DaemonSet", "RoleBinding"}
    assert ask(lambda reach: install.plan_upgrade(reach, fewer)).nothing
