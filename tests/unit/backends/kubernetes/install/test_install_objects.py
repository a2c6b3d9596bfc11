"""Everything of an installation: right where it counts, and the same each time."""

import subprocess
import sys

import pytest
from kubernetes_validate import validate

from plimsoll.backends.kubernetes.install import system_objects, values_of
from plimsoll.backends.kubernetes.install.pieces import PIECES
from plimsoll.backends.kubernetes.names import FINALIZER, GROUP
from plimsoll.backends.kubernetes.objects import key_of, to_yaml

EVERYTHING = """
metricsApis: {external: true, custom: true}
modelCache: {enabled: true, nodeSelector: {gpu: "true"}}
secrets: {namespaces: [shop, bank]}
prePull: [{name: mood, image: "registry.example.com/mood:3"}]
balloons:
- {name: gpu, resources: {limits: {nvidia.com/gpu: 1}}, tolerations: [{key: nvidia.com/gpu, operator: Exists}]}
gateway: {service: {type: LoadBalancer, annotations: {a.example.com/b: c}}}
"""
PODS = {"Deployment", "DaemonSet"}


def objects(text=""):
    return system_objects(values_of(text))


def one(found, kind, name):
    return next(obj for obj in found if obj["kind"] == kind and obj["metadata"]["name"] == name)


def pods(found):
    return {
        (obj["kind"], obj["metadata"]["name"]): obj["spec"]["template"]["spec"] for obj in found if obj["kind"] in PODS
    }


@pytest.mark.parametrize("text", ["", EVERYTHING, "gateway: {autoscaling: {enabled: false}}"])
@pytest.mark.parametrize("minor", ["1.33", "1.36"])
def test_every_object_has_the_shape_that_kubernetes_expects(text, minor):
    for obj in objects(text):
        if obj["kind"] != "APIService":  # kubernetes-validate has no schema for aggregated APIs
            validate(obj, minor, strict=True)


@pytest.mark.parametrize("text", ["", EVERYTHING])
def test_no_two_objects_have_one_name_and_the_namespace_comes_first(text):
    keys = [key_of(obj) for obj in objects(text)]
    assert len(keys) == len(set(keys))
    assert keys[0].kind == "Namespace"
    made = [key.name for key in keys if key.kind == "Namespace"]
    assert {key.namespace for key in keys} <= {"", "kube-system", *made, "shop", "bank"}


