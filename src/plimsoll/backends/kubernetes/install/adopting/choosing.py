"""Which of the objects at hand belong together: a Deployment, the Services that select its pods, its autoscaler."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.errors import UserError

WORKLOADS = ("Deployment", "StatefulSet")
_SHORT = {
    "deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
    "statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
    "service": "Service", "services": "Service", "svc": "Service",
    "hpa": "HorizontalPodAutoscaler", "horizontalpodautoscaler": "HorizontalPodAutoscaler",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    workload: Obj
    services: tuple[Obj, ...] = ()
    autoscaler: Obj | None = None


def parse(reference: str) -> tuple[str, str]:
    """`hpa/mood` to (kind, name). Raises UserError."""
    kind, slash, name = reference.partition("/")
    known = _SHORT.get(kind.lower().split(".")[0])
    if not slash or not name or known is None:
        raise UserError(f"{reference}: expected deployment/NAME, hpa/NAME or service/NAME")
    return known, name


def choose(objects: Sequence[Obj], wanted: Iterable[str] = ()) -> Found:
    """`wanted`: `deployment/x`, `hpa/y`, `service/z`; what isn't named is found by what it points to. Raises UserError
    where something named isn't there, or there are several Deployments and none is named."""
    named = [parse(one) for one in wanted]
    for kind, name in named:
        if not any(obj.get("kind") == kind and _name(obj) == name for obj in objects):
            there = ", ".join(_name(obj) for obj in objects if obj.get("kind") == kind) or "none"
            raise UserError(f"no {kind} {name}; there: {there}")
    workload = _workload(objects, named)
    hpas = [obj for obj in objects if obj.get("kind") == "HorizontalPodAutoscaler"]
    asked = [name for kind, name in named if kind == "HorizontalPodAutoscaler"]
    mine = [obj for obj in hpas if _name(obj) in asked] if asked else [obj for obj in hpas if scales(obj, workload)]
    if len(mine) > 1:
        names = list(dict.fromkeys(map(_name, mine)))
        which = (
            f"name one: hpa/{names[0]}" if len(names) > 1 else f"all are called {names[0]}: give the file of one alone"
        )
        raise UserError(f"{len(mine)} autoscalers scale {_name(workload)}; {which}")
    for obj in mine:
        if not scales(obj, workload):
            raise UserError(f"hpa/{_name(obj)} scales {_target(obj)}, not {workload['kind']}/{_name(workload)}")
    services = [obj for obj in objects if obj.get("kind") == "Service"]
    names = [name for kind, name in named if kind == "Service"]
    behind = (
        [obj for obj in services if _name(obj) in names]
        if names
        else [obj for obj in services if _selects(obj, workload)]
    )
    return Found(workload, tuple(behind), mine[0] if mine else None)


def _workload(objects: Sequence[Obj], named: Sequence[tuple[str, str]]) -> Obj:
    asked = [(kind, name) for kind, name in named if kind in WORKLOADS]
    found = [
        obj
        for obj in objects
        if obj.get("kind") in WORKLOADS and (not asked or (str(obj["kind"]), _name(obj)) in asked)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError("there is no Deployment to adopt; name one: deployment/NAME")
    names = " or ".join(f"{str(obj['kind']).lower()}/{_name(obj)}" for obj in found)
    raise UserError(f"one at a time; name it: {names}")


def scales(hpa: Mapping[str, Any], workload: Mapping[str, Any]) -> bool:
    target = (hpa.get("spec") or {}).get("scaleTargetRef") or {}
    return bool(target.get("kind") == workload["kind"] and target.get("name") == _name(workload))


def _target(hpa: Mapping[str, Any]) -> str:
    target = (hpa.get("spec") or {}).get("scaleTargetRef") or {}
    return f"{target.get('kind')}/{target.get('name')}"


def _selects(service: Mapping[str, Any], workload: Mapping[str, Any]) -> bool:
    chosen = (service.get("spec") or {}).get("selector") or {}
    labels = ((workload["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    return bool(chosen) and chosen.items() <= labels.items()


def _name(obj: Mapping[str, Any]) -> str:
    return str((obj.get("metadata") or {}).get("name", ""))
