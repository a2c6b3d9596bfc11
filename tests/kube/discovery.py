"""What clients ask before they ask for objects: /api, /apis, /version, OpenAPI as far as kubectl reads it."""

from tests.kube.kinds import VERBS

VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0-memory", "platform": "linux/amd64"}


def answer(registry, path, aggregated=None):
    """The document at `path` (a list of steps), None where there is none. `aggregated`: others' {group: [versions]}."""
    groups = registry.groups() | (aggregated or {})
    match path:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            listed = [_group(name, versions) for name, versions in groups.items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["apis", group] if group in groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, groups[group])}
        case ["api", "v1"]:
            return _resources(registry, "", "v1")
        case ["apis", group, version] if version in registry.groups().get(group, ()):
            return _resources(registry, group, version)
        case ["openapi", "v3"]:
            paths = ["api/v1", *(f"apis/{name}/{one}" for name, all_ in registry.groups().items() for one in all_)]
            return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in paths}}
        case ["openapi", "v3", "api", "v1"]:
            return _open_api(registry, "", "v1")
        case ["openapi", "v3", "apis", group, version] if version in registry.groups().get(group, ()):
            return _open_api(registry, group, version)
    return None


def _group(name, versions):
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _of(registry, group, version):
    return [kind for kind in registry.kinds.values() if (kind.group, kind.version) == (group, version)]


def _resources(registry, group, version):
    found = []
    for kind in _of(registry, group, version):
        entry = {"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind}
        entry["verbs"] = ["create"] if kind.review else VERBS
        if kind.short:
            entry["shortNames"] = list(kind.short)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        found.append(entry)
        for name in kind.subresources:
            found.append(_subresource(kind, name))
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}


def _subresource(kind, name):
    entry = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind}
    if name == "scale":
        entry |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    if name == "eviction":
        entry |= {"group": "policy", "version": "v1", "kind": "Eviction"}
    verbs = {"token": ["create"], "eviction": ["create"], "binding": ["create"], "log": ["get"]}
    return entry | {"verbs": verbs.get(name, ["get", "patch", "update"])}


def _open_api(registry, group, version):
    """Enough for kubectl: which requests know `fieldValidation`, and the schemas of custom resources for `explain`."""
    paths, schemas = {}, {}
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    for kind in _of(registry, group, version):
        gvk = {"group": group, "version": version, "kind": kind.kind}
        name = f"{group or 'core'}.{version}.{kind.kind}"
        schema = ((kind.crd or {}).get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
        schemas[name] = {**schema, "x-kubernetes-group-version-kind": [gvk]}
        place = f"{root}/{'namespaces/{namespace}/' if kind.namespaced else ''}{kind.plural}"
        body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        said = {
            "x-kubernetes-group-version-kind": gvk,
            "responses": {"200": {"description": "OK", "content": body}},
            "parameters": [{"name": one, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
                           for one in ("dryRun", "fieldManager", "fieldValidation", "force")],
        }  # fmt: skip
        paths[place] = {"get": {**said, "x-kubernetes-action": "list"}, "post": {**said, "x-kubernetes-action": "post"}}
        paths[place + "/{name}"] = {verb: {**said, "x-kubernetes-action": verb} for verb in ("get", "put", "patch")}
    return {"openapi": "3.0.0", "info": {"title": "memory", "version": "1"}, "paths": paths,
            "components": {"schemas": schemas}}  # fmt: skip
