"""The keys that only a cluster honours: accelerators, pods, routes from outside, the model cache."""

from math import inf

import pytest

from plimsoll.spec import (
    Documents,
    ModelService,
    Platform,
    SpecErrors,
    bounds_of,
    check_together,
    load_all_text,
    not_honoured,
    price_per_hour,
    share_of,
)

SERVICE = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\nspec:\n"
PLATFORM = "apiVersion: plimsoll.dev/v1alpha1\nkind: Platform\nmetadata: {name: default}\nspec:\n"
TENANT = "apiVersion: plimsoll.dev/v1alpha1\nkind: Tenant\nmetadata: {name: shop}\nspec:\n"
DIGEST = "sha256:" + "4b1d6f0c" * 8

EVERY_KEY = f"""\
  model:
    format: ONNX
    uri: oci://registry.example.com:5000/models/fraud:7
    digest: {DIGEST}
    secretRef: {{name: registry}}
  runtime:
    image: registry.example.com/shop/fraud:1.2
    env:
    - {{name: LOG_LEVEL, value: info}}
    - {{name: FEATURES_KEY, secretRef: {{name: features, key: token}}}}
  accelerator: {{class: h100-1g, count: 2}}
  workload: StatefulSet
  volumeClaims: [{{name: data, size: 10Gi, mountPath: /data, storageClassName: fast}}]
  podTemplate:
    metadata: {{labels: {{team: risk}}, annotations: {{example.com/note: here}}}}
    spec: {{priorityClassName: online-gpu, tolerations: [{{key: nvidia.com/gpu, operator: Exists}}]}}
"""

NODES = """\
  nodeClasses:
  - {name: cpu, pricePerHour: "0.80", capacity: {cpu: "16", memory: 32Gi}}
  - {name: h100, pricePerHour: "8.00", capacity: {cpu: "64", memory: 512Gi, accelerators: 8}}
"""
EVERY_PLATFORM_KEY = f"""\
  gateway:
    parentRefs: [{{name: public, namespace: gateways, sectionName: https}}]
    hostnameTemplate: "{{name}}.{{namespace}}.infer.example.com"
    ingressClassName: nginx
    tls: {{issuerRef: {{name: letsencrypt, kind: ClusterIssuer}}, secretName: infer-tls}}
    replicaTls: Required
{NODES}  acceleratorClasses:
  - {{name: h100-1g, resourceName: nvidia.com/mig-1g.10gb, memory: 10Gi, nodeClass: h100, share: 1/7}}
  - name: h100
    deviceClassName: gpu.nvidia.com
    nodeClass: h100
    nodeSelector: {{nvidia.com/gpu.product: NVIDIA-H100-80GB}}
    tolerations: [{{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}}]
  disruption: {{noCapacity: [Wait, PreemptLower, Fallback]}}
  modelCache: {{type: HostPath, path: /var/lib/models, size: 200Gi}}
  networkPolicy: Enabled
  monitoring: ServiceMonitor
"""


def service(spec: str, *, model: str = "{path: m.py}") -> ModelService:
    head = SERVICE if spec.startswith("  model:") else f"{SERVICE}  model: {model}\n"
    (found,) = load_all_text(head + spec, file="s.yaml").services
    return found


def platform(spec: str) -> Platform:
    found = load_all_text(PLATFORM + spec, file="p.yaml").platform
    assert found is not None
    return found


def problem(text: str) -> str:
    with pytest.raises(SpecErrors) as caught:
        load_all_text(text, file="f.yaml")
    (error,) = caught.value.errors
    return f"{error.key}: {error.message}"


def test_every_key_is_read_and_given_back() -> None:
    one = service(EVERY_KEY)
    assert ModelService.parse(one.dump()) == one
    spec = one.spec
    assert (spec.model.uri, spec.model.digest) == ("oci://registry.example.com:5000/models/fraud:7", DIGEST)
    assert spec.accelerator is not None
    assert (spec.accelerator.class_, spec.accelerator.count) == ("h100-1g", 2)
    assert spec.pod_template is not None
    assert spec.pod_template.spec["priorityClassName"] == "online-gpu"
    assert [(env.name, env.value) for env in spec.runtime.env] == [("LOG_LEVEL", "info"), ("FEATURES_KEY", None)]
    assert (one.is_packed, one.in_image, one.namespace, one.model_format) == (True, False, "", "ONNX")
    assert not_honoured(one, "kubernetes") == []
    assert [line.partition(":")[0] for line in not_honoured(one)] == [
        "spec.runtime.image",
        "spec.runtime.env",
        "spec.accelerator",
        "spec.workload",
        "spec.volumeClaims",
        "spec.podTemplate",
    ]


def test_every_key_of_a_platform_is_read_and_told() -> None:
    one = platform(EVERY_PLATFORM_KEY)
    assert Platform.parse(one.dump()) == one
    assert one.host_of("fraud", "shop") == "fraud.shop.infer.example.com"
    gpu = one.accelerator_class("h100-1g")
    assert gpu is not None
    assert gpu.of_one == pytest.approx(1 / 7)
    assert one.accelerator_class("a100") is None
    assert one.node_class("h100") is not None
    assert one.node_class("a100") is None
    assert not_honoured(one, "kubernetes") == []
    assert [line.partition(":")[0] for line in not_honoured(one)] == [
        "spec.nodeClasses",
        "spec.gateway.parentRefs",
        "spec.gateway.hostnameTemplate",
        "spec.gateway.ingressClassName",
        "spec.gateway.tls",
        "spec.gateway.replicaTls",
        "spec.acceleratorClasses",
        "spec.disruption",
        "spec.modelCache",
        "spec.networkPolicy",
        "spec.monitoring",
    ]


def test_an_hpa_may_look_at_memory_too() -> None:
    one = service("  scaling: {policy: HPA, writer: HPA, maxReplicas: 3, hpa: {target: 50%, memoryTarget: 60%}}\n")
    assert one.spec.scaling.hpa is not None
    assert one.spec.scaling.hpa.memory_target == "60%"
    assert "spec.scaling.hpa.memoryTarget: memory doesn't count here; the metric alone decides" in not_honoured(one)
    assert not_honoured(one, "kubernetes") == []


def test_defaults() -> None:
    bare = service("")
    assert (bare.spec.workload, bare.spec.volume_claims, bare.spec.runtime.env) == ("Deployment", (), ())
    assert (bare.spec.accelerator, bare.spec.pod_template, bare.is_packed) == (None, None, False)
    spec = platform("  {}\n").spec
    assert (spec.gateway.replica_tls, spec.network_policy, spec.monitoring) == ("Disabled", "Enabled", "None")
    assert (spec.model_cache.type, spec.disruption.no_capacity) == ("None", ("Wait",))
    assert platform("  modelCache: {type: HostPath}\n").spec.model_cache.folder == "/var/lib/plimsoll/models"
    assert platform("  {}\n").host_of("a", "b") is None


@pytest.mark.parametrize(
    ("steps", "holds_s", "preempts"),
    [
        ("Wait", inf, False),
        ("PreemptLower", inf, True),
        ("Fallback", 0.0, False),
        ("PreemptLower, Fallback", 0.0, True),
        ("Wait, Fallback", 20.0, False),
        ("Wait, PreemptLower, Fallback", 20.0, True),
        ("Fallback, Wait", inf, False),
    ],
)
def test_what_happens_without_room_in_order(steps: str, holds_s: float, preempts: bool) -> None:
    disruption = platform(f"  disruption: {{noCapacity: [{steps}]}}\n").spec.disruption
    assert (disruption.holds_s(20.0), disruption.preempts) == (holds_s, preempts)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("runtime: {image: 'https://x/y'}", "spec.runtime.image: 'https://x/y' has a scheme; write 'x/y'"),
        (
            "runtime: {image: 'Bad Image'}",
            "spec.runtime.image: 'Bad Image' is no image; expected one such as registry.",
        ),
        ("runtime: {env: [{name: A}]}", "spec.runtime.env[0].value: missing; expected value: TEXT, or secretRef"),
        (
            "runtime: {env: [{name: A, value: b, secretRef: {name: a, key: b}}]}",
            "spec.runtime.env[0].secretRef: stands beside value, and a variable has one; remove one of them",
        ),
        ("runtime: {env: [{name: PLIMSOLL_X, value: b}]}", "spec.runtime.env[0].name: PLIMSOLL_X is the server's own"),
        ("runtime: {env: [{name: POD_IP, value: b}]}", "spec.runtime.env[0].name: POD_IP is the server's own"),
        ("runtime: {env: [{name: a-b, value: b}]}", "spec.runtime.env[0].name: 'a-b' is no name of a variable"),
        (
            "runtime: {env: [{name: A, value: b}, {name: A, value: c}]}",
            "spec.runtime.env[1].name: A is the name of env[0] too; remove one",
        ),
        ("runtime: {env: {A: b}}", "spec.runtime.env: expected a list"),
        (
            "accelerator: {count: 1}",
            "spec.accelerator.class: missing; expected one of the platform's acceleratorClasses",
        ),
        ("accelerator: {class: h100, count: 0}", "spec.accelerator.count: 0 is too small; expected 1 or more"),
        ("accelerator: {klass: h100}", "spec.accelerator"),
        ("workload: DaemonSet", "spec.workload: 'DaemonSet' is not one of Deployment or StatefulSet"),
        (
            "volumeClaims: [{name: a, size: 1Gi, mountPath: /data}]",
            "spec.volumeClaims: only a StatefulSet has claims of its own; write workload: StatefulSet, or remove them",
        ),
        (
            "workload: StatefulSet\n  volumeClaims: [{name: a, size: 1Gi, mountPath: /model/x}]",
            "spec.volumeClaims[0].mountPath: '/model/x' is taken by the server or the system; expected a path outside",
        ),
        (
            "workload: StatefulSet\n  volumeClaims: [{name: a, size: 1Gi, mountPath: data}]",
            "spec.volumeClaims[0].mountPath: 'data' is no absolute path in a container",
        ),
        (
            "workload: StatefulSet\n"
            "  volumeClaims: [{name: a, size: 1Gi, mountPath: /a}, {name: b, size: 1Gi, mountPath: /a/}]",
            "spec.volumeClaims[1].mountPath: /a is that of volumeClaims[0] too; expected another",
        ),
        (
            "scaling: {policy: HPA, hpa: {memoryTarget: 60%}}",
            "spec.scaling.hpa.memoryTarget: only Kubernetes' HPA measures memory; write writer: HPA, or remove it",
        ),
        (
            "scaling: {policy: HPA, writer: HPA, hpa: {memoryTarget: '60'}}",
            "spec.scaling.hpa.memoryTarget: 60 is no whole percentage; expected a share of the request, such as 60%",
        ),
        ("podTemplate: {spec: []}", "spec.podTemplate.spec: expected a mapping, not a list"),
        ("podTemplate: {sepc: {}}", "spec.podTemplate.sepc: unknown key; did you mean spec?"),
        ("podTemplate: {spec: {containers: {}}}", "spec.podTemplate.spec.containers: expected a list"),
        (
            "podTemplate: {spec: {containers: [{image: x}]}}",
            "spec.podTemplate.spec.containers[0].name: missing; entries are merged by name (the server's container:",
        ),
        (
            "podTemplate: {spec: {nodeName: }}",
            "spec.podTemplate.spec.nodeName: has no value; give it one or remove the",
        ),
    ],
)
def test_one_wrong_key(spec: str, expected: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        load_all_text(f"{SERVICE}  model: {{path: m.py}}\n  {spec}\n")
    assert expected in f"{caught.value.errors[0].key}: {caught.value.errors[0].message}"


def test_a_pod_template_is_bounded() -> None:
    told = problem(f"{SERVICE}  model: {{path: m.py}}\n  podTemplate: {{spec: {{hostname: {'x' * 70_000}}}}}\n")
    assert told.startswith("spec.podTemplate.spec: has 70,0")
    assert "expected at most 65,536" in told


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "gateway: {hostnameTemplate: infer.example.com}",
            "spec.gateway.hostnameTemplate: gives all services one host",
        ),
        (
            "gateway: {hostnameTemplate: '{name}.{team}.x'}",
            "spec.gateway.hostnameTemplate: {team} is unknown; expected",
        ),
        (
            "gateway: {hostnameTemplate: '{name}_x.example.com'}",
            "is no host name; expected one such as {name}.{namespa",
        ),
        ("gateway: {parentRefs: [{namespace: a}]}", "spec.gateway.parentRefs[0].name: missing"),
        ("gateway: {replicaTls: true}", "spec.gateway.replicaTls"),
        (
            "gateway: {tls: {}}",
            "spec.gateway.tls: has no certificate; expected secretName: NAME or issuerRef: {name: …}",
        ),
        ("acceleratorClasses: [{name: a}]", "spec.acceleratorClasses[0]: names nothing to ask for; expected resourceN"),
        (
            "acceleratorClasses: [{name: a, resourceName: nvidia.com/gpu, deviceClassName: gpu.nvidia.com}]",
            "spec.acceleratorClasses[0].deviceClassName: stands beside resourceName, and a class is one of them",
        ),
        (
            "acceleratorClasses: [{name: a, resourceName: gpu}]",
            "'gpu' is no extended resource; expected one such as nvi",
        ),
        (
            "acceleratorClasses: [{name: a, resourceName: x.y/gpu, nodeClass: h100}]",
            "spec.acceleratorClasses[0].nodeClass: no node class is named h100; there are none",
        ),
        ("acceleratorClasses: [{name: a, resourceName: x.y/gpu, share: 7/1}]", "'7/1' is no part of a whole; expected"),
        (
            "acceleratorClasses: [{name: a, resourceName: x.y/gpu}, {name: a, resourceName: x.y/gpu}]",
            "spec.acceleratorClasses[1].name: a is the name of acceleratorClasses[0] too; expected another",
        ),
        (
            "acceleratorClasses: [{name: a, resourceName: x.y/g, tolerations: [{operator: Exists, value: a}]}]",
            "tolerations[0].value: Exists takes any value; remove it, or write operator: Equal",
        ),
        ("disruption: {noCapacity: []}", "spec.disruption.noCapacity: expected at least 1 entry"),
        (
            "disruption: {noCapacity: [Wait, Wait]}",
            "spec.disruption.noCapacity[1]: Wait stands there twice; remove one",
        ),
        ("modelCache: {type: PVC}", "spec.modelCache.size: missing; a PVC needs it: size: 100Gi"),
        (
            "modelCache: {size: 1Gi}",
            "spec.modelCache.size: belongs to type: HostPath or PVC; remove it, or choose that",
        ),
        (
            "modelCache: {type: PVC, size: 1Gi, path: /a/b}",
            "spec.modelCache.path: belongs to type: HostPath; remove it",
        ),
        (
            "modelCache: {type: HostPath, path: /}",
            "spec.modelCache.path: '/' is no folder of its own on a node; expected",
        ),
        ("networkPolicy: No", "spec.networkPolicy: 'No' is not one of Enabled or Disabled"),
        ("monitoring: Prometheus", "spec.monitoring: 'Prometheus' is not one of None, ServiceMonitor or PodMonitor"),
    ],
)
def test_one_wrong_key_of_a_platform(spec: str, expected: str) -> None:
    assert expected in problem(f"{PLATFORM}  {spec}\n")


def test_an_accelerators_class_is_looked_for_on_the_platform() -> None:
    asks = service("  accelerator: {class: h100-2g}\n")
    check_together(Documents(services=(asks,)))
    with pytest.raises(SpecErrors, match=r"spec.accelerator.class: the platform has no .* named h100-2g; did you mean"):
        check_together(Documents(services=(asks,), platforms=(platform(EVERY_PLATFORM_KEY),)))
    with pytest.raises(SpecErrors, match="h100-2g; it has none"):
        check_together(Documents(services=(asks,), platforms=(platform("  {}\n"),)))
    check_together(
        Documents(services=(service("  accelerator: {class: h100}\n"),), platforms=(platform(EVERY_PLATFORM_KEY),))
    )


def test_a_replica_with_an_accelerator_is_priced_where_it_is() -> None:
    there = platform(EVERY_PLATFORM_KEY)
    whole, slice_ = service("  accelerator: {class: h100, count: 2}\n"), service("  accelerator: {class: h100-1g}\n")
    plain, unknown = service(""), service("  accelerator: {class: a100}\n")
    cpu, gpu = there.spec.node_classes
    assert share_of(whole, gpu, there) == 2 / 8
    assert share_of(whole, cpu, there) is None
    assert share_of(slice_, gpu, there) == pytest.approx(1 / 56)  # a seventh of an eighth, above its 1/64 of the cores
    assert price_per_hour(whole, there) == 2.0
    assert price_per_hour(plain, there) == pytest.approx(0.05)
    assert price_per_hour(unknown, there) is None
    assert share_of(service("  accelerator: {class: h100, count: 9}\n"), gpu, there) is None
    assert bounds_of(whole, there).price_per_hour == 2.0
