"""Rendering as a whole: nothing but its input counts, names don't clash, what can't run is refused with the remedy."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.backends.kubernetes.render.cases import CASES

from plimsoll.backends.kubernetes.names import MANAGED_BY_LABEL, NAMESPACE_LABEL, REVISION_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import key_of, to_yaml
from plimsoll.backends.kubernetes.options import ClusterOptions, Mode
from plimsoll.backends.kubernetes.render import ModelNotPacked, render, render_all, revision_of, service_objects
from plimsoll.core.errors import SpecError
from plimsoll.spec import ModelService, Platform, load_all_text

HEAD = {"apiVersion": "plimsoll.dev/v1alpha1"}


def service(name="mood", namespace="shop", **spec):
    spec = {"model": {"path": "mood:Mood"}} | spec
    return ModelService.parse(HEAD | {"kind": "ModelService", "metadata": {"name": name, "namespace": namespace},
                                      "spec": spec})  # fmt: skip


def platform(**spec):
    return Platform.parse(HEAD | {"kind": "Platform", "metadata": {"name": "default"}, "spec": spec})


def shuffled(value, order):
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(one, order) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CASES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_the_order_of_keys_is_no_input(name, seed):
    case, order = CASES[name], random.Random(seed)
    documents = load_all_text(case.text)
    services = [ModelService.parse(shuffled(one.dump(), order)) for one in documents.services]
    plat = None if documents.platform is None else Platform.parse(shuffled(documents.platform.dump(), order))
    again = render_all(services, plat, case.options)
    first = case.rendered()
    assert [json.dumps(one, sort_keys=True) for one in again.objects] == [
        json.dumps(one, sort_keys=True) for one in first.objects
    ]
    assert again.notes == first.notes


durations = st.sampled_from(["50ms", "1s", "30s", "5m"])
counts = st.integers(0, 5)
specs = st.fixed_dictionaries(
    {
        "scaling": st.fixed_dictionaries(
            {"minReplicas": counts, "maxReplicas": st.integers(5, 50)},
            optional={"writer": st.sampled_from(["Controller", "HPA", "KEDA"])},
        )
    },
    optional={
        "timeout": durations,
        "replicas": counts,
        "workload": st.sampled_from(["Deployment", "StatefulSet"]),
        "resources": st.fixed_dictionaries({"limits": st.fixed_dictionaries({"memory": st.just("1Gi")})}),
        "routes": st.just([{"path": "/mood"}]),
    },
)


@given(specs, st.sampled_from(list(Mode)), st.integers(33, 36))
@settings(max_examples=60, deadline=None)
def test_the_same_input_gives_the_same_bytes_and_names_are_told_apart(spec, mode, minor):
    options = ClusterOptions(mode=mode, minor=minor, apis=frozenset({"keda.sh/v1alpha1"}))
    first, second = (render(service(**spec), None, options) for _ in range(2))
    assert to_yaml(first.objects) == to_yaml(second.objects)
    keys = [key_of(obj) for obj in first.objects]
    assert len(keys) == len(set(keys))
    for obj in first.objects:
        assert obj["metadata"]["labels"][SERVICE_LABEL] == "mood"
        assert obj["metadata"]["namespace"] == "shop"


def test_a_service_with_its_parts_is_the_whole():
    one, options = service(scaling={"maxReplicas": 4, "writer": "HPA"}), ClusterOptions()
    plan = revision_of(one, None, options)
    around = service_objects(one, None, options, active=plan.name)
    whole = render(one, None, options)
    assert sorted(map(key_of, whole.objects)) == sorted(map(key_of, (*plan.objects, *around.objects)))
    assert plan.objects[-1]["metadata"]["name"] == plan.name
    assert plan.name == f"mood-{plan.digest[:10]}"


def test_what_makes_a_revision():
    options = ClusterOptions()
    first = revision_of(service(), None, options).digest

    def digest(plat=None, opts=options, **spec):
        return revision_of(service(**spec), plat, opts).digest

    same = [
        {"scaling": {"maxReplicas": 9}},
        {"replicas": 3},
        {"access": {"anonymous": True}},
        {"cache": {"ttl": "1m"}},
        {"sessionAffinity": {"type": "Header", "name": "x-user"}},
        {"retry": "Never"},
        {"budget": {"latency": {"p50": "20ms"}, "errorRate": "1%"}},
    ]
    for spec in same:
        assert digest(**spec) == first, spec
    others = [
        {"model": {"path": "mood:Better"}},
        {"budget": {"latency": {"p99": "20ms"}}},
        {"timeout": "1s"},
        {"batching": {"maxSize": 4}},
        {"resources": {"requests": {"cpu": "2"}}},
        {"routes": [{"path": "/mood"}]},
        {"runtime": {"image": "mood:2"}},
        {"runtime": {"env": [{"name": "A", "value": "1"}]}},
        {"podTemplate": {"spec": {"priorityClassName": "high"}}},
        {"workload": "StatefulSet"},
    ]
    found = [digest(**spec) for spec in others] + [first, digest(opts=ClusterOptions(image="plimsoll:2"))]
    assert len(set(found)) == len(found)


def test_replicas_are_spread_among_those_of_their_own_revision():
    """Else a new revision avoids the nodes where the old one's replicas are, and stays together on others."""
    for mode in Mode:
        found = render(service(), None, ClusterOptions(mode=mode)).objects
        (workload,) = (obj for obj in found if obj["kind"] == "Deployment")
        template = workload["spec"]["template"]
        for one in template["spec"]["topologySpreadConstraints"]:
            assert one["matchLabelKeys"] == [REVISION_LABEL]
            assert REVISION_LABEL in template["metadata"]["labels"]


