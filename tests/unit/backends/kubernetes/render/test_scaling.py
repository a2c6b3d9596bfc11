"""Who writes the count, and what that one is given."""

import pytest

from plimsoll.backends.kubernetes.options import ClusterOptions, Mode
from plimsoll.backends.kubernetes.render import render, service_objects
from plimsoll.core.errors import UserError
from plimsoll.spec import load_text

KEDA = frozenset({"keda.sh/v1alpha1"})


def service(scaling, more=""):
    return load_text(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood, namespace: shop}\n"
        f'spec: {{model: {{path: "mood:Mood"}}, scaling: {{{scaling}}}{more}}}\n'
    )[0]


def rendered(scaling, more="", *, mode=Mode.OPERATOR, minor=36, apis=KEDA):
    return render(service(scaling, more), None, ClusterOptions(minor=minor, mode=mode, apis=apis))


def the(found, kind):
    return next((obj for obj in found.objects if obj["kind"] == kind), None)


def scalers(found):
    return [obj["kind"] for obj in found.objects if obj["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}]


@pytest.mark.parametrize(
    ("scaling", "operator", "plain"),
    [
        ("maxReplicas: 4", [], []),
        ("maxReplicas: 4, writer: HPA", ["HorizontalPodAutoscaler"], []),
        ("maxReplicas: 4, writer: KEDA", ["ScaledObject"], []),
        ("maxReplicas: 4, policy: KPA, writer: KEDA", ["ScaledObject"], []),
        ("maxReplicas: 4, policy: HPA", [], ["HorizontalPodAutoscaler"]),
        ("maxReplicas: 4, policy: HPA, writer: HPA", ["HorizontalPodAutoscaler"], ["HorizontalPodAutoscaler"]),
        (
            'maxReplicas: 4, policy: Schedule, writer: KEDA, schedule: {entries: [{cron: "0 8 * * *", replicas: 3}]}',
            ["ScaledObject"],
            ["ScaledObject"],
        ),
        ("policy: Fixed", [], []),
    ],
)
def test_at_most_one_scaler_and_only_one_that_can_work(scaling, operator, plain):
    assert scalers(rendered(scaling)) == operator
    found = rendered(scaling, mode=Mode.PLAIN)
    assert scalers(found) == plain
    assert (the(found, "Deployment")["spec"].get("replicas") is None) == bool(plain)


def test_the_operator_never_gives_a_count():
    for scaling in ("maxReplicas: 4", "minReplicas: 3, maxReplicas: 4, writer: HPA", "policy: Fixed"):
        assert "replicas" not in the(rendered(scaling, ", replicas: 2"), "Deployment")["spec"]


def test_an_hpa_on_our_metric_follows_each_step():
    spec = the(rendered("minReplicas: 0, maxReplicas: 200, writer: HPA"), "HorizontalPodAutoscaler")["spec"]
    metric = spec["metrics"][0]["external"]
    assert metric["metric"] == {"name": "plimsoll_desired_replicas", "selector": {"matchLabels": {"service": "mood"}}}
    assert metric["target"] == {"type": "AverageValue", "averageValue": "1"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 200)
    for way in ("scaleUp", "scaleDown"):
        assert spec["behavior"][way]["stabilizationWindowSeconds"] == 0
        assert spec["behavior"][way]["tolerance"] == "0"
    assert {"type": "Pods", "value": 200, "periodSeconds": 15} in spec["behavior"]["scaleUp"]["policies"]


def test_a_tolerance_is_only_said_where_it_is_not_dropped():
    found = rendered("maxReplicas: 20, writer: HPA", minor=34)
    behavior = the(found, "HorizontalPodAutoscaler")["spec"]["behavior"]
    assert all("tolerance" not in way for way in behavior.values())
    assert any("1.35" in line for line in found.notes)
    assert not any("1.35" in line for line in rendered("maxReplicas: 20, writer: HPA", minor=35).notes)


def test_kubernetes_own_behavior_stays_unless_a_window_is_named():
    spec = the(rendered("maxReplicas: 4, policy: HPA, writer: HPA"), "HorizontalPodAutoscaler")["spec"]
    assert "behavior" not in spec
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


def test_a_count_by_hand():
    spec = the(rendered("maxReplicas: 4, writer: HPA", ", replicas: 7"), "HorizontalPodAutoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (7, 7)
    spec = the(rendered("maxReplicas: 4, writer: HPA", ", replicas: 0"), "HorizontalPodAutoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)  # it rests while the count is 0
    paused = the(rendered("maxReplicas: 4, writer: KEDA", ", replicas: 0"), "ScaledObject")
    assert paused["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}
    plain = rendered("maxReplicas: 4, policy: HPA", ", replicas: 3", mode=Mode.PLAIN)
    assert scalers(plain) == []
    assert the(plain, "Deployment")["spec"]["replicas"] == 3


def test_without_keda_nothing_is_left_to_it():
    found = rendered("maxReplicas: 4, writer: KEDA", apis=frozenset())
    assert scalers(found) == []
    assert any(line.startswith("spec.scaling.writer: KEDA is not installed") for line in found.notes)


def test_plain_says_who_is_missing():
    found = rendered("minReplicas: 0, maxReplicas: 4", mode=Mode.PLAIN)
    assert the(found, "Deployment")["spec"]["replicas"] == 1
    assert [line.partition(":")[0] for line in found.notes] == ["spec.scaling", "spec.scaling.minReplicas"]
    assert rendered("policy: Fixed, minReplicas: 3", mode=Mode.PLAIN).notes == ()


def test_the_active_workload_is_what_is_scaled():
    one = service("maxReplicas: 4, writer: HPA")
    found = service_objects(one, None, ClusterOptions(), active="mood-0123456789")
    assert the(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "mood-0123456789",
    }


def clock(entries, least=1):
    entries = ", ".join(f'{{cron: "{cron}", replicas: {count}}}' for cron, count in entries)
    scaling = (
        f"minReplicas: {least}, maxReplicas: 9, policy: Schedule, writer: KEDA, schedule: {{entries: [{entries}]}}"
    )
    return the(rendered(scaling, mode=Mode.PLAIN), "ScaledObject")["spec"]


def test_kedas_clock_ends_where_the_next_entry_begins():
    found = clock([("0 8 * * 1-5", 4), ("0 20 * * *", 1)])
    assert [one["metadata"] for one in found["triggers"]] == [
        {"timezone": "UTC", "start": "0 8 * * 1-5", "end": "0 20 * * *", "desiredReplicas": "4"}
    ]
    three = clock([("0 20 * * *", 2), ("0 8 * * *", 4), ("0 12 * * *", 9)], least=2)
    assert [(one["metadata"]["start"], one["metadata"]["end"]) for one in three["triggers"]] == [
        ("0 8 * * *", "0 12 * * *"),
        ("0 12 * * *", "0 20 * * *"),
    ]
    assert three["minReplicaCount"] == 2
    assert len(clock([("0 8 * * *", 4)])["triggers"]) == 1


def test_kedas_clock_refuses_what_it_cannot_follow():
    with pytest.raises(UserError, match=r"spec.scaling.schedule: KEDA alone can't follow"):
        clock([("0 8 * * 1-5", 4), ("0 20 * * *", 1), ("0 12 * * 6", 2)])
