"""What users want of a cluster, as the controller keeps it: ModelServices, Tenants, Platforms, parsed once a change."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from plimsoll.backends.kubernetes.names import API_VERSION, PAUSED_ANNOTATION
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.errors import SpecErrors
from plimsoll.spec import ModelService, Platform, Tenant
from plimsoll.spec.base import Part, Whole
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


class Shared:
    """Parts that many objects have in common, kept once: of a thousand services most have the same limits, probes and
    budgets, mostly those that nobody wrote, and each takes half a KB. They are immutable. The last `most` different
    ones are known; one that is forgotten lives on where it is used."""

    def __init__(self, most: int = 500) -> None:
        self._most = most
        self._parts: OrderedDict[tuple[type, str], Part] = OrderedDict()
        self._names: dict[frozenset[str], set[str]] = {}  # which keys were written: a few sets of them

    def __len__(self) -> int:
        return len(self._parts)

    def share(self, whole: Whole) -> None:
        """What is in it, as far as another has the same. Its metadata and its spec are nobody else's."""
        self._written_once(whole)
        for part in whole.__dict__.values():
            if isinstance(part, Part):
                self._inside(part)

    def _inside(self, part: Part) -> None:
        values = part.__dict__
        for name, value in values.items():
            if isinstance(value, Part):
                values[name] = self._one(value)
        self._written_once(part)

    def _one(self, part: Part) -> Part:
        # What was written says all of it, defaults too.
        key = type(part), part.model_dump_json(by_alias=True, exclude_unset=True)
        known = self._parts.get(key)
        if known is None:
            self._inside(part)
            known = self._parts[key] = part
            if len(self._parts) > self._most:
                self._parts.popitem(last=False)
        else:
            self._parts.move_to_end(key)
        return known

    def _written_once(self, part: Part) -> None:
        written = part.model_fields_set
        object.__setattr__(part, "__pydantic_fields_set__", self._names.setdefault(frozenset(written), written))


_shared = Shared()


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
            _shared.share(whole)
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
