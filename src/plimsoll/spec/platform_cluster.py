"""The keys of a `Platform` that a cluster honours: routes from outside, accelerators, the model cache, disruption."""

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from plimsoll.spec.base import Part
from plimsoll.spec.nodes import NodeClass
from plimsoll.spec.pod_values import HostPath, PartOfOne, ResourceName, Subdomain
from plimsoll.spec.values import DnsLabel, Labels, Memory, problem_at, shown
from plimsoll.spec.web_values import SecretName

_PLACES = re.compile(r"\{([^{}]*)\}")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+\Z")


def _check_template(value: str) -> str:
    places = _PLACES.findall(value)
    for place in places:
        if place not in {"name", "namespace"}:
            raise ValueError(f"{{{place[:40]}}} is unknown; expected {{name}} and {{namespace}}")
    if "name" not in places:
        raise ValueError("gives all services one host; expected {name} in it: {name}.{namespace}.infer.example.com")
    if len(value) > 253 or not _HOST.match(_PLACES.sub("a", value)):
        raise ValueError(
            f"{shown(value)} is no host name; expected one such as {{name}}.{{namespace}}.infer.example.com"
        )
    return value


HostTemplate = Annotated[
    str, AfterValidator(_check_template), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 253})
]


class ParentRef(Part):
    """A Gateway of the Gateway API."""

    name: Subdomain = Field(description="The Gateway's name.")
    namespace: DnsLabel | None = Field(default=None, description="Its namespace. Default: the route's own.")
    section_name: Subdomain | None = Field(
        default=None, description="The one of its listeners that is meant. Default: all that fit."
    )


class IssuerRef(Part):
    """Who signs, as cert-manager names it."""

    name: Subdomain = Field(description="The issuer's name.")
    kind: Literal["Issuer", "ClusterIssuer"] = Field(
        default="ClusterIssuer", description="Issuer: one of the namespace. ClusterIssuer: one for all."
    )


class GatewayTls(Part):
    """The certificate for hosts outside the cluster: a secret that is given, or one that cert-manager keeps."""

    secret_name: SecretName | None = Field(
        default=None,
        description="The secret with tls.crt and tls.key. Default: with issuerRef a name after the service's.",
    )
    issuer_ref: IssuerRef | None = Field(
        default=None,
        validate_default=True,
        description="The cert-manager issuer that fills the secret and renews it. Default: none; the secret is given.",
    )

    @field_validator("issuer_ref")
    @classmethod
    def _somebody_makes_it(cls, ref: IssuerRef | None, info: ValidationInfo) -> IssuerRef | None:
        if ref is None and info.data.get("secret_name", "") is None:
            problem_at(("..",), "has no certificate; expected secretName: NAME or issuerRef: {name: …}")
        return ref


class Toleration(Part):
    """A taint that replicas put up with, as Kubernetes writes it."""

    key: str = Field(default="", max_length=317, description="The taint's key. Default: any.")
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal", description="Exists: whatever its value. Equal: with this value."
    )
    value: str = Field(default="", max_length=63, description='The taint\'s value, for Equal. Default: "".')
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect. Default: any."
    )

    @field_validator("value")
    @classmethod
    def _value_is_compared(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("operator") == "Exists":
            raise ValueError("Exists takes any value; remove it, or write operator: Equal")
        return value


class AcceleratorClass(Part):
    """Something a service may ask for with `accelerator`; it hides how the cluster hands it out."""

    name: DnsLabel = Field(description="What services ask for: h100-1g.")
    resource_name: ResourceName | None = Field(
        default=None,
        description="The extended resource of a device plugin: nvidia.com/gpu, nvidia.com/mig-1g.10gb, google.com/tpu, "
        "aws.amazon.com/neuron, amd.com/gpu. Default: none; deviceClassName names it.",
    )
    device_class_name: Subdomain | None = Field(
        default=None,
        validate_default=True,
        description="The DeviceClass of dynamic resource allocation: gpu.nvidia.com. Default: none; resourceName names "
        "it.",
    )
    memory: Memory | None = Field(default=None, description="What one has of its own memory: 80Gi. Default: not known.")
    node_class: DnsLabel | None = Field(
        default=None,
        description="The one of nodeClasses that has it: whose price counts, and whose selector its pods get. Default: "
        "any node, at no known price.",
    )
    share: PartOfOne = Field(
        default="1/1", description="Which part of a whole device one is: 1/7 for a slice of a seventh."
    )
    node_selector: Labels = Field(
        default_factory=dict, description="Labels that a node must have, beside its class's. Default: none."
    )
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False, max_length=64)] = Field(
        default=(), description="Taints that its pods put up with. Default: none."
    )

    @field_validator("device_class_name")
    @classmethod
    def _one_name(cls, device: str | None, info: ValidationInfo) -> str | None:
        if "resource_name" not in info.data:
            return device
        resource = info.data["resource_name"]
        if device is None and resource is None:
            problem_at(("..",), "names nothing to ask for; expected resourceName: nvidia.com/gpu or deviceClassName: …")
        if device is not None and resource is not None:
            raise ValueError("stands beside resourceName, and a class is one of them; remove one")
        return device

    @property
    def of_one(self) -> float:
        """The share as a number: 0.142857… for 1/7."""
        over, under = self.share.split("/")
        return int(over) / int(under)


