"""Admission: what is refused and in which words, what is only warned of, and what is never asked about."""

import copy
from typing import Any

import pytest
from hypothesis import given, strategies

from plimsoll.backends.kubernetes.webhook import Context, NotAReview, review
from plimsoll.backends.kubernetes.webhook.review import written
from plimsoll.spec import ModelService, Platform

Obj = dict[str, Any]
API = "plimsoll.dev/v1alpha1"
DIGEST = "sha256:" + "4b1d6f0c" * 8
PACKED = {"uri": "s3://models/mood/model.py", "digest": DIGEST}


def stored(kind: str = "ModelService", name: str = "mood", **spec: Any) -> Obj:
    """As the API server sends one: with all that it adds itself."""
    meta: Obj = {
        "name": name,
        "uid": "4f0c",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [{"kind": "Other", "name": "a"}],
        "finalizers": ["plimsoll.dev/operator"],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}" * 1000, "team": "a"},
    }
    if kind == "ModelService":
        meta["namespace"] = "shop"
    spec = ({"model": PACKED} if kind == "ModelService" else {}) | spec
    return {"apiVersion": API, "kind": kind, "metadata": meta, "spec": spec, "status": {"url": "http://x"}}


def asked(obj: Obj, operation: str = "CREATE", old: Obj | None = None, **request: Any) -> Obj:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "operation": operation,
            "object": obj,
            "oldObject": old,
            "namespace": "shop",
            **request,
        },
    }


