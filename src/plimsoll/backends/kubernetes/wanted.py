"""What users want of a cluster, as the controller keeps it: ModelServices, Tenants, Platforms, parsed once a change."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from plimsoll.backends.kubernetes.names import API_VERSION, PAUSED_ANNOTATION
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.errors import SpecErrors
from plimsoll.spec import ModelService, Platform, Tenant
from plimsoll.spec.base import Whole
from plimsoll.spec.origin import Origin

SERVICES, TENANTS, PLATFORMS = "modelservices", "tenants", "platforms"
_DEFAULT_PLATFORM = "default"

Parsed = TypeVar("Parsed", bound=Whole)


@dataclass(frozen=True, slots=True)
class Wanted(Generic[Parsed]):
    """`whole` None: it can't be understood (`problem`), or it is being deleted. Equal where the same is written: who
    writes a status tells nothing new."""

    generation: int
    labels: tuple[tuple[str, str], ...]
    target: str = ""
    paused: bool = False
    deleting: bool = False
    whole: Parsed | None = field(default=None, compare=False, repr=False)
    problem: str = field(default="", compare=False)


def read_service(obj: Obj) -> Wanted[ModelService]:
    return _read(obj, ModelService)


def read_tenant(obj: Obj) -> Wanted[Tenant]:
    return _read(obj, Tenant)


def read_platform(obj: Obj) -> Wanted[Platform]:
    return _read(obj, Platform)


def platform_of(found: Mapping[str, Wanted[Platform]]) -> Platform | None:
    """The one that holds: named `default` where there are several, as for the operator."""
    known = {name: one.whole for name, one in found.items() if one.whole is not None}
    if not known:
        return None
    return known.get(_DEFAULT_PLATFORM) or known[min(known)]


def is_kept(namespace: str, namespaces: Collection[str]) -> bool:
    """Empty: every namespace."""
    return not namespaces or namespace in namespaces


def _read(obj: Obj, kind: type[Parsed]) -> Wanted[Parsed]:
    meta = obj["metadata"]
    labels, namespace = meta.get("labels") or {}, meta.get("namespace") or ""
    deleting = bool(meta.get("deletionTimestamp"))
    whole, problem = None, ""
    if not deleting:
        placed = {"namespace": namespace} if namespace else {}
        body = {
            "apiVersion": API_VERSION,
            "kind": kind.__name__,
            "metadata": {"name": meta["name"], **placed, **({"labels": labels} if labels else {})},
            "spec": obj.get("spec") or {},
        }
        try:
            whole = kind.parse(body, Origin(file=f"{namespace}/{meta['name']}" if namespace else meta["name"]))
        except SpecErrors as errors:
            problem = "; ".join(str(error) for error in errors.errors)
    return Wanted(
        generation=int(meta.get("generation") or 0),
        labels=tuple(sorted(labels.items())),
        target=str((obj.get("status") or {}).get("scaleTarget") or ""),
        paused=(meta.get("annotations") or {}).get(PAUSED_ANNOTATION) == "true",
        deleting=deleting,
        whole=whole,
        problem=problem,
    )
