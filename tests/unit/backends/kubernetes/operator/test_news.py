"""What becomes an Event: replicas that moved, once, and reasons that change."""

import dataclasses

import pytest
from tests.unit.backends.kubernetes.operator.cluster import service

from plimsoll.backends.kubernetes.operator.news import News
from plimsoll.backends.kubernetes.operator.seen import Pod, Seen, Workload, pod_of

DRAIN = "EvictionByEvictionAPI"


def pod(name, *, ready=True, evicted="", deleting=False):
    return Pod(name, "a", ready=ready, deleting=deleting, evicted=evicted)


class Told:
    def __init__(self):
        self.news, self.said = News(service()), []

    def look(self, now, *pods, replicas=2):
        ready = sum(one.ready and not one.deleting for one in pods)
        seen = Seen(service(), [Workload("a", "Deployment", replicas, exist=len(pods), ready=ready)], pods)
        self.news.moved(seen, now, lambda _, kind, reason, words: self.said.append((kind, reason, words)))
        return self.said


def test_a_drained_node_is_told_once_as_many_serve_again():
    told = Told()
    assert told.look(0, pod("x"), pod("y")) == []
    # marked before it is deleted, and still ready
    assert told.look(1, pod("x", evicted=DRAIN), pod("y")) == []
    assert told.look(2, pod("x", evicted=DRAIN, deleting=True), pod("y"), pod("z", ready=False)) == []
    assert told.look(3, pod("y", evicted=DRAIN, deleting=True), pod("z", ready=False)) == []
    assert told.look(9, pod("z"), pod("v", ready=False)) == []
    moved = [("Normal", "Moved", "moved 2 replicas (drained), 11 s until as many served again")]
    assert told.look(12, pod("z"), pod("v")) == moved
    assert told.look(13, pod("z"), pod("v")) == moved
    told.look(20, pod("z", evicted="PreemptionByScheduler", deleting=True), pod("v"), pod("w"))
    assert told.said[1][2] == "moved 1 replica (for pods of higher priority), 0 s until as many served again"


def test_what_merely_ends_did_not_move():
    told = Told()
    told.look(0, pod("x"), pod("y"))
    told.look(1, pod("x", deleting=True), pod("y"), replicas=1)
    assert told.look(2, pod("y"), replicas=1) == []


@pytest.mark.parametrize(("status", "evicted"), [("True", DRAIN), ("False", "")])
def test_why_a_pod_leaves_is_kept(status, evicted):
    conditions = [{"type": "Ready", "status": "True"}, {"type": "DisruptionTarget", "status": status, "reason": DRAIN}]
    found = pod_of({"metadata": {"name": "x"}, "status": {"conditions": conditions}})
    assert (found.evicted, found.ready) == (evicted, True)


def test_a_reason_is_told_when_it_changes_and_not_again_by_the_next_operator():
    said = []

    def tell(_, kind, reason, words):
        said.append((kind, reason))

    def status(reason):
        return {"conditions": [{"type": "Ready", "reason": reason, "message": "words"}]}

    news = News(service())
    for reason in ("Starting", "Starting", "Serving", "CrashLooping"):
        news.ready(service(), status(reason), tell)
    assert said == [("Normal", "Starting"), ("Normal", "Serving"), ("Warning", "CrashLooping")]
    next_one = News(dataclasses.replace(service(), status=status("CrashLooping")))
    next_one.ready(service(), status("CrashLooping"), tell)
    assert len(said) == 3