def answer(obj: Obj, context: Context | None = None, **request: Any) -> Obj:
    found = review(asked(obj, **request), context=context)
    assert (found["apiVersion"], found["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: Obj = found["response"]
    assert response["uid"] == "u-1"
    return response


def service(name: str, **spec: Any) -> ModelService:
    return ModelService.parse(written(stored(name=name, **spec)))


def test_what_is_right_is_let_in_without_a_word() -> None:
    assert answer(stored()) == {"uid": "u-1", "allowed": True}
    assert answer(stored("Platform", "default")) == {"uid": "u-1", "allowed": True}


def test_what_is_wrong_is_refused_by_key_and_remedy() -> None:
    wrong = answer(stored(scaling={"minReplicas": 3, "maxReplicas": 2}))
    assert wrong["allowed"] is False
    assert wrong["status"] == {
        "code": 422,
        "reason": "Invalid",
        "message": "spec.scaling.maxReplicas: 2 is below minReplicas; expected 3 or more",
    }


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = answer(stored(timeout="100", scaling={"policy": "HPA", "writer": "KEDA"}, maxReplica=3))
    lines = wrong["status"]["message"].splitlines()
    assert lines[0] == ""
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "  spec.timeout",
        "  spec.scaling.writer",
        "  spec.maxReplica",
    ]


def test_a_tenant_and_a_platform_are_checked_too() -> None:
    assert answer(stored("Tenant", "shop"))["status"]["message"].startswith("spec.auth: missing")
    wrong = answer(stored("Platform", "default", modelCache={"type": "PVC"}))
    assert wrong["status"]["message"] == "spec.modelCache.size: missing; a PVC needs it: size: 100Gi"


@pytest.mark.parametrize(
    "request_",
    [
        {"operation": "DELETE"},
        {"operation": "CONNECT"},
        {"subResource": "status", "operation": "UPDATE"},
        {"subResource": "scale", "operation": "UPDATE"},
    ],
)
def test_what_is_not_asked_about_is_let_through(request_: Obj) -> None:
    assert answer(stored(timeout="never"), **request_) == {"uid": "u-1", "allowed": True}


def test_an_object_that_was_valid_once_can_be_labelled_finished_and_deleted() -> None:
    old = stored(timeout="never")
    new = copy.deepcopy(old)
    new["metadata"]["finalizers"] = []
    assert answer(new, operation="UPDATE", old=old)["allowed"]
    new["spec"]["retry"] = "Never"
    assert not answer(new, operation="UPDATE", old=old)["allowed"]
    new["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert answer(new, operation="UPDATE", old=old)["allowed"]


def test_other_kinds_are_none_of_its_business() -> None:
    for obj in ({"apiVersion": "v1", "kind": "Pod"}, {"apiVersion": API, "kind": "Revision", "spec": {}}):
        assert answer(obj) == {"uid": "u-1", "allowed": True}
    assert review({"request": {"uid": "u-1"}})["response"] == {"uid": "u-1", "allowed": True}


def test_a_path_that_is_not_packed_is_let_in_with_the_command_to_run() -> None:
    found = answer(stored(model={"path": "./mood.py"}))
    assert found["allowed"]
    assert found["warnings"] == [
        "spec.model.path: ./mood.py is not packed, and a cluster can't reach it: apply what `plimsoll pack FILE` prints"
    ]
    assert "warnings" not in answer(stored(model={"path": "shop.models:Mood"}))


def test_an_artifact_that_is_not_pinned_and_requirements_without_an_image_are_warned_of() -> None:
    found = answer(stored(model={"uri": PACKED["uri"]}, runtime={"requirements": ["numpy>=2"]}))
    assert found["allowed"]
    assert [line.partition(":")[0] for line in found["warnings"]] == ["spec.model.digest", "spec.runtime.requirements"]
    assert "warnings" not in answer(stored(runtime={"requirements": ["numpy>=2"], "image": "mood:1"}))


def test_what_is_missing_is_warned_of_once_the_cluster_is_known() -> None:
    asks = stored(accelerator={"class": "h100"}, budget={"cost": {"perHour": "2"}})
    assert "warnings" not in answer(asks)
    assert answer(asks, Context(known=True))["warnings"] == [
        "spec.accelerator.class: the platform has no class named h100; it has none",
        "spec.budget.cost: nothing has a price; write a Platform with nodeClasses",
    ]
    there = Platform.parse(
        written(
            stored(
                "Platform",
                "default",
                nodeClasses=[{"name": "gpu", "pricePerHour": "7"}],
                acceleratorClasses=[{"name": "h100", "resourceName": "nvidia.com/gpu", "nodeClass": "gpu"}],
            )
        )
    )
    assert "warnings" not in answer(asks, Context(platform=there, known=True))


def test_a_fallback_may_come_later_but_not_lead_back() -> None:
    falls = stored(fallback=[{"type": "Service", "service": {"name": "rules"}}])
    assert answer(falls, Context(known=True)) == {
        "uid": "u-1",
        "allowed": True,
        "warnings": ["spec.fallback: no service is named rules in this namespace yet"],
    }
    rules = service("rules")
    assert answer(falls, Context(services=[rules], known=True)) == {"uid": "u-1", "allowed": True}
    back = service("rules", fallback=[{"type": "Service", "service": {"name": "mood"}}])
    wrong = answer(falls, Context(services=[back], known=True))
    assert "falls back in a loop: " in wrong["status"]["message"]
    itself = stored(fallback=[{"type": "Service", "service": {"name": "mood"}}])
    assert "would fall back to itself" in answer(itself)["status"]["message"]


def test_a_route_of_another_service_of_the_namespace_is_refused() -> None:
    routed = stored(routes=[{"path": "/analyze"}])
    other = service("other", routes=[{"path": "/analyze"}])
    assert answer(routed, Context(services=[other]))["status"]["message"].startswith(
        "spec.routes[0].path: /analyze is a route of other too"
    )
    obj = stored(name="other", routes=[{"path": "/analyze"}])
    obj["metadata"]["namespace"] = "elsewhere"
    assert answer(routed, Context(services=[ModelService.parse(written(obj))]))["allowed"]
    before = service("mood", routes=[{"path": "/analyze"}])
    assert answer(routed, Context(services=[before]))["allowed"], "an update of its own"


def test_others_quarrels_are_not_its_own() -> None:
    a, b = (service(name, routes=[{"path": "/same"}]) for name in ("a", "b"))
    assert answer(stored(), Context(services=[a, b], known=True)) == {"uid": "u-1", "allowed": True}


def test_long_and_many_messages_are_cut() -> None:
    found = answer(stored(model={"path": f"./{'x' * 500}.py"}))
    assert [len(line) for line in found["warnings"]] == [250]
    wrong = answer(stored(**{f"unknown{index}": 1 for index in range(60)}))
    lines = wrong["status"]["message"].splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  and 40 more"


def test_a_generated_name_is_no_name_yet() -> None:
    obj = stored()
    del obj["metadata"]["name"]
    obj["metadata"]["generateName"] = "mood-"
    assert answer(obj)["allowed"]


@pytest.mark.parametrize("body", [None, [], {}, {"request": {}}, {"request": {"uid": 3}}, {"request": "x"}])
def test_what_is_no_review_is_told(body: object) -> None:
    with pytest.raises(NotAReview):
        review(body)


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=20),
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(strategies.text(max_size=8), inner),
    max_leaves=20,
)


@given(spec=JSON, meta=JSON, kind=strategies.sampled_from(["ModelService", "Tenant", "Platform"]))
def test_any_object_gets_an_answer(spec: object, meta: object, kind: str) -> None:
    obj = {"apiVersion": API, "kind": kind, "metadata": meta, "spec": spec}
    response = answer(obj)
    assert response["allowed"] is True or response["status"]["message"]
