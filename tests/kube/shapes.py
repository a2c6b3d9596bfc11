"""How the fields of a kind are merged: which lists have keys, which maps are taken as a whole.

A path is a tuple of field names; the items of a list add nothing to it (`spec, template, spec, containers, env`).
Source: the `+listType`, `+listMapKey` and `+mapType` markers of the Kubernetes API, and in custom resources
`x-kubernetes-list-type`, `x-kubernetes-list-map-keys`, `x-kubernetes-map-type`.
"""

# By the field's name, wherever it stands. The values are the keys; () is a set.
_LISTS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "resourceClaims": ("name",),
    "claims": ("name",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "finalizers": (),
    "webhooks": ("name",),
    "addresses": ("type",),
    "schedulingGates": ("name",),
    "podIPs": ("ip",),
    "shortNames": None,
}
_POD_PORTS = ("containerPort", "protocol")
_SERVICE_PORTS = ("port", "protocol")
# Maps that are one value: nobody owns a part of them.
_ATOMIC_MAPS = {
    "selector",
    "labelSelector",
    "podSelector",
    "namespaceSelector",
    "objectSelector",
    "nodeSelector",
    "fieldRef",
    "resourceFieldRef",
    "configMapKeyRef",
    "secretKeyRef",
    "scaleTargetRef",
    "targetRef",
    "roleRef",
    "involvedObject",
    "nodeSelectorTerms",
}


class BuiltIn:
    """Of Kubernetes' own kinds."""

    def __init__(self, kind):
        self.kind = kind

    def list_keys(self, path):
        """Keys of the list at `path`; () for a set, None for one that is taken as a whole."""
        name = path[-1]
        if name == "ports":
            if path[-2:-1] in (("containers",), ("initContainers",)):
                return _POD_PORTS
            return _SERVICE_PORTS if self.kind == "Service" else None
        if name == "addresses" and self.kind != "Node":
            return None
        return _LISTS.get(name)

    def atomic_map(self, path):
        if path[-1] == "scaleTargetRef":
            return False
        return path[-1] in _ATOMIC_MAPS and path[:1] != ("metadata",)


class Custom:
    """Of a kind with an openAPI schema; metadata is as everywhere."""

    def __init__(self, kind, schema):
        self._built_in = BuiltIn(kind)
        self._schema = schema or {}

    def _at(self, path):
        found = self._schema
        for name in path:
            while found.get("type") == "array":
                found = found.get("items") or {}
            extra = found.get("additionalProperties")
            found = (found.get("properties") or {}).get(name) or (extra if isinstance(extra, dict) else {})
        return found

    def list_keys(self, path):
        if path[:1] == ("metadata",):
            return self._built_in.list_keys(path)
        found = self._at(path)
        sort = found.get("x-kubernetes-list-type", "atomic")
        return tuple(found.get("x-kubernetes-list-map-keys", ())) if sort == "map" else () if sort == "set" else None

    def atomic_map(self, path):
        return path[:1] != ("metadata",) and self._at(path).get("x-kubernetes-map-type") == "atomic"


def shape_of(kind):
    if kind.crd is None:
        return BuiltIn(kind.kind)
    return Custom(kind.kind, (kind.crd.get("schema") or {}).get("openAPIV3Schema"))
