"""`plimsoll install` on an API server: every object is taken, a second time changes nothing, pods pass `restricted`."""

import time

import pytest

from plimsoll.app import install
from plimsoll.app.cluster import on_cluster
from plimsoll.backends.kubernetes.install import values_of
from plimsoll.backends.kubernetes.objects import key_of

EVERYTHING = """
metricsApis: {external: true, custom: true}
modelCache: {enabled: true}
secrets: {namespaces: [default]}
prePull: [{name: mood, image: "registry.example.com/mood:3"}]
balloons: [{name: gpu, resources: {limits: {nvidia.com/gpu: 1}}}]
"""


NAMESPACES = {"plimsoll-system", "plimsoll-node"}


@pytest.fixture
def ask(cluster, monkeypatch):
    """A given cluster has nodes: what is installed there runs, and would act on what other tests make."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))

    def ask(work):
        return on_cluster(None, None, work)

    if not getattr(cluster, "given", False):
        yield ask
        return
    if NAMESPACES & {one["metadata"]["name"] for one in ask(lambda reach: reach.list("v1", "Namespace", ""))}:
        pytest.skip("Plimsoll is installed on the given cluster: this test would take it away")
    try:
        yield ask
    finally:
        keys = [key_of(one) for one in install.install_objects(values_of(EVERYTHING))]
        left = [key for key in reversed(keys) if key.kind != "CustomResourceDefinition"]
        ask(lambda reach: install.remove(reach, left, lambda name, what: None))
        until = time.monotonic() + 120  # a gateway ends when its last request has, 75 s at the most
        while NAMESPACES & {one["metadata"]["name"] for one in ask(lambda reach: reach.list("v1", "Namespace", ""))}:
            assert time.monotonic() < until, "the namespaces of the test don't end"
            time.sleep(0.5)


def applied(ask, objects):
    """What became of the objects; definitions, namespaces and what an uninstall leaves may be there from before."""
    said = []
    ask(lambda reach: install.apply_all(reach, objects, lambda name, what: said.append((name, what))))
    return {
        what for name, what in said if not name.startswith(("customresourcedefinition", "namespace", "priorityclass"))
    }


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
