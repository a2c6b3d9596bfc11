"""Names as long as Kubernetes lets a service have one: what is made of them fits, and is nobody else's."""

import pytest

from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render import render
from plimsoll.spec import ModelService

LABEL, SET = 63, 52  # a StatefulSet's pods carry its name and a hash of ten as one label


def rendered(name, workload):
    service = ModelService.parse(
        {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "model": {"uri": "oci://registry.example.com/m:1", "digest": f"sha256:{'a' * 64}", "format": "Python",
                          "className": "M"},
                "budget": {"latency": {"p99": "100ms"}},
                "workload": workload,
                "scaling": {"minReplicas": 1, "maxReplicas": 3, "policy": "HPA", "writer": "HPA"},
            },
        }
    )  # fmt: skip
    return render(service, None, ClusterOptions()).objects


def limit(obj):
    kind = obj["kind"]
    return SET if kind == "StatefulSet" else LABEL if kind in ("Service", "Deployment") else 253


@pytest.mark.parametrize("workload", ["Deployment", "StatefulSet"])
@pytest.mark.parametrize("length", [1, 41, 42, 52, 53, 58, 59, 63])
def test_every_name_and_label_fits(length, workload):
    for obj in rendered("m" * length, workload):
        meta = obj["metadata"]
        assert len(meta["name"]) <= limit(obj), obj["kind"]
        pods = obj.get("spec", {}).get("template", {}).get("metadata", {})
        for labels in (meta.get("labels") or {}, pods.get("labels") or {}):
            assert all(len(value) <= LABEL for value in labels.values()), obj["kind"]


@pytest.mark.parametrize("workload", ["Deployment", "StatefulSet"])
def test_two_that_differ_in_their_last_letter_share_nothing(workload):
    one, other = (rendered("m" * 62 + last, workload) for last in "ab")
    names = [{(obj["kind"], obj["metadata"]["name"]) for obj in objects} for objects in (one, other)]
    assert not names[0] & names[1]
