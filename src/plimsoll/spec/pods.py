"""The keys of a `ModelService` that shape its pods: accelerators, the pod template, the workload and its volumes."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from plimsoll.spec.base import Part
from plimsoll.spec.pod_values import MountPath, Subdomain
from plimsoll.spec.values import Annotations, DnsLabel, Labels, Memory, problem_at

MOST_ACCELERATORS = 1024
_LARGEST_POD = 65_536  # characters as JSON; a pod spec of a screen has 3,000
_BY_NAME = ("containers", "initContainers", "volumes")


def _check_pod(spec: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(spec, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("is no pod spec; expected what kubectl explain pod.spec lists") from None
    if len(text) > _LARGEST_POD:
        raise ValueError(f"has {len(text):,} characters; expected at most {_LARGEST_POD:,}")
    for key in _BY_NAME:
        found = spec.get(key, [])
        if not isinstance(found, list):
            problem_at((key,), "expected a list (lines that start with '- ')")
        for index, one in enumerate(found):
            if not isinstance(one, dict) or not isinstance(one.get("name"), str):
                problem_at((key, index, "name"), "missing; entries are merged by name (the server's container: model)")
    return spec


PodSpec = Annotated[
    dict[str, Any],
    AfterValidator(_check_pod),
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]


class Accelerator(Part):
    """What each replica gets of GPUs and their like."""

    class_: DnsLabel = Field(alias="class", description="One of the platform's acceleratorClasses, by name.")
    count: int = Field(default=1, ge=1, le=MOST_ACCELERATORS, description="How many of them a replica gets.")


class PodMetadata(Part):
    """Labels and annotations of the pods."""

    labels: Labels = Field(default_factory=dict, description="Labels, beside the server's own. Default: none.")
    annotations: Annotations = Field(default_factory=dict, description="Annotations. Default: none.")


class PodTemplate(Part):
    """Merged into the pods that are made, last of all: every field of a pod has a way in."""

    metadata: PodMetadata = Field(default_factory=PodMetadata, description="Labels and annotations of the pods.")
    spec: PodSpec = Field(
        default_factory=dict,
        description="Any fields of a pod's spec. Lists whose entries have a name are merged by it (the server's "
        "container is called model), others are replaced. Default: nothing.",
    )


class VolumeClaim(Part):
    """A volume of each replica's own, which it finds again after a restart."""

    name: DnsLabel = Field(description="What it is called.")
    size: Memory = Field(description="How large it is: 10Gi.")
    mount_path: MountPath = Field(description="Where the replica sees it: /data.")
    storage_class_name: Subdomain | None = Field(
        default=None, description="The storage class. Default: the cluster's default."
    )


def check_claims(claims: tuple[VolumeClaim, ...], workload: str | None) -> None:
    """Fails validation where claims have no StatefulSet, or two share a name or a path."""
    if claims and workload not in {None, "StatefulSet"}:
        raise ValueError("only a StatefulSet has claims of its own; write workload: StatefulSet, or remove them")
    for field, key in (("name", "name"), ("mount_path", "mountPath")):
        values = [getattr(one, field).rstrip("/") for one in claims]
        for index, value in enumerate(values):
            if value in values[:index]:
                problem_at(
                    (index, key), f"{value} is that of volumeClaims[{values.index(value)}] too; expected another"
                )