def test_a_local_file_is_refused_with_the_command_to_run():
    file = (
        "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\nspec: {model: {path: ./m.py}}\n"
    )
    one = load_all_text(file, file="mood/service.yaml").services[0]
    for mode in Mode:
        with pytest.raises(ModelNotPacked) as caught:
            render(one, None, ClusterOptions(mode=mode))
        assert str(caught.value).startswith("mood/service.yaml:4  spec.model.path: ./m.py is a local file")
        assert str(caught.value).endswith("plimsoll pack mood/service.yaml")


def test_an_unknown_accelerator_names_the_nearest():
    plat = platform(acceleratorClasses=[{"name": "h100", "resourceName": "nvidia.com/gpu"}])
    with pytest.raises(SpecError, match=r"spec.accelerator.class: .*did you mean h100\?"):
        render(service(accelerator={"class": "h10"}), plat, ClusterOptions())
    with pytest.raises(SpecError, match="there are none"):
        render(service(accelerator={"class": "h10"}), None, ClusterOptions())


@pytest.mark.parametrize(
    ("resource", "taints"),
    [
        ("nvidia.com/gpu", ["nvidia.com/gpu"]),
        ("nvidia.com/gpu.shared", ["nvidia.com/gpu", "nvidia.com/gpu.shared"]),  # time-sliced, told apart by its name
        ("nvidia.com/mig-1g.10gb", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb"]),
        ("amd.com/gpu", ["amd.com/gpu"]),
        ("google.com/tpu", ["google.com/tpu"]),
        ("aws.amazon.com/neuroncore", ["aws.amazon.com/neuron", "aws.amazon.com/neuroncore"]),
        ("habana.ai/gaudi", ["habana.ai/gaudi"]),
    ],
)
def test_accelerators_of_all_makers_are_limits_and_their_usual_taints_are_tolerated(resource, taints):
    plat = platform(acceleratorClasses=[{"name": "fast", "resourceName": resource}])
    for mode in Mode:
        found = render(service(accelerator={"class": "fast", "count": 2}), plat, ClusterOptions(mode=mode)).objects
        (workload,) = (obj for obj in found if obj["kind"] == "Deployment")
        pod = workload["spec"]["template"]["spec"]
        assert pod["containers"][0]["resources"]["limits"] == {resource: "2"}
        assert [one["key"] for one in pod["tolerations"]] == taints
        assert {(one["operator"], one["effect"]) for one in pod["tolerations"]} == {("Exists", "NoSchedule")}


def test_a_name_that_no_service_can_have():
    with pytest.raises(SpecError, match=r"metadata.name: 7b begins with a digit.*m-7b"):
        render(service("7b"), None, ClusterOptions())


def test_services_come_in_one_order_and_share_what_is_shared():
    plat = platform(gateway={"parentRefs": [{"name": "public"}], "hostnameTemplate": "{name}.example.com"})
    options = ClusterOptions(apis=frozenset({"gateway.networking.k8s.io/v1"}))
    services = [service("b"), service("a"), service("a", "other")]
    found = render_all(services, plat, options)
    assert found == render_all(services[::-1], plat, options)
    grants = [obj for obj in found.objects if obj["kind"] == "ReferenceGrant"]
    assert [one["metadata"]["name"] for one in grants] == ["plimsoll-other", "plimsoll-shop"]
    assert all(SERVICE_LABEL not in one["metadata"]["labels"] for one in grants)
    assert all(one["metadata"]["labels"][MANAGED_BY_LABEL] == "plimsoll" for one in grants)


def test_two_objects_of_one_name_are_named():
    with pytest.raises(SpecError, match=r"Service mood-pods has the name of one of shop/mood; rename"):
        render_all([service("mood-pods"), service("mood", workload="StatefulSet")], None, ClusterOptions())


def test_what_lives_elsewhere_says_for_whom():
    plat = platform(gateway={"hostnameTemplate": "{name}.{namespace}.example.com"})
    found = render(service(), plat, ClusterOptions(system_namespace="serving"))
    away = [obj for obj in found.objects if obj["metadata"]["namespace"] != "shop"]
    assert [(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in away] == [
        ("Ingress", "serving", "shop.mood")
    ]
    assert away[0]["metadata"]["labels"][NAMESPACE_LABEL] == "shop"


@pytest.mark.parametrize("name", CASES)
def test_no_secret_is_rendered(name):
    """Secrets are named, never held: no object is one, and whoever names one names a key or the whole."""
    for obj in CASES[name].rendered().objects:
        assert obj["kind"] != "Secret"
    text = to_yaml(CASES["mig"].rendered().objects)
    assert "FEATURE_TOKEN" in text
    assert "secretKeyRef" in text


def test_gateway_api_and_prometheus_operator_must_be_there():
    plat = platform(gateway={"parentRefs": [{"name": "public"}]}, monitoring="PodMonitor")
    found = render(service(), plat, ClusterOptions())
    assert {obj["kind"] for obj in found.objects}.isdisjoint({"HTTPRoute", "ReferenceGrant", "PodMonitor"})
    assert [line.partition(": ")[0] for line in found.notes] == [
        "Platform spec.gateway.parentRefs",
        "Platform spec.monitoring",
    ]


def test_a_pod_template_cannot_take_away_what_selects_the_pods():
    template = {"metadata": {"labels": {SERVICE_LABEL: "other", "team": "a"}}, "spec": {"hostNetwork": True}}
    found = render(service(podTemplate=template), None, ClusterOptions())
    deployment = next(obj for obj in found.objects if obj["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert (labels[SERVICE_LABEL], labels["team"]) == ("mood", "a")
    assert found.notes == ("spec.podTemplate: does not pass the restricted Pod Security level: hostNetwork: true",)


def test_a_team_policy_lets_in_the_gateway_and_out_to_the_store():
    model = {"uri": "https://models.example.com:8443/mood.onnx", "digest": f"sha256:{'0' * 64}"}
    found = render(service(model=model), None, ClusterOptions(system_namespace="serving"))
    policy = next(obj for obj in found.objects if obj["kind"] == "NetworkPolicy")["spec"]
    (gateway,), watchers = policy["ingress"][0]["from"], policy["ingress"][1]["from"]
    assert gateway["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "serving"}
    assert gateway["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "gateway"}
    assert len(watchers) == 2
    names, store = policy["egress"]
    assert {one["port"] for one in names["ports"]} == {53, 5353}
    assert store == {"ports": [{"protocol": "TCP", "port": 8443}]}
    no_model = render(service(), None, ClusterOptions())
    assert len(next(obj for obj in no_model.objects if obj["kind"] == "NetworkPolicy")["spec"]["egress"]) == 1


def work(count):
    """Calls of Python functions while that many services are rendered: the same on every machine."""
    import sys

    calls = 0

    def seen(_frame, event, _arg):
        nonlocal calls
        calls += event == "call"

    services = [service(f"mood-{index}") for index in range(count)]
    sys.setprofile(seen)
    try:
        render_all(services, None, ClusterOptions())
    finally:
        sys.setprofile(None)
    return calls


def test_work_grows_with_the_services_alone():
    work(1)
    few, many = work(10), work(100)
    assert many <= 10 * few * 1.05


PREEMPTING = {"disruption": {"noCapacity": ["Wait", "PreemptLower"]}}


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(-1_000_000, "plimsoll-low"), (-1, "plimsoll-low"), (0, "plimsoll-normal"), (1, "plimsoll-high")],
)
def test_services_take_others_place_by_their_priority_where_the_platform_says_so(priority, expected):
    assert priority_class(service(scaling={"priority": priority}), platform(**PREEMPTING)) == expected


@pytest.mark.parametrize("plat", [None, platform(), platform(disruption={"noCapacity": ["Wait", "Fallback"]})])
def test_elsewhere_all_have_one_priority(plat):
    assert priority_class(service(scaling={"priority": 5}), plat) is None


def test_a_priority_class_of_the_users_own_goes_before():
    one = service(podTemplate={"spec": {"priorityClassName": "online-gpu"}})
    assert priority_class(one, platform(**PREEMPTING)) == "online-gpu"


def test_without_plimsoll_installed_a_class_that_is_not_there_would_keep_every_pod_away():
    found = render_all([service()], platform(**PREEMPTING), ClusterOptions(mode=Mode.PLAIN))
    pods = [obj["spec"]["template"]["spec"] for obj in found.objects if obj["kind"] == "Deployment"]
    assert [pod.get("priorityClassName") for pod in pods] == [None]
    assert any("PreemptLower needs the PriorityClasses of plimsoll install" in note for note in found.notes)


def priority_class(one, plat):
    found = revision_of(one, plat, ClusterOptions())
    (workload,) = (obj for obj in found.objects if obj["kind"] == "Deployment")
    return workload["spec"]["template"]["spec"].get("priorityClassName")
