"""What an installation would change on a cluster: definitions, objects, and what would start anew because of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plimsoll.backends.kubernetes.names import COMPONENT_LABEL, GROUP
from plimsoll.backends.kubernetes.objects import Obj, ObjectKey, key_of
from plimsoll.spec.compat import breaking_changes

# What lives in them would go with them, and isn't ours alone.
_NEVER_REMOVED = ("Namespace", "CustomResourceDefinition")
_WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Lines for people. `breaking`: what is stored or written today and would no longer be valid."""

    definitions: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    breaking: tuple[str, ...] = ()
    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[ObjectKey, ...] = ()
    restarts: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        return not (self.definitions or self.created or self.changed or self.removed or self.restarts)


def named(obj: Mapping[str, Any] | ObjectKey) -> str:
    """`deployment/plimsoll-system/plimsoll-gateway`"""
    key = obj if isinstance(obj, ObjectKey) else key_of(obj)
    return "/".join(part for part in (key.kind.lower(), key.namespace, key.name) if part)


def upgrade_of(
    wanted: Sequence[Obj],
    there: Mapping[ObjectKey, Obj],
    merged: Mapping[ObjectKey, Obj],
    services: Iterable[Obj] = (),
) -> Upgrade:
    """`there`: what is on the cluster, by key; of ours also what is no longer wanted. `merged`: what a dry run of
    applying gave, for those that are there. `services`: the ModelServices."""
    definitions: list[str] = []
    stored: list[str] = []
    breaking: list[str] = []
    created: list[str] = []
    changed: list[str] = []
    restarts: list[str] = []
    for obj in wanted:
        key = key_of(obj)
        before = there.get(key)
        if key.kind == "CustomResourceDefinition":
            lines, hard = _definition(obj, before)
            definitions += lines
            breaking += hard
            stored += _stored(obj, before)
        elif before is None:
            created.append(named(key))
        elif _differs(before, merged.get(key, obj)):
            changed.append(named(key))
            if key.kind in _WORKLOADS:
                restarts += _restart(before, merged.get(key, obj))
    restarts += _services_that_roll(wanted, there, services)
    kept = {key_of(obj) for obj in wanted}
    removed = tuple(key for key in there if key not in kept and key.kind not in _NEVER_REMOVED)
    return Upgrade(
        tuple(definitions), tuple(stored), tuple(breaking), tuple(created), tuple(changed), removed, tuple(restarts)
    )


def _definition(wanted: Obj, before: Obj | None) -> tuple[list[str], list[str]]:
    name = wanted["metadata"]["name"]
    if before is None:
        return [f"{name}: new"], []
    lines: list[str] = []
    hard: list[str] = []
    old, new = _schemas(before), _schemas(wanted)
    for version in sorted(old | new):
        if version not in old:
            lines.append(f"{name}: version {version} is new")
        elif version not in new:
            lines.append(f"{name}: version {version} goes")
            hard.append(f"{name}: objects written as {version} are refused")
        elif old[version] != new[version]:
            was, will = set(_keys(old[version])), set(_keys(new[version]))
            lines += [f"{name} {version}: {key} is new" for key in sorted(will - was)]
            lines += [f"{name} {version}: {key} goes" for key in sorted(was - will)]
            if was == will:
                lines.append(f"{name} {version}: descriptions or checks change")
            hard += [f"{name} {version}: {line}" for line in breaking_changes(old[version], new[version])]
            # The server drops a key that it doesn't know without a word.
            hard += [
                f"{name} {version}: {key} would be dropped" for key in sorted(was - will) if key.startswith("spec.")
            ]
    return lines, hard


def _schemas(crd: Obj) -> dict[str, Obj]:
    return {one["name"]: one["schema"]["openAPIV3Schema"] for one in crd["spec"]["versions"]}


def _keys(schema: Mapping[str, Any], at: str = "") -> Iterable[str]:
    for name, below in (schema.get("properties") or {}).items():
        here = f"{at}.{name}" if at else name
        yield here
        yield from _keys(below, here)
    if isinstance(schema.get("items"), dict):
        yield from _keys(schema["items"], f"{at}[]")


def _stored(wanted: Obj, before: Obj | None) -> list[str]:
    """Objects that etcd holds in a version that is going must be written anew first."""
    held = ((before or {}).get("status") or {}).get("storedVersions") or []
    new = {one["name"]: one for one in wanted["spec"]["versions"]}
    storage = next(name for name, one in new.items() if one["storage"])
    name = wanted["metadata"]["name"]
    return [
        f"{name}: stored as {version}; "
        + (f"write them anew as {storage} after this" if version in new else "must be written anew before this")
        for version in held
        if version != storage
    ]


_SERVERS_OWN = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")


def _differs(before: Obj, after: Obj) -> bool:
    return _content(before) != _content(after)


def _content(obj: Obj) -> Obj:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _SERVERS_OWN}
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")} | {"metadata": meta}


def _restart(before: Obj, after: Obj) -> list[str]:
    old, new = before["spec"].get("template"), after["spec"].get("template")
    if old == new:
        return []
    was, will = _images(old), _images(new)
    why = f": {', '.join(was)} -> {', '.join(will)}" if was != will else ""
    return [f"{named(before)} rolls{why}"]


def _images(template: Any) -> list[str]:
    spec = (template or {}).get("spec") or {}
    return [one.get("image", "") for one in spec.get("containers") or []]


def _services_that_roll(wanted: Sequence[Obj], there: Mapping[ObjectKey, Obj], services: Iterable[Obj]) -> list[str]:
    """Those without an image of their own run in Plimsoll's, and a new one is a new revision of each."""
    operators = [obj for obj in wanted if obj["metadata"].get("labels", {}).get(COMPONENT_LABEL) == "operator"]
    new = [image for obj in operators if obj["kind"] == "Deployment" for image in _images(obj["spec"]["template"])]
    before = [there.get(key_of(obj)) for obj in operators if obj["kind"] == "Deployment"]
    old = [image for obj in before if obj for image in _images(obj["spec"]["template"])]
    if not old or old == new:
        return []
    rolling = sorted(
        f"{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        for one in services
        if not ((one.get("spec") or {}).get("runtime") or {}).get("image")
    )
    if not rolling:
        return []
    shown = ", ".join(rolling[:10]) + (f" and {len(rolling) - 10} more" if len(rolling) > 10 else "")
    return [f"{len(rolling)} {GROUP} services get a new revision, one replica after another: {shown}"]
