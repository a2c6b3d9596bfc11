"""The operator's life with one service: create, update, delete, drift, what it says, who owns what."""

import json

import pytest
from tests.kube import FakeCluster
from tests.unit.backends.kubernetes.operator.running import (
    SHOP,
    OperatorProcess,
    Shop,
    calm,
    condition,
    prepared,
    service,
    until,
    with_model,
)


@pytest.fixture(scope="module")
def cluster():
    with FakeCluster(hollow=True) as cluster:
        yield prepared(cluster)


@pytest.fixture(scope="module")
def operator(cluster):
    with OperatorProcess(cluster) as operator:
        until(lambda: operator.leading, lambda: operator.log)
        yield operator


@pytest.fixture
def shop(cluster, operator, request):
    """A service of the test's own."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:30].strip("-")
    shop = Shop(cluster, name)
    yield shop
    if shop.service is not None:
        shop.delete()
    cluster.hollow.hold = lambda pod: False


def test_a_service_becomes_objects_that_it_owns(cluster, operator, shop):
    cluster.apply(service(shop.name))
    found = shop.ready(count=2)
    assert found["metadata"]["finalizers"] == ["plimsoll.dev/operator"]
    status = found["status"]
    (revision,) = shop.deployments()
    assert status["scaleTarget"] == status["revision"] == revision
    assert (status["replicas"], status["ready"], status["budget"]) == (2, "2/2", "100ms")
    assert status["selector"].startswith(f"plimsoll.dev/service={shop.name}")
    assert status["resolved"]["timeout"] == "0.2s"
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Ready": "True",
        "ModelLoaded": "True",
        "RouteReady": "True",
        "CapacityAvailable": "True",
        "WithinBudget": "Unknown",
    }
    kinds = ("Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget", "ConfigMap", "Revision")
    for kind in kinds:
        (obj,) = [
            obj
            for obj in cluster.objects(kind, SHOP)
            if obj["metadata"].get("labels", {}).get("plimsoll.dev/service") == shop.name
        ]
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("ModelService", found["metadata"]["uid"]), kind
        managers = {(one["manager"], one["operation"]) for one in obj["metadata"]["managedFields"]}
        assert ("plimsoll-operator", "Apply") in managers

    def reasons():
        events = cluster.objects("Event", SHOP)
        return {event["reason"] for event in events if event["involvedObject"]["name"] == shop.name}

    until(lambda: reasons() == {"Created", "Starting", "Serving"}, reasons)


def test_what_is_untouched_costs_no_call(cluster, operator, shop):
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    calm(operator)
    cluster.log.clear()
    cluster.apply(service(shop.name) | {"metadata": {"name": shop.name, "namespace": SHOP, "labels": {"tier": "a"}}})
    calm(operator)
    verbs = {verb for verb, _ in cluster.log.counts(user="plimsoll-operator")}
    assert verbs <= {"get", "update"}, "the lease alone"


def test_a_new_model_rolls_and_an_edited_budget_does_not(cluster, operator, shop):
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    (first,) = shop.deployments()
    shop.scale(first, 7)
    shop.ready(count=7)
    least = [7]
    cluster.apply(with_model(service(shop.name), "b"))

    def rolled():
        least.append(shop.status["readyReplicas"])
        return shop.counts().get(first) == 0 and condition(shop.service)["reason"] == "Serving"

    until(rolled, lambda: shop.status)
    assert min(least) >= 7
    (second,) = shop.counts().keys() - {first}
    assert shop.counts() == {first: 0, second: 7}
    assert shop.status["scaleTarget"] == second
    assert "newRevision" not in shop.status or shop.status["newRevision"] == ""
    edited = with_model(service(shop.name), "b")
    edited["spec"]["budget"] = {"latency": {"p95": "50ms", "p99": "100ms"}}
    cluster.apply(edited)
    until(lambda: shop.status.get("observedGeneration") == shop.service["metadata"]["generation"])
    calm(operator)
    assert shop.counts() == {first: 0, second: 7}, "and the scaler's count stands"
    numbers = {
        obj["metadata"]["name"]: obj["spec"]["number"]
        for obj in cluster.objects("Revision", SHOP)
        if obj["spec"]["service"] == shop.name
    }
    assert numbers == {first: 1, second: 2}


def test_a_revision_that_never_gets_ready_leaves_the_old_one(cluster, operator, shop):
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    (first,) = shop.deployments()
    cluster.hollow.hold = lambda pod: pod["metadata"]["labels"].get("plimsoll.dev/revision") != first
    cluster.apply(with_model(service(shop.name), "b"))
    second = until(lambda: next(iter(shop.counts().keys() - {first}), None))
    (pod, *_) = until(
        lambda: [
            one
            for one in cluster.objects("Pod", SHOP)
            if one["metadata"]["name"].startswith(second) and one.get("status", {}).get("podIP")
        ]
    )
    crash(cluster, pod, "model.py:14 SyntaxError: expected ':'", code=3)
    found = shop.ready("RevisionFailed")
    ready, loaded = condition(found), condition(found, "ModelLoaded")
    assert ready["status"] == "True"
    assert "model.py:14 SyntaxError" in ready["message"]
    assert (loaded["status"], loaded["reason"]) == ("False", "ModelFailed")
    until(lambda: shop.counts() == {first: 2, second: 1}, shop.counts)
    assert shop.status["scaleTarget"] == first


def crash(cluster, pod, words, code):
    """As a kubelet tells of a container that ended three times."""
    meta = pod["metadata"]
    ended = {"exitCode": code, "reason": "Error", "message": words, "finishedAt": "2024-05-01T00:00:00Z"}
    state = {
        "name": "replica",
        "image": "x",
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {"terminated": ended},
    }
    kind = cluster.api.kind("v1", "Pod")
    cluster.api.change_now(
        kind, meta["namespace"], meta["name"], lambda obj: obj["status"].update(containerStatuses=[state]), "status"
    )


def test_drift_is_repaired_and_the_count_is_the_scalers(cluster, operator, shop):
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    (name,) = shop.deployments()
    shop.scale(name, 5)
    shop.ready(count=5)
    calm(operator)
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": shop.name, "namespace": SHOP}}
    cluster.apply(
        wrong | {"spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 9999}]}}, manager="me"
    )
    until(lambda: cluster.get("Service", shop.name, SHOP)["spec"]["ports"][0]["targetPort"] == "http")
    budget = f"/apis/policy/v1/namespaces/{SHOP}/poddisruptionbudgets/{shop.name}"
    uid = cluster.get("PodDisruptionBudget", shop.name, SHOP)["metadata"]["uid"]
    shop.request("DELETE", budget)
    until(
        lambda: (
            (cluster.get("PodDisruptionBudget", shop.name, SHOP) or {"metadata": {"uid": uid}})["metadata"]["uid"]
            != uid
        )
    )
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SHOP}}
    cluster.apply(deployment | {"spec": {"progressDeadlineSeconds": 1}}, manager="me")
    until(lambda: cluster.get("Deployment", name, SHOP)["spec"]["progressDeadlineSeconds"] > 1)
    calm(operator)
    assert shop.counts() == {name: 5}
    cluster.apply(deployment | {"metadata": {**deployment["metadata"], "annotations": {"mine": "x"}}}, manager="me")
    cluster.log.clear()
    calm(operator)
    assert ("patch", "deployments") not in cluster.log.counts(user="plimsoll-operator"), "others' fields are theirs"


def test_who_may_sleep_begins_with_one_replica_unless_somebody_says_none(cluster, operator, shop):
    scaling, none = {"minReplicas": 0, "maxReplicas": 8}, Shop(cluster, "none-at-all")
    cluster.apply(service(shop.name, scaling=scaling), service(none.name, scaling=scaling, replicas=0))
    shop.ready("Serving", count=1)
    none.ready("ScaledToZero", count=0)
    assert [*shop.counts().values(), *none.counts().values()] == [1, 0]
    none.delete()


def test_a_deployment_deleted_by_hand_comes_again_with_its_count(cluster, operator, shop):
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    (name,) = shop.deployments()
    shop.scale(name, 4)
    shop.ready(count=4)
    uid = shop.deployments()[name]["metadata"]["uid"]
    shop.request("DELETE", f"/apis/apps/v1/namespaces/{SHOP}/deployments/{name}")
    until(lambda: shop.deployments().get(name, {"metadata": {"uid": uid}})["metadata"]["uid"] != uid)
    assert shop.counts() == {name: 4}


def test_from_the_controller_to_an_hpa_at_seven(cluster, operator, shop):
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    (name,) = shop.deployments()
    shop.scale(name, 7)
    shop.ready(count=7)
    seen = []
    for writer in ("HPA", "Controller", "HPA"):
        cluster.apply(service(shop.name, scaling={"minReplicas": 2, "maxReplicas": 8, "writer": writer}))
        until(lambda wanted=writer == "HPA": bool(cluster.get("HorizontalPodAutoscaler", shop.name, SHOP)) == wanted)
        calm(operator)
        seen.append(shop.counts()[name])
        if writer == "HPA":
            hpa = cluster.get("HorizontalPodAutoscaler", shop.name, SHOP)
            assert hpa["spec"]["scaleTargetRef"]["name"] == name
    assert seen == [7, 7, 7]


def test_deleting_takes_everything_along(cluster, operator, shop):
    cluster.apply({"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "default"},
                   "spec": {"gateway": {"hostnameTemplate": "{name}.{namespace}.example.com"}}})  # fmt: skip
    cluster.apply(service(shop.name))
    found = shop.ready(count=2)
    until(lambda: shop.status.get("url") == f"http://{shop.name}.{SHOP}.example.com", lambda: shop.status)
    ingress = f"{SHOP}.{shop.name}"
    until(lambda: cluster.get("Ingress", ingress, "plimsoll-system"))
    until(lambda: condition(cluster.get("Platform", "default")).get("status") == "True")
    shop.delete()
    until(lambda: shop.service is None)
    assert cluster.get("Ingress", ingress, "plimsoll-system") is None, "what has no owner there goes before the service"
    until(lambda: not shop.deployments())
    shop.request("DELETE", "/apis/plimsoll.dev/v1alpha1/platforms/default")
    assert found


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"timeout": "1ms"}, "InvalidSpec", "spec.timeout: 1ms is below the p99 budget"),
        ({"model": {"path": "./mood.py"}}, "ModelNotPacked", "plimsoll pack"),
    ],
)
def test_what_is_wrong_with_a_spec_stands_in_its_status(cluster, operator, shop, spec, reason, words):
    shop.name = f"wrong-{reason.lower()}"
    cluster.apply(service(shop.name, **spec))
    found = condition(shop.ready(reason))
    assert found["status"] == "False"
    assert words in found["message"]
    assert shop.deployments() == {}
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    cluster.apply(service(shop.name, **spec))
    found = condition(shop.ready(reason))
    assert found["status"] == "True", "what was there serves on"
    assert "2 ready" in found["message"]


def test_a_paused_service_is_left_alone(cluster, operator, shop):
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    paused = service(shop.name)
    paused["metadata"]["annotations"] = {"plimsoll.dev/paused": "true"}
    cluster.apply(paused)
    shop.ready("Paused")
    shop.request("DELETE", f"/apis/policy/v1/namespaces/{SHOP}/poddisruptionbudgets/{shop.name}")
    calm(operator)
    assert cluster.get("PodDisruptionBudget", shop.name, SHOP) is None
    cluster.apply(service(shop.name))
    until(lambda: cluster.get("PodDisruptionBudget", shop.name, SHOP))


def test_old_revisions_are_kept_for_a_way_back_and_the_fifth_goes(cluster, operator, shop):
    names = []
    for version in "abcde":
        cluster.apply(with_model(service(shop.name), version))
        shop.ready(count=2)
        until(lambda: sum(shop.counts().values()) == 2, shop.counts)
        names.append(shop.status["revision"])
    assert len(set(names)) == 5
    until(lambda: set(shop.counts()) == set(names[1:]), shop.counts)
    until(lambda: cluster.get("ConfigMap", names[0], SHOP) is None)
    assert cluster.get("Revision", names[0], SHOP) is None
    cluster.apply(with_model(service(shop.name), "b"))
    until(lambda: shop.counts().get(names[1]) == 2 and sum(shop.counts().values()) == 2, shop.counts)
    revisions = {one["metadata"]["name"]: condition(one)["status"] for one in cluster.objects("Revision", SHOP)
                 if one["spec"]["service"] == shop.name}  # fmt: skip
    until(lambda: condition(cluster.get("Revision", names[1], SHOP))["status"] == "True", lambda: revisions)


def test_nothing_is_listed_while_nothing_happens(cluster, operator, shop):
    calm(operator)
    lists = operator.metric("plimsoll_operator_lists_total")
    cluster.log.clear()
    calm(operator, quiet_s=3)
    assert operator.metric("plimsoll_operator_lists_total") == lists
    assert not [one for one in cluster.log.counts() if one[0] == "list"]


def test_its_pages_and_its_log(cluster, operator, shop):
    with operator.page("/v2/health/ready") as answer:
        assert answer.read() == b"ready\n"
    applied = operator.metric("plimsoll_operator_apply_seconds_count")
    cluster.apply(service(shop.name))
    shop.ready(count=2)
    assert operator.metric("plimsoll_operator_apply_seconds_count") > applied
    lines = operator.log.splitlines()
    assert lines
    assert all(json.loads(line)["level"] in ("info", "warning") for line in lines), "no traceback, JSON alone"
