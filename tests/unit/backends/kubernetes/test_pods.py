"""What pods say, in a replica's words."""

import copy

import pytest

from plimsoll.backends.kubernetes.marks import costs_to_write, deletion_costs, drain_marks
from plimsoll.backends.kubernetes.pods import DELETION_COST, DO_NOT_DISRUPT, SAFE_TO_EVICT, read_pod, why_ended
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase

AT = "2026-03-01T12:00:{:02d}Z"
POD = {
    "metadata": {
        "namespace": "shop", "name": "mood-7c9-x2x", "uid": "u1", "creationTimestamp": AT.format(0),
        "labels": {"plimsoll.dev/service": "mood", "plimsoll.dev/revision": "mood-7c9"}, "annotations": {},
    },
    "spec": {
        "nodeName": "node-1",
        "containers": [
            {
                "name": "model",
                "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9191}],
                "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "512Mi"}},
                "startupProbe": {"periodSeconds": 2, "failureThreshold": 31},
            }
        ],
    },
    "status": {
        "phase": "Running", "podIP": "10.0.0.7",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": AT.format(1)},
            {"type": "Ready", "status": "True", "lastTransitionTime": AT.format(9)},
        ],
        "containerStatuses": [
            {"name": "model", "restartCount": 0, "state": {"running": {"startedAt": AT.format(3)}}, "ready": True}
        ],
    },
}  # fmt: skip


def pod(**changes):
    """`state`, `last`, `restarts` of its container; `conditions`, `phase`, `init`; `deleted`."""
    obj = copy.deepcopy(POD)
    status = obj["status"]
    own = status["containerStatuses"][0]
    own["state"] = changes.get("state", own["state"])
    own["lastState"] = changes.get("last", {})
    own["restartCount"] = changes.get("restarts", 0)
    for kind, word in changes.get("conditions", {}).items():
        found = next(one for one in status["conditions"] if one["type"] == kind)
        found.update(word if isinstance(word, dict) else {"status": word})
    status["phase"] = changes.get("phase", "Running")
    status |= changes.get("status", {})
    if "init" in changes:
        status["initContainerStatuses"] = [changes["init"]]
    if changes.get("deleted"):
        obj["metadata"]["deletionTimestamp"] = AT.format(30)
    if changes.get("unplaced"):
        del obj["spec"]["nodeName"]
    obj["metadata"]["annotations"] = changes.get("annotations", {})
    return read_pod(obj)


def ended(code=1, reason="Error", message="", ran_s=5):
    times = {"startedAt": AT.format(3), "finishedAt": f"2026-03-01T12:{(3 + ran_s) // 60:02d}:{(3 + ran_s) % 60:02d}Z"}
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, **times}}


def waiting(reason, message=""):
    return {"waiting": {"reason": reason, "message": message}}


def test_a_ready_one():
    seen = pod()
    assert (seen.phase, seen.reason, seen.service, seen.revision) == (ReplicaPhase.READY, "", "shop/mood", "mood-7c9")
    assert (seen.ip, seen.serving_port, seen.metrics_port) == ("10.0.0.7", 8080, 9191)
    assert (seen.placed - seen.created, seen.began - seen.created, seen.ready - seen.created) == (1.0, 3.0, 9.0)
    assert (seen.cpus, seen.memory, seen.load_s, seen.running) == (0.5, "512Mi", 60.0, True)


def test_others_pods_are_no_replicas():
    for label in ("plimsoll.dev/service", "plimsoll.dev/revision"):
        obj = copy.deepcopy(POD)
        del obj["metadata"]["labels"][label]
        assert read_pod(obj) is None


@pytest.mark.parametrize(
    ("changes", "phase", "reason"),
    [
        ({"conditions": {"Ready": "False"}}, ReplicaPhase.STARTING, ""),
        ({"deleted": True}, ReplicaPhase.DRAINING, ""),
        (
            {"state": waiting("ImagePullBackOff", "Back-off pulling image \"plimsoll:9\"")},
            ReplicaPhase.BACKING_OFF,
            'image can\'t be pulled: Back-off pulling image "plimsoll:9"',
        ),
        ({"state": waiting("ErrImagePull")}, ReplicaPhase.BACKING_OFF, "image can't be pulled: ErrImagePull"),
        (
            {"state": waiting("CreateContainerConfigError", 'secret "hub" not found')},
            ReplicaPhase.FAILED,
            'secret "hub" not found',
        ),
        (
            {"phase": "Failed", "status": {"message": "The node was low on resource: memory."}},
            ReplicaPhase.FAILED,
            "The node was low on resource: memory.",
        ),
        (
            {"init": {"name": "fetch", "state": ended(1, message="s3://m/x: access denied; check the secret hub\n")}},
            ReplicaPhase.FAILED,
            "init container fetch: s3://m/x: access denied; check the secret hub",
        ),
        (
            {
                "init": {
                    "name": "fetch", "state": waiting("CrashLoopBackOff"),
                    "lastState": ended(1, message='{"level": "info"}\n{"level": "error", "message": "digest differs"}'),
                }
            },
            ReplicaPhase.BACKING_OFF,
            "init container fetch: digest differs",
        ),
        ({"init": {"name": "fetch", "state": ended(0)}}, ReplicaPhase.READY, ""),
    ],
)  # fmt: skip
def test_phases(changes, phase, reason):
    seen = pod(**changes)
    assert (seen.phase, seen.reason) == (phase, reason)


