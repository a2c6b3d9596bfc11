"""One question of the API server, answered: a pure function. Messages name the key and the remedy."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plimsoll.backends.kubernetes.names import API_VERSION
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.errors import SpecError, SpecErrors
from plimsoll.spec import KINDS, Documents, ModelService, Platform, check_together, not_honoured

_REVIEW = "admission.k8s.io/v1"
_LONGEST_WARNING = 250  # characters; the API server cuts them at 256, and all of one answer at 4,096
_MOST_WARNINGS = 12
_MOST_ERRORS = 20
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # may be larger than all else; nobody reads it here


class NotAReview(ValueError):
    """The body is no AdmissionReview that could be answered."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the cluster has already, as far as the operator sees it. `services`: of all namespaces. `known`: False until
    it has been looked at; what is missing then is no reason to warn."""

    platform: Platform | None = None
    services: Sequence[ModelService] = ()
    known: bool = False


def review(body: object, *, context: Context | None = None) -> Obj:
    """The answer to an AdmissionReview. Never refuses what doesn't change a spec: an object that was valid once must
    stay deletable. Raises NotAReview where there is no request to answer."""
    request = body.get("request") if isinstance(body, Mapping) else None
    if not isinstance(request, Mapping) or not isinstance(request.get("uid"), str):
        raise NotAReview("expected an AdmissionReview with request.uid")
    response: Obj = {"uid": request["uid"], "allowed": True}
    obj = request.get("object")
    if isinstance(obj, Mapping) and _is_asked(request, obj):
        errors, warnings = _judged(obj, str(request.get("namespace") or ""), context or Context())
        if errors:
            response["allowed"] = False
            response["status"] = {"code": 422, "reason": "Invalid", "message": _told(errors)}
        if warnings:
            response["warnings"] = [_cut(line) for line in warnings[:_MOST_WARNINGS]]
    return {"apiVersion": _REVIEW, "kind": "AdmissionReview", "response": response}


def _is_asked(request: Mapping[str, Any], obj: Mapping[str, Any]) -> bool:
    if request.get("operation") not in {"CREATE", "UPDATE"} or request.get("subResource"):
        return False
    if obj.get("apiVersion") != API_VERSION or obj.get("kind") not in KINDS:
        return False
    meta = obj.get("metadata")
    if isinstance(meta, Mapping) and meta.get("deletionTimestamp"):
        return False
    old = request.get("oldObject")
    return not (isinstance(old, Mapping) and old.get("spec") == obj.get("spec"))


def _judged(obj: Mapping[str, Any], namespace: str, context: Context) -> tuple[list[SpecError], list[str]]:
    try:
        whole = KINDS[str(obj["kind"])].parse(written(obj, namespace))
    except SpecErrors as errors:
        return list(errors.errors), []
    if not isinstance(whole, ModelService):
        return [], []
    return list(_clashes(whole, context)), list(_warnings(whole, context))


def written(obj: Mapping[str, Any], namespace: str = "") -> Obj:
    """An object of the cluster as its file would have it: without what the API server adds. `namespace`: where the
    object itself has none, as on a create."""
    meta = obj.get("metadata")
    kept: Obj = {}
    if isinstance(meta, Mapping):
        kept = {key: meta[key] for key in ("name", "namespace", "labels", "annotations") if meta.get(key)}
        if not kept.get("name") and meta.get("generateName"):
            kept["name"] = f"{meta['generateName']}x".lower()
        if isinstance(kept.get("annotations"), Mapping):
            kept["annotations"] = {key: one for key, one in kept["annotations"].items() if key != _LAST_APPLIED}
    if obj.get("kind") != "ModelService":
        kept.pop("namespace", None)
    elif namespace:
        kept.setdefault("namespace", namespace)
    found = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
    found["metadata"] = kept
    if "spec" in obj:
        found["spec"] = obj["spec"]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _clashes(service: ModelService, context: Context) -> Iterator[SpecError]:
    """What it brings about between the services of its namespace: a route of another one, a fallback that leads back.
    A service that a fallback names may come later."""
    others = tuple(_neighbours(service, context))
    before = {str(error) for error in _between(others)}
    missing = {
        f"spec.fallback[{index}].service.name"
        for index, step in enumerate(service.spec.fallback)
        if step.service is not None and step.service.name in _missing(service, context)
    }
    for error in _between((*others, service)):
        if str(error) not in before and error.key not in missing:
            yield error


def _between(services: tuple[ModelService, ...]) -> Sequence[SpecError]:
    try:
        check_together(Documents(services=services))
    except SpecErrors as errors:
        return list(errors.errors)
    return ()


def _warnings(service: ModelService, context: Context) -> Iterator[str]:
    spec = service.spec
    if not service.is_packed:
        yield (
            f"spec.model.path: {spec.model.path} is not packed, and a cluster can't reach it: apply what "
            "`plimsoll pack FILE` prints"
        )
    if spec.model.uri is not None and spec.model.digest is None:
        yield "spec.model.digest: not written, so a new artifact at this uri is no new revision; plimsoll pack pins it"
    if spec.runtime.requirements and spec.runtime.image is None:
        yield "spec.runtime.requirements: the platform's image may lack them; plimsoll build makes one that has them"
    if not context.known:
        return
    for name in _missing(service, context):
        yield f"spec.fallback: no service is named {name} in this namespace yet"
    if spec.accelerator is not None:
        there = [] if context.platform is None else [one.name for one in context.platform.spec.accelerator_classes]
        if spec.accelerator.class_ not in there:
            listed = f"there are: {', '.join(there[:10])}" if there else "it has none"
            yield f"spec.accelerator.class: the platform has no class named {spec.accelerator.class_}; {listed}"
    yield from not_honoured(service, "kubernetes", platform=context.platform)


def _neighbours(service: ModelService, context: Context) -> list[ModelService]:
    return [one for one in context.services if one.namespace == service.namespace and one.name != service.name]


def _missing(service: ModelService, context: Context) -> list[str]:
    known = {one.name for one in _neighbours(service, context)}
    return [name for name in service.fallback_services if name not in known and name != service.name]


def _told(errors: list[SpecError]) -> str:
    """A line for each, as `plimsoll validate` has them."""
    lines = [f"{error.key}: {error.message}" if error.key else error.message for error in errors]
    if len(lines) > _MOST_ERRORS:
        lines = [*lines[:_MOST_ERRORS], f"and {len(lines) - _MOST_ERRORS} more"]
    return lines[0] if len(lines) == 1 else "\n".join(["", *(f"  {line}" for line in lines)])


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_WARNING else f"{line[: _LONGEST_WARNING - 1]}…"
