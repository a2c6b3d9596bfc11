"""`podTemplate` over the pod that was made: Kubernetes' strategic merge, for pods.

Mappings merge key by key and null takes a key away. Lists whose entries Kubernetes tells apart by a key merge by it
(https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/, and `patchMergeKey` in its
API reference): what is there already is changed in its place, what isn't comes after, `$patch: delete` takes one away.
Other lists are replaced, but tolerations, which are added: nobody means to lose those of an accelerator.
"""

from collections.abc import Mapping
from typing import Any

# List to the key that tells its entries apart, wherever in a pod it stands.
_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "claims": "name",
    "schedulingGates": "name",
}
_ADDED = frozenset({"tolerations"})

# Fields of which an object has one at most: naming another drops the one that was there.
_HANDLERS = frozenset({"exec", "httpGet", "tcpSocket", "grpc", "sleep"})
_ONE_OF = {
    "startupProbe": _HANDLERS,
    "readinessProbe": _HANDLERS,
    "livenessProbe": _HANDLERS,
    "preStop": _HANDLERS,
    "postStart": _HANDLERS,
    "env": frozenset({"value", "valueFrom"}),
}


def merged(base: Any, over: Any, *, key: str = "") -> Any:
    """`base` with `over` on it; neither is changed. `key`: the field that both stand in."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return _mapping(base, over, key)
    if isinstance(base, list) and isinstance(over, list):
        if key in _KEYS:
            return _list(base, over, key)
        if key in _ADDED:
            return base + [one for one in over if one not in base]
    return _clean(over)


def _mapping(base: Mapping[str, Any], over: Mapping[str, Any], key: str) -> dict[str, Any]:
    dropped = _dropped(base, over, key)
    found = {name: value for name, value in base.items() if name not in dropped}
    for name, value in over.items():
        if name == "$patch":
            continue
        if value is None:
            found.pop(name, None)
        elif name in found:
            found[name] = merged(found[name], value, key=name)
        else:
            found[name] = _clean(value)
    return found


def _dropped(base: Mapping[str, Any], over: Mapping[str, Any], key: str) -> frozenset[str]:
    if key == "volumes":  # beside its name a volume has its source alone
        other = set(over) - {"name", *base}
        return frozenset(base) - {"name"} if other else frozenset()
    group = _ONE_OF.get(key, frozenset())
    said = group & set(over)
    return (group & set(base)) - said if said else frozenset()


def _list(base: list[Any], over: list[Any], key: str) -> list[Any]:
    by = _KEYS[key]
    found = list(base)
    for one in over:
        place = next((at for at, other in enumerate(found) if other.get(by) == one.get(by)), None)
        if one.get("$patch") == "delete":
            if place is not None:
                del found[place]
        elif place is None:
            found.append(_clean(one))
        else:
            found[place] = merged(found[place], one, key=key)
    return found


def _clean(value: Any) -> Any:
    """Without nulls: they take away what isn't there."""
    if isinstance(value, Mapping):
        return {name: _clean(one) for name, one in value.items() if one is not None and name != "$patch"}
    if isinstance(value, list):
        return [_clean(one) for one in value]
    return value
