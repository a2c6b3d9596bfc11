"""Server-side apply and its memory, over the server in memory."""

import asyncio

import pytest
from lightkube.config.kubeconfig import KubeConfig
from tests.kube import FakeCluster
from tests.unit.backends.kubernetes.operator.running import SHOP, prepared

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.objects import key_of
from plimsoll.backends.kubernetes.operator import kinds
from plimsoll.backends.kubernetes.operator.apply import Applier, Memory, Refused
from plimsoll.backends.kubernetes.operator.cache import keep_owned
from plimsoll.backends.kubernetes.operator.fields import owns_count

LABELS = {"plimsoll.dev/service": "mood", "app.kubernetes.io/managed-by": "plimsoll"}


def deployment(replicas=None):
    spec = {
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "model", "image": "x"}]}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mood-a", "namespace": SHOP, "labels": LABELS},
        "spec": ({} if replicas is None else {"replicas": replicas}) | spec,
    }


@pytest.fixture
def cluster():
    with FakeCluster(controllers=False) as cluster:
        yield prepared(cluster)


def ran(cluster, body):
    """`body(applier)` with a client of admin's."""

    async def whole():
        api = Api.connect(KubeConfig.from_file(cluster.kubeconfig).get())
        try:
            return await body(Applier(api))
        finally:
            await api.close()

    return asyncio.run(whole())


def seen(cluster):
    obj = cluster.get("Deployment", "mood-a", SHOP)
    return {key_of(obj): keep_owned(obj, kind=kinds.DEPLOYMENTS)}


def replicas(cluster):
    return cluster.get("Deployment", "mood-a", SHOP)["spec"]["replicas"]


def test_a_count_is_sent_once_and_stands_when_the_object_is_applied_again(cluster):
    async def body(applier):
        memory = Memory()
        assert await applier.apply_all([deployment(7)], memory, {}) == []
        calls = applier.calls
        assert await applier.apply_all([deployment()], memory, seen(cluster)) == []
        assert applier.calls == calls, "whether the count is there makes no other object"
        changed = deployment()
        changed["metadata"]["labels"] = LABELS | {"more": "x"}
        assert await applier.apply_all([changed], memory, seen(cluster)) == []

    ran(cluster, body)
    assert replicas(cluster) == 7
    live = cluster.get("Deployment", "mood-a", SHOP)
    assert not owns_count(live)
    assert live["metadata"]["labels"]["more"] == "x"


def managers_of_the_count(cluster):
    entries = cluster.get("Deployment", "mood-a", SHOP)["metadata"]["managedFields"]
    return {one["manager"] for one in entries if "f:replicas" in one["fieldsV1"].get("f:spec", {})}


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_count_is_nobodys_of_ours_from_the_moment_the_object_is_there(cluster, count):
    """A second apply right away, before any watch has shown the object."""

    async def body(applier):
        memory, changed = Memory(), deployment()
        assert await applier.apply_all([deployment(count)], memory, {}) == []
        assert managers_of_the_count(cluster) == {"plimsoll-count"}
        assert replicas(cluster) == count
        changed["metadata"]["labels"] = LABELS | {"more": "x"}
        assert await applier.apply_all([changed], memory, {}) == []
        assert replicas(cluster) == count
        await applier.scale(kinds.DEPLOYMENTS, SHOP, "mood-a", 9)
        assert await applier.apply_all([deployment()], memory, {}) == []

    ran(cluster, body)
    assert replicas(cluster) == 9
    assert managers_of_the_count(cluster) == {"plimsoll-operator"}, "by its write of /scale, which is no apply"
    assert not owns_count(cluster.get("Deployment", "mood-a", SHOP))


def test_what_an_operator_left_half_done_is_made_up_for_by_the_next(cluster):
    cluster.apply(deployment(7), manager="plimsoll-operator")  # and it died
    assert owns_count(cluster.get("Deployment", "mood-a", SHOP))

    async def body(applier):
        assert await applier.apply_all([deployment()], Memory(), seen(cluster)) == []

    ran(cluster, body)
    assert replicas(cluster) == 7
    assert managers_of_the_count(cluster) == {"plimsoll-count"}


def test_a_count_that_a_scaler_took_meanwhile_is_the_scalers(cluster):
    async def body(applier):
        memory = Memory()
        await applier.apply_all([deployment(7)], memory, {})
        stale = seen(cluster)  # from before the scaler wrote
        await applier.scale(kinds.DEPLOYMENTS, SHOP, "mood-a", 9)
        changed = deployment()
        changed["metadata"]["labels"] = LABELS | {"more": "x"}
        assert await applier.apply_all([changed], memory, stale) == []

    ran(cluster, body)
    assert replicas(cluster) == 9


def test_who_is_new_applies_only_what_stands_otherwise(cluster):
    async def body(applier):
        await applier.apply_all([deployment(2)], Memory(), {})
        calls = applier.calls
        memory = Memory()
        assert await applier.apply_all([deployment()], memory, seen(cluster)) == []
        assert applier.calls == calls
        drifted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "mood-a", "namespace": SHOP}}
        cluster.apply(drifted | {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": "evil"}]}}}})
        assert memory.drifted(key_of(deployment()), seen(cluster)[key_of(deployment())])
        assert await applier.apply_all([deployment()], memory, seen(cluster)) == []

    ran(cluster, body)
    live = cluster.get("Deployment", "mood-a", SHOP)
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "x"
    assert replicas(cluster) == 2


def test_one_that_is_refused_keeps_no_other_from_being_applied(cluster):
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": SHOP}, "data": {}}

    async def body(applier):
        nowhere = config | {"metadata": {"name": "a", "namespace": "nowhere"}}
        return await applier.apply_all([nowhere, config], Memory(), {})

    (refused,) = ran(cluster, body)
    assert refused.doing == "apply ConfigMap a"
    assert refused.error.code == 404
    assert cluster.get("ConfigMap", "a", SHOP) is not None


def test_what_nobody_serves_is_noted_and_left_out(cluster):
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
             "metadata": {"name": "mood", "namespace": SHOP}, "spec": {}}  # fmt: skip

    async def body(applier):
        memory = Memory()
        assert await applier.apply_all([route], memory, {}) == []
        calls = applier.calls
        assert await applier.apply_all([route], memory, {}) == []
        assert applier.calls == calls, "it isn't asked for again and again"

    ran(cluster, body)


def test_a_service_that_went_is_not_made_anew_by_its_finalizer(cluster):
    meta = {"name": "mood", "namespace": SHOP, "uid": "of-one-that-went", "finalizers": ["plimsoll.dev/operator"]}

    async def body(applier):
        with pytest.raises(Refused) as refused:
            await applier.applied({"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService", "metadata": meta})
        return refused.value.error.code

    assert ran(cluster, body) in (404, 409)
    assert cluster.get("ModelService", "mood", SHOP) is None


@pytest.mark.parametrize(("code", "tries"), [(429, 3), (500, 3), (503, 3), (409, 1), (422, 1)])
def test_what_passes_by_itself_is_tried_again_and_an_answer_is_not(cluster, code, tries):
    """A 409 that isn't about versions says that a field is another's."""
    cluster.answer(code, times=2, verb="patch")

    async def body(applier):
        refused = await applier.apply_all([deployment(1)], Memory(), {})
        return bool(refused), applier.calls

    handed_over = 2 * (tries > 1)
    assert ran(cluster, body) == (tries == 1, tries + handed_over)