def test_the_bytes_are_the_same_in_another_process():
    code = (
        "from plimsoll.backends.kubernetes.install import *; from plimsoll.backends.kubernetes.objects import to_yaml;"
        "print(to_yaml(system_objects(values_of())), end='')"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert other.stdout == to_yaml(objects())


def test_every_pod_passes_restricted_but_the_one_that_needs_a_folder_of_the_node():
    found = objects(EVERYTHING)
    broken = {name for (_, name), spec in pods(found).items() if list(unrestricted(spec))}
    assert broken == {"plimsoll-model-cache"}
    cache = one(found, "DaemonSet", "plimsoll-model-cache")
    home = one(found, "Namespace", cache["metadata"]["namespace"])
    assert home["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    others = {obj["metadata"]["namespace"] for obj in found if obj["kind"] in PODS} - {home["metadata"]["name"]}
    assert others == {"plimsoll-system"}
    system = one(found, "Namespace", "plimsoll-system")
    assert system["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def unrestricted(spec):
    """What https://kubernetes.io/docs/concepts/security/pod-security-standards/ forbids at `restricted`."""
    whole = spec["securityContext"]
    allowed = {
        "configMap",
        "emptyDir",
        "projected",
        "secret",
        "downwardAPI",
        "csi",
        "persistentVolumeClaim",
        "ephemeral",
    }
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= allowed:
            yield f"volume {volume['name']}"
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(flag):
            yield flag
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = container["securityContext"]
        if own.get("runAsUser", whole.get("runAsUser")) == 0 or not own.get("runAsNonRoot", whole.get("runAsNonRoot")):
            yield f"{container['name']} may be root"
        if own["allowPrivilegeEscalation"] or own["capabilities"]["drop"] != ["ALL"]:
            yield f"{container['name']} may gain rights"
        if set(own["capabilities"].get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{container['name']} adds capabilities"
        if whole["seccompProfile"]["type"] != "RuntimeDefault":
            yield "seccomp"


def test_the_check_for_restricted_finds_each_offence():
    good = next(iter(pods(objects()).values()))
    assert not list(unrestricted(good))
    assert list(unrestricted(good | {"hostNetwork": True})) == ["hostNetwork"]
    assert list(unrestricted(good | {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]})) == ["volume a"]
    root = good["containers"][0] | {"securityContext": good["containers"][0]["securityContext"] | {"runAsUser": 0}}
    assert list(unrestricted(good | {"containers": [root]})) == [f"{root['name']} may be root"]


def test_every_mount_has_its_volume_and_every_port_of_a_service_its_container():
    found = objects(EVERYTHING)
    for spec in pods(found).values():
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    for service in (obj for obj in found if obj["kind"] == "Service"):
        chosen = service["spec"]["selector"].items()
        behind = [
            obj["spec"]["template"]
            for obj in found
            if obj["kind"] in PODS and chosen <= obj["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(behind) == 1
        named = {port["name"] for port in behind[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_a_gateway_has_time_to_leave_and_a_count_only_where_nothing_scales_it():
    scaled = one(objects(), "Deployment", "plimsoll-gateway")["spec"]
    assert "replicas" not in scaled
    assert one(objects(), "HorizontalPodAutoscaler", "plimsoll-gateway")["spec"]["minReplicas"] == 2
    pod = scaled["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > sleep > 0
    assert scaled["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    fixed = objects("gateway: {replicas: 3, autoscaling: {enabled: false}}")
    assert one(fixed, "Deployment", "plimsoll-gateway")["spec"]["replicas"] == 3
    assert not [obj for obj in fixed if obj["kind"] == "HorizontalPodAutoscaler"]


def test_another_namespace_is_meant_everywhere():
    found = objects("namespace: models")
    assert "plimsoll-system" not in to_yaml(obj for obj in found if obj["kind"] != "PriorityClass").replace(
        "priorityClassName: plimsoll-system", ""
    )


def test_what_another_may_own_is_off_until_it_is_asked_for():
    assert not [obj for obj in objects() if obj["kind"] == "APIService"]
    apis = [obj for obj in objects(EVERYTHING) if obj["kind"] == "APIService"]
    assert [obj["metadata"]["name"] for obj in apis] == [
        "v1beta1.external.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io",
    ]  # fmt: skip
    assert {obj["spec"]["service"]["name"] for obj in apis} == {"plimsoll-controller-api"}


def test_the_webhook_never_holds_anything_up():
    hook = one(objects(), "ValidatingWebhookConfiguration", "plimsoll-operator")["webhooks"][0]
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Ignore", 2, "None")
    assert "caBundle" not in hook["clientConfig"]  # the operator's own field
    assert not [obj for obj in objects("webhook: {enabled: false}") if obj["kind"].startswith("Validating")]


def test_balloons_give_way_to_everybody_and_cluster_autoscaler_still_brings_nodes_for_them():
    found = objects(EVERYTHING)
    spec = one(found, "Deployment", "plimsoll-balloon-gpu")["spec"]["template"]["spec"]
    assert (spec["priorityClassName"], spec["terminationGracePeriodSeconds"]) == ("plimsoll-balloon", 0)
    assert spec["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    value = {obj["metadata"]["name"]: obj["value"] for obj in found if obj["kind"] == "PriorityClass"}
    assert -10 <= value["plimsoll-balloon"] < min(value[name] for name in value if name != "plimsoll-balloon") < 0
    ours = ("plimsoll-balloon", "plimsoll-low", "plimsoll-normal", "plimsoll-high", "plimsoll-system")
    assert sorted(value, key=value.__getitem__) == list(ours)
    assert value["plimsoll-normal"] == 0, "as a pod without a class"
    never = {obj["metadata"]["name"] for obj in found if obj.get("preemptionPolicy") == "Never"}
    assert never == {"plimsoll-balloon"}, "any other may have a balloon's room"


def test_pieces_have_one_name_each():
    names = [piece.name for piece in PIECES]
    assert len(names) == len(set(names))
    assert FINALIZER.startswith(GROUP)


def test_pods_are_spread_among_those_of_their_own_revision():
    """Else a roll drives all new pods away from the nodes where the old ones were."""
    for (kind, name), pod in pods(objects()).items():
        if kind != "Deployment":
            continue
        (avoided,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        (zones,) = pod["topologySpreadConstraints"]
        for term in (avoided["podAffinityTerm"], zones):
            assert term["matchLabelKeys"] == ["pod-template-hash"], name