class Disruption(Part):
    """What gives way."""

    no_capacity: Annotated[
        tuple[Literal["Wait", "PreemptLower", "Fallback"], ...], Field(strict=False, min_length=1, max_length=3)
    ] = Field(
        default=("Wait",),
        description="What happens when no node has room for a replica. PreemptLower: it gets the place of replicas of "
        "lower scaling.priority, wherever the word stands. Wait: requests that no fallback answers are held for it, up "
        "to scaling.hold. Fallback: they are refused at once instead; behind Wait, once a replica has waited for "
        "scaling.hold.",
    )

    @field_validator("no_capacity")
    @classmethod
    def _each_once(cls, steps: tuple[str, ...]) -> tuple[str, ...]:
        for index, step in enumerate(steps):
            if step in steps[:index]:
                problem_at((index,), f"{step} stands there twice; remove one")
        return steps

    @property
    def preempts(self) -> bool:
        return "PreemptLower" in self.no_capacity

    def holds_s(self, hold_s: float) -> float:
        """For how long after a replica found no room requests are still held for it, with the service's `hold_s`;
        infinite where the list does not end that."""
        steps = self.no_capacity
        if "Fallback" not in steps:
            return math.inf
        if "Wait" not in steps:
            return 0.0
        return hold_s if steps.index("Wait") < steps.index("Fallback") else math.inf


class ModelCache(Part):
    """Where a model's artifact is kept between pods."""

    type: Literal["None", "HostPath", "PVC"] = Field(
        default="None",
        description="None: each pod fetches for itself. HostPath: once a node, ahead of the pods. PVC: once a "
        "namespace, on a volume that many nodes mount (ReadWriteMany).",
    )
    path: HostPath | None = Field(
        default=None, description="HostPath: the folder on the nodes. Default: /var/lib/plimsoll/models, for HostPath."
    )
    size: Memory | None = Field(
        default=None,
        validate_default=True,
        description="The most it holds, or the volume's size; what was used longest ago goes first. Required for PVC. "
        "Default: no bound, for HostPath.",
    )
    storage_class_name: Subdomain | None = Field(
        default=None, description="PVC: the volume's storage class. Default: the cluster's default."
    )

    @field_validator("path", "size", "storage_class_name")
    @classmethod
    def _fields_fit_type(cls, value: object, info: ValidationInfo) -> object:
        kind, field = info.data.get("type"), str(info.field_name)
        if kind == "PVC" and field == "size" and value is None:
            raise ValueError("missing; a PVC needs it: size: 100Gi")
        fits = {"path": "HostPath", "storage_class_name": "PVC"}.get(field)
        if value and kind is not None and (kind == "None" or fits not in {None, kind}):
            raise ValueError(f"belongs to type: {fits or 'HostPath or PVC'}; remove it, or choose that type")
        return value

    @property
    def folder(self) -> str:
        return self.path or "/var/lib/plimsoll/models"


def check_accelerator_classes(classes: tuple[AcceleratorClass, ...], nodes: tuple[NodeClass, ...] | None) -> None:
    """Fails validation where two have one name, or one is on a node class that isn't there. `nodes`: None where they
    are wrong themselves."""
    names = [one.name for one in classes]
    known = None if nodes is None else [one.name for one in nodes]
    for index, one in enumerate(classes):
        if one.name in names[:index]:
            message = f"{one.name} is the name of acceleratorClasses[{names.index(one.name)}] too; expected another"
            problem_at((index, "name"), message)
        if known is not None and one.node_class is not None and one.node_class not in known:
            there = f"expected {' or '.join(known[:10])}" if known else "there are none"
            problem_at((index, "nodeClass"), f"no node class is named {one.node_class}; {there}")
