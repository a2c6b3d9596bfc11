"""A pod's volumes as folders: ConfigMaps, Secrets, tokens and the downward API as files that change at once, and empty
folders, claims and host paths as plain ones.

Files that can change stand as a kubelet puts them: `KEY -> ..data/KEY`, `..data -> ..N`, swapped by one rename.
"""

import base64
import os
import shutil
import time
from pathlib import Path

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


class MissingSource(Exception):
    """A ConfigMap or Secret that isn't there yet; the pod waits for it."""


def write_files(folder, files):
    """`files`: {relative path: bytes}. Does nothing where they stand already."""
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / "..data"
    if current.exists() and _read(current.resolve()) == files:
        return
    fresh = folder / f"..{time.monotonic_ns()}"
    fresh.mkdir()
    for name, raw in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    old = current.resolve() if current.exists() else None
    link = folder / "..data_new"
    link.symlink_to(fresh.name)
    os.replace(link, current)
    for top in {Path(name).parts[0] for name in files}:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _read(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Volumes:
    """Of one pod. `config_maps`, `secrets`: {(namespace, name): object}; `token(audience, seconds)` asks for one."""

    def __init__(self, pod, folder, node_folder, *, config_maps, secrets, token, authority):
        self._pod, self._folder, self._node = pod, folder, node_folder
        self._config_maps, self._secrets = config_maps, secrets
        self._token, self._authority = token, authority
        self._namespace = pod["metadata"]["namespace"]

    def folder(self, name):
        """Where a volume is on this machine."""
        volume = next(one for one in self.listed() if one["name"] == name)
        if path := volume.get("hostPath"):
            return self._node / "host" / path["path"].lstrip("/")
        if claim := volume.get("persistentVolumeClaim"):
            return self._node.parent / "claims" / self._namespace / claim["claimName"]
        return self._folder / "volumes" / name

    def listed(self):
        """The pod's, and one for its ServiceAccount's token where nobody added that."""
        found = list(self._pod["spec"].get("volumes") or ())
        if self.adds_token:
            sources = [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]
            found.append({"name": "kube-api-access", "projected": {"sources": sources}})
        return found

    @property
    def adds_token(self):
        spec = self._pod["spec"]
        containers = spec.get("containers") or []
        mounts = {mount["mountPath"] for one in containers for mount in one.get("volumeMounts") or ()}
        return spec.get("automountServiceAccountToken") is not False and TOKEN_PATH not in mounts

    def uses(self, kind, name):
        text = str(self.listed())
        return (f"'{name}'" in text) and (kind == "ConfigMap" or "ecret" in text)

    async def write(self):
        """All of them. Raises MissingSource."""
        for volume in self.listed():
            folder = self.folder(volume["name"])
            files = await self._files(volume)
            if files is None:
                folder.mkdir(parents=True, exist_ok=True)
            else:
                write_files(folder, files)

    async def _files(self, volume):
        """None for volumes that are just folders."""
        if "projected" in volume:
            files = {}
            for source in volume["projected"].get("sources") or ():
                files |= await self._source(source)
            return files
        known = ("configMap", "secret", "downwardAPI")
        if any(key in volume for key in known):
            return await self._source({key: volume[key] for key in known if key in volume})
        return None

    async def _source(self, source):
        if found := source.get("configMap"):
            return self._items(found, found.get("name"), "ConfigMap")
        if found := source.get("secret"):
            return self._items(found, found.get("secretName") or found.get("name"), "Secret")
        if found := source.get("downwardAPI"):
            return {one["path"]: field(self._pod, one["fieldRef"]["fieldPath"]).encode()
                    for one in found.get("items") or () if "fieldRef" in one}  # fmt: skip
        if found := source.get("serviceAccountToken"):
            token = await self._token(found.get("audience", ""), found.get("expirationSeconds", 3600))
            return {found["path"]: token.encode()}
        return {}

    def _items(self, source, name, kind):
        objects = self._config_maps if kind == "ConfigMap" else self._secrets
        obj = objects.get((self._namespace, name))
        if obj is None and name == "kube-root-ca.crt":
            return {"ca.crt": self._authority}
        if obj is None:
            if source.get("optional"):
                return {}
            raise MissingSource(f'{kind.lower()} "{name}" not found')
        data = contents(obj)
        if "items" not in source:
            return data
        missing = [one["key"] for one in source["items"] if one["key"] not in data and not source.get("optional")]
        if missing:
            raise MissingSource(f"references non-existent {kind.lower()} key: {missing[0]}")
        return {one["path"]: data[one["key"]] for one in source["items"] if one["key"] in data}


def contents(obj):
    """{key: bytes} of a ConfigMap or Secret."""
    if "type" in obj:  # a Secret; items of lists have no kind
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    data = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return data | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def field(pod, path):
    """The downward API: `metadata.labels['x']`, `status.podIP`, …"""
    if "['" in path:
        path, _, key = path.partition("['")
        return (_at(pod, path) or {}).get(key[:-2], "")
    found = _at(pod, path)
    if isinstance(found, dict):
        return "\n".join(f'{key}="{value}"' for key, value in sorted(found.items()))
    return "" if found is None else str(found)


def _at(obj, path):
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj
