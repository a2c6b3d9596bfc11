"""What a replica gets of GPUs and their like: a device plugin's resource or a DRA claim, and the nodes that have it."""

import difflib
from dataclasses import dataclass

from plimsoll.backends.kubernetes.names import REVISION_LABEL
from plimsoll.backends.kubernetes.objects import Obj, without_empty
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.spec.platform_cluster import AcceleratorClass

CLAIM = "accelerator"
_DRA_V1_MINOR = 34  # resource.k8s.io/v1; before it v1beta1, whose requests are flat

# Taints that clouds and operators put on such nodes, by a resource's domain; beside them the resource's own name, as
# the ExtendedResourceToleration admission plugin has it.
_TAINTS = {
    "nvidia.com": "nvidia.com/gpu",
    "amd.com": "amd.com/gpu",
    "google.com": "google.com/tpu",
    "aws.amazon.com": "aws.amazon.com/neuron",
}
_DEVICE_TAINTS = {"gpu.nvidia.com": "nvidia.com/gpu", "mig.nvidia.com": "nvidia.com/gpu", "gpu.amd.com": "amd.com/gpu"}


@dataclass(frozen=True, slots=True)
class Devices:
    """`resources` are merged into the container's, `claims` are the pod's, `objects` belong to the revision."""

    resources: Obj
    claims: tuple[Obj, ...] = ()
    objects: tuple[Obj, ...] = ()
    node_selector: Obj | None = None
    tolerations: tuple[Obj, ...] = ()


def devices(scene: Scene, revision: str) -> Devices | None:
    """None where the service asks for none. Raises SpecError for a class that the platform doesn't have."""
    wanted = scene.service.spec.accelerator
    if wanted is None:
        return None
    found = _class(scene, wanted.class_)
    selector = dict(found.node_selector)
    node = None if found.node_class is None or scene.platform is None else scene.platform.node_class(found.node_class)
    if node is not None:
        selector = dict(node.selector) | selector
    tolerations = tuple(_tolerations(found))
    if found.resource_name is not None:
        # Extended resources can't be overcommitted: the limit is the request too.
        limits = {found.resource_name: str(wanted.count)}
        return Devices({"limits": limits}, node_selector=selector, tolerations=tolerations)
    return Devices(
        {"claims": [{"name": CLAIM}]},
        claims=({"name": CLAIM, "resourceClaimTemplateName": revision},),
        objects=(_claim_template(scene, revision, found.device_class_name or "", wanted.count),),
        node_selector=selector,
        tolerations=tolerations,
    )


def _class(scene: Scene, name: str) -> AcceleratorClass:
    known = [] if scene.platform is None else [one.name for one in scene.platform.spec.accelerator_classes]
    found = None if scene.platform is None else scene.platform.accelerator_class(name)
    if found is not None:
        return found
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        expected = f"did you mean {near[0]}?"
    elif known:
        expected = f"there are: {', '.join(known)}"
    else:
        expected = "there are none; the platform team writes them into the Platform's acceleratorClasses"
    raise scene.service.problem("spec.accelerator.class", f"no accelerator class is named {name}; {expected}")


def _tolerations(found: AcceleratorClass) -> list[Obj]:
    keys: list[str] = []
    if found.resource_name is not None:
        keys += [_TAINTS.get(found.resource_name.partition("/")[0], found.resource_name), found.resource_name]
    elif found.device_class_name in _DEVICE_TAINTS:
        keys.append(_DEVICE_TAINTS[found.device_class_name])
    customary: list[Obj] = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in dict.fromkeys(keys)]
    written: list[Obj] = []
    for one in found.tolerations:
        fields = {"key": one.key or None, "operator": one.operator, "value": one.value or None, "effect": one.effect}
        written.append(without_empty(fields))
    return customary + [one for one in written if one not in customary]


def _claim_template(scene: Scene, revision: str, device_class: str, count: int) -> Obj:
    exactly: Obj = {"deviceClassName": device_class, "allocationMode": "ExactCount", "count": count}
    newer = scene.options.minor >= _DRA_V1_MINOR
    if not newer:
        why = "is off by default before Kubernetes 1.34; its feature gate and its API group must be on"
        scene.note("spec.accelerator", f"dynamic resource allocation {why}")
    request: Obj = {"name": CLAIM, "exactly": exactly} if newer else {"name": CLAIM} | exactly
    return {
        "apiVersion": "resource.k8s.io/v1" if newer else "resource.k8s.io/v1beta1",
        "kind": "ResourceClaimTemplate",
        "metadata": scene.meta(revision, labels={REVISION_LABEL: revision}),
        "spec": {"spec": {"devices": {"requests": [request]}}},
    }
