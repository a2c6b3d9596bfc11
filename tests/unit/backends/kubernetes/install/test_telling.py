"""A ModelService of a cluster, in the words of the local status."""

from plimsoll.backends.kubernetes.conditions import Reason
from plimsoll.backends.kubernetes.install.telling import event_of, instance_of, owners_of, told_of, unix
from plimsoll.cli.table import cells, notes

KEYS = ("type", "status", "reason", "message")


def service(*conditions, spec=None, **status):
    return {
        "metadata": {"name": "mood", "namespace": "shop", "generation": 2},
        "spec": {"budget": {"latency": {"p99": "100ms"}, "errorRate": "0.1%"}} | (spec or {}),
        "status": status | {"conditions": [dict(zip(KEYS, one, strict=True)) for one in conditions]},
    }


READY = ("Ready", "True", Reason.SERVING, "")


def row(*conditions, **status):
    return [text for text, _ in cells(told_of(service(*conditions, **status), []))]


def test_a_service_that_serves():
    assert row(
        READY, revision="mood-7c9", readyReplicas=2, desiredReplicas=2, p50="12ms", p99="18ms", requestsPerSecond="412",
        errorRate="0.02%", spec={"scaling": {"minReplicas": 1, "maxReplicas": 8}},
    ) == ["mood", "mood-7c9", "2/2 (1-8)", "412", "12ms", "-", "18ms (100ms)", "0.02% (0.1%)", "Ready"]  # fmt: skip


def test_what_breaks_the_budget_is_marked():
    assert row(READY, p99="130ms", errorRate="2%")[6:8] == ["130ms (100ms)!", "2% (0.1%)!"]


def test_phases_and_their_words():
    for conditions, phase, told in (
        ((), "Progressing", "the operator hasn't seen it yet"),
        ((("Ready", "False", Reason.STARTING, "1 of 2"),), "Progressing", "1 of 2"),
        ((("Ready", "Unknown", Reason.STARTING, "?"),), "Progressing", "?"),
        ((("Ready", "True", Reason.REVISION_FAILED, "rev 2 didn't start"),), "Degraded", "rev 2 didn't start"),
        ((("Ready", "False", Reason.MODEL_NOT_PACKED, "run plimsoll pack"),), "Failed", "run plimsoll pack"),
    ):
        status = told_of(service(*conditions), [])
        assert status["phase"] == phase
        assert any(told in text for text, _ in notes(status)), conditions


def test_other_conditions_are_hints():
    status = told_of(service(READY, ("CapacityAvailable", "False", Reason.UNSCHEDULABLE, "no GPU on 3 nodes")), [])
    assert ("hint: CapacityAvailable: no GPU on 3 nodes", "yellow") in notes(status)


def test_a_count_by_hand_is_what_is_wanted():
    told = told_of(service(READY, spec={"replicas": 3}, desiredReplicas=5), [])
    assert told["replicas"]["wanted"] == 3
    assert told["scaling"]["by_hand"] == 3


def pod(**status):
    return {"metadata": {"name": "mood-1", "labels": {"plimsoll.dev/revision": "mood-7c9"}}, "status": status}


def test_pods_say_why_they_are_not_ready():
    waits = {
        "name": "model",
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"message": "model.py:3: NameError\n  x"}},
    }
    unplaced = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient nvidia.com/gpu"}
    unfetched = {"name": "fetch-model", "state": {"terminated": {"exitCode": 1, "message": "404"}}}
    for one, phase, reason in (
        (pod(conditions=[{"type": "Ready", "status": "True"}]), "ready", ""),
        (
            pod(conditions=[unplaced]),
            "starting",
            "0/3 nodes: Insufficient nvidia.com/gpu",
        ),
        (pod(containerStatuses=[waits]), "backing_off", "CrashLoopBackOff: back-off"),
        (
            pod(containerStatuses=[{"name": "model", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]),
            "failed",
            "ImagePullBackOff",
        ),
        (
            pod(initContainerStatuses=[unfetched]),
            "starting",
            "fetch-model: 404",
        ),
    ):  # fmt: skip
        found = instance_of(one)
        assert (found["phase"], found["reason"]) == (phase, reason)
    assert instance_of(pod(containerStatuses=[waits]))["log_tail"] == ["model.py:3: NameError", "  x"]
    going = pod(conditions=[{"type": "Ready", "status": "True"}])
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert instance_of(going)["phase"] == "draining"


def test_events_of_what_belongs_to_a_service():
    owned = {"metadata": {"name": "mood-1", "namespace": "shop", "labels": {"plimsoll.dev/service": "mood"}}}
    owners = owners_of([service()], [owned, {"metadata": {"name": "x", "namespace": "shop"}}])
    assert owners == {("shop", "mood"): "mood", ("shop", "mood-1"): "mood"}
    event = {
        "metadata": {"uid": "1"}, "type": "Warning", "reason": "FailedScheduling", "message": "no room", "count": 3,
        "lastTimestamp": "2026-01-01T00:00:01Z", "involvedObject": {"name": "mood-1", "namespace": "shop"},
    }  # fmt: skip
    assert event_of(event, "mood") == {
        "seq": "1", "at": 1767225601.0, "service": "mood", "kind": "FailedScheduling", "level": "warning",
        "message": "mood-1: no room (x3)",
    }  # fmt: skip
    assert unix("") == 0.0
