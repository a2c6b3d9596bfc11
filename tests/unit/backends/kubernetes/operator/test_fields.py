"""Marks of our fields: what changes them and what doesn't, against the managedFields of the server in memory."""

import pytest
from tests.kube import FakeCluster
from tests.unit.backends.kubernetes.operator.running import prepared, service

from plimsoll.backends.kubernetes.operator.fields import mark_of, mark_of_rendered, owns_count, projected
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render import revision_of, service_objects
from plimsoll.spec import ModelService, Platform

OURS = "plimsoll-operator"


@pytest.fixture(scope="module")
def cluster():
    with FakeCluster() as cluster:
        yield prepared(cluster)


def rendered():
    scaling = {"minReplicas": 1, "maxReplicas": 8, "writer": "HPA"}
    parsed = ModelService.parse(service(scaling=scaling, resources={"requests": {"cpu": "1"}}))
    meta = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "default"}}
    platform = Platform.parse(meta | {"spec": {"gateway": {"hostnameTemplate": "{name}.x.example"}}})
    plan = revision_of(parsed, platform, ClusterOptions())
    return [*service_objects(parsed, platform, ClusterOptions(), plan.name).objects, *plan.objects]


def stored(cluster, obj):
    return cluster.get(obj["kind"], obj["metadata"]["name"], obj["metadata"]["namespace"])


@pytest.mark.parametrize("obj", rendered(), ids=lambda obj: obj["kind"])
def test_what_was_applied_has_the_mark_of_what_was_rendered(cluster, obj):
    cluster.apply(obj, manager=OURS)
    assert mark_of(stored(cluster, obj), obj["kind"]) == mark_of_rendered(obj, obj["kind"])


def deployment():
    return next(obj for obj in rendered() if obj["kind"] == "Deployment")


def test_a_count_is_no_part_of_the_mark_and_is_owned_once_it_was_sent(cluster):
    obj = deployment()
    obj["metadata"]["name"] = "counted"
    cluster.apply(obj | {"spec": {**obj["spec"], "replicas": 3}}, manager=OURS)
    there = stored(cluster, obj)
    assert owns_count(there)
    assert mark_of(there, "Deployment") == mark_of_rendered(obj, "Deployment")
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "counted", "namespace": "shop"},
              "spec": {"replicas": 7}}  # fmt: skip
    cluster.apply(scaled, manager="somebody")
    assert not owns_count(stored(cluster, obj))
    assert mark_of(stored(cluster, obj), "Deployment") == mark_of_rendered(obj, "Deployment")


def test_others_fields_change_nothing_and_a_field_of_ours_does(cluster):
    obj = deployment()
    obj["metadata"]["name"] = "drifting"
    cluster.apply(obj, manager=OURS)
    name = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "drifting", "namespace": "shop"}}
    mark = mark_of(stored(cluster, obj), "Deployment")
    theirs = {**name, "metadata": {**name["metadata"], "labels": {"team": "a"}}, "spec": {"minReadySeconds": 5}}
    cluster.apply(theirs, manager="kubectl")
    assert mark_of(stored(cluster, obj), "Deployment") == mark
    cluster.apply({**name, "spec": {"revisionHistoryLimit": 9}}, manager="kubectl")
    assert mark_of(stored(cluster, obj), "Deployment") != mark


def test_what_we_never_applied_has_no_mark():
    assert mark_of({"metadata": {"name": "x"}}, "Service") == ""


def test_items_are_found_by_their_keys_with_defaults_left_out():
    fields = {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}
    live = {"ports": [{"port": 443}, {"port": 80, "name": "theirs"}], "other": 1}
    assert projected(live, fields) == {"ports": [{"port": 80}]}
    assert projected({"finalizers": ["a", "b"]}, {"f:finalizers": {'v:"b"': {}}}) == {"finalizers": ["b"]}