def test_one_without_a_node_says_why_in_the_schedulers_words():
    why = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    condition = {"status": "False", "reason": "Unschedulable", "message": why}
    seen = pod(
        unplaced=True, phase="Pending", state=waiting("x"), conditions={"PodScheduled": condition, "Ready": "False"}
    )
    assert (seen.phase, seen.pending, seen.placed, seen.node) == (ReplicaPhase.STARTING, why, None, "")


def test_one_that_takes_others_place_has_room_while_they_end():
    obj = copy.deepcopy(POD)
    del obj["spec"]["nodeName"]
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "none"}
    obj["status"] = {"phase": "Pending", "conditions": [refused]}
    assert read_pod(obj).pending == "none"
    obj["status"]["nominatedNodeName"] = "gpu-1"
    assert read_pod(obj).pending == ""


@pytest.mark.parametrize(
    ("end", "was_ready", "said"),
    [
        (ended(9), True, "ended by itself with exit status 9"),
        (ended(7), False, "ended with exit status 7 before it was ready"),
        (ended(139), True, "killed by signal 11"),
        (ended(137, "OOMKilled"), True, "memory limit 512Mi exceeded: the kernel's OOM killer ended it"),
        (ended(137, ran_s=62), False, "load() did not finish within 1m"),
        (ended(137, ran_s=20), False, "killed by signal 9"),
        (ended(137, ran_s=62), True, "killed by signal 9"),
        (ended(3, message="model.py:12: NameError: x\nTraceback …"), False, "model.py:12: NameError: x"),
        (ended(3, message='{"level": "info"}\n{"message": "no port", "level": "error"}\n'), False, "no port"),
        (ended(3, message="\n\n"), False, "ended with exit status 3 before it was ready"),
    ],
)
def test_why_a_life_ended(end, was_ready, said):
    seen = pod(state=waiting("CrashLoopBackOff", "back-off 1m20s restarting failed container=model"), last=end)
    assert seen.phase is ReplicaPhase.BACKING_OFF
    assert seen.back_off_s == 80.0
    assert why_ended(seen, was_ready=was_ready) == said


def test_what_loading_may_take_is_known_better_by_who_made_the_pod():
    seen = pod(state=ended(137, ran_s=3))
    assert seen.phase is ReplicaPhase.FAILED
    assert why_ended(seen, was_ready=False, load_s=1.5) == "load() did not finish within 1.5s"


# What pods are told.


def replica(name, inside=0.0, kind="", phase=ReplicaPhase.READY):
    return ObservedReplica(name, "shop/mood", "mood-7c9", phase, load={"in_flight": inside, "queued": 0.0}, kind=kind)


def test_busy_ones_are_dear_and_of_equal_ones_those_on_dear_nodes_are_cheap():
    costs = deletion_costs(
        [
            replica("busy", 3.0, "dear"),
            replica("idle-dear", 0.0, "dear"),
            replica("idle-cheap", 0.0, "cheap"),
            replica("starting", 0.0, phase=ReplicaPhase.STARTING),
        ],
        {"dear": 2.0, "cheap": 0.5},
    )
    assert costs["busy"] > costs["idle-cheap"] > costs["idle-dear"]
    assert "starting" not in costs, "it goes first whatever it costs"


def test_a_cost_is_written_where_it_differs_by_a_request():
    written = {"new": None, "same": "300", "nearly": "350", "fell": "900", "own": "mine", "going": None}
    pods = {
        name: pod(annotations={} if cost is None else {DELETION_COST: cost}, deleted=name == "going")
        for name, cost in written.items()
    }
    costs = {"new": 300, "same": 300, "nearly": 300, "fell": 0, "own": 500, "going": 500, "gone": 500}
    assert costs_to_write(pods, costs) == {"new": {DELETION_COST: "300"}, "fell": {DELETION_COST: "0"}}


def test_one_that_drains_is_not_to_be_disturbed_and_is_told_once():
    assert drain_marks(pod()) == {}
    assert drain_marks(pod(deleted=True)) == {SAFE_TO_EVICT: "false", DO_NOT_DISRUPT: "true"}
    told = {SAFE_TO_EVICT: "false", DO_NOT_DISRUPT: "true"}
    assert drain_marks(pod(deleted=True, annotations=told)) == {}
