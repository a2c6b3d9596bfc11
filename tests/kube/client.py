"""A small client over dicts, for tests and the kubelet: any kind by discovery, watches, applies. Any API server.

async with Client(kubeconfig) as api:
    await api.apply(obj); await api.get("Deployment", "x", "shop", api_version="apps/v1")
"""

import asyncio
import base64
import json
import ssl
import tempfile
from pathlib import Path

import aiohttp
import yaml
from tests.kube.errors import ApiError

APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
JSON_PATCH, STRATEGIC = "application/json-patch+json", "application/strategic-merge-patch+json"
_USUAL = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "Lease": "coordination.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "ModelService": "plimsoll.dev/v1alpha1",
}


class Client:
    def __init__(self, kubeconfig, manager="test"):
        self._config, self.manager = yaml.safe_load(Path(kubeconfig).read_text()), manager
        self._resources, self._session = {}, None
        context = next(c for c in self._config["contexts"] if c["name"] == self._config["current-context"])["context"]
        self._cluster = _named(self._config["clusters"], context["cluster"])["cluster"]
        self._user = _named(self._config["users"], context["user"])["user"]
        self.url = self._cluster["server"]

    async def __aenter__(self):
        headers = {"User-Agent": f"{self.manager}/1"}
        if token := self._user.get("token"):
            headers["Authorization"] = f"Bearer {token}"
        connector = aiohttp.TCPConnector(ssl=self._tls() if self.url.startswith("https") else True, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout)
        return self

    async def __aexit__(self, *_):
        await self._session.close()

    @property
    def authority(self):
        """The API server's CA, PEM bytes."""
        return _data(self._cluster, "certificate-authority") or b""

    def _tls(self):
        authority = self.authority
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if certificate := _data(self._user, "client-certificate"):
            with tempfile.TemporaryDirectory() as folder:
                cert, key = Path(folder, "cert"), Path(folder, "key")
                cert.write_bytes(certificate)
                key.touch(0o600)
                key.write_bytes(_data(self._user, "client-key"))
                context.load_cert_chain(cert, key)
        return context

    # --- requests -----------------------------------------------------------------------------------------------------
    async def request(self, method, path, body=None, *, content_type="application/json", **query):
        """The decoded answer; ApiError for anything but 2xx."""
        query = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in query.items()}
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self._session.request(method, self.url + path, data=data, params=query, headers=headers) as answer:
            raw = await answer.read()
            return _decoded(answer.status, raw)

    async def path(self, api_version, kind, namespace="", name="", subresource=""):
        plural, namespaced = await self.resource(api_version, kind)
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        where = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return f"{root}{where}/{plural}{f'/{name}' if name else ''}{f'/{subresource}' if subresource else ''}"

    async def resource(self, api_version, kind):
        """(plural, namespaced)"""
        if (api_version, kind) not in self._resources:
            found = await self.request("GET", f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}")
            for one in found["resources"]:
                if "/" not in one["name"]:
                    self._resources[api_version, one["kind"]] = one["name"], one["namespaced"]
        if (api_version, kind) not in self._resources:
            raise ApiError(404, f"no kind {kind} in {api_version}")
        return self._resources[api_version, kind]

    # --- objects ------------------------------------------------------------------------------------------------------
    async def get(self, kind, name, namespace="", *, api_version="", subresource=""):
        return await self.request("GET", await self.path(_api(api_version, kind), kind, namespace, name, subresource))

    async def find(self, kind, name, namespace="", *, api_version=""):
        """None where there is none."""
        try:
            return await self.get(kind, name, namespace, api_version=api_version)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    async def list(self, kind, namespace="", *, api_version="", **query):
        """The whole answer: `items`, and `metadata` with the resourceVersion to watch from."""
        return await self.request("GET", await self.path(_api(api_version, kind), kind, namespace), **query)

    async def create(self, obj, subresource="", **query):
        path = await self._path_of(obj, named=bool(subresource), subresource=subresource)
        return await self.request("POST", path, obj, fieldManager=self.manager, **query)

    async def replace(self, obj, subresource="", **query):
        return await self.request("PUT", await self._path_of(obj, subresource=subresource), obj,
                                  fieldManager=self.manager, **query)  # fmt: skip

    async def apply(self, obj, *, force=False, manager="", subresource="", **query):
        path = await self._path_of(obj, subresource=subresource)
        return await self.request("PATCH", path, obj, content_type=APPLY, fieldManager=manager or self.manager,
                                  force=force, **query)  # fmt: skip

    async def patch(self, kind, name, namespace, patch, *, api_version="", content_type=MERGE, subresource="", **query):
        path = await self.path(_api(api_version, kind), kind, namespace, name, subresource)
        query.setdefault("fieldManager", self.manager)
        return await self.request("PATCH", path, patch, content_type=content_type, **query)

    async def scale(self, kind, name, namespace, replicas, *, api_version=""):
        patch = {"spec": {"replicas": replicas}}
        return await self.patch(kind, name, namespace, patch, api_version=api_version, subresource="scale")

    async def delete(self, kind, name, namespace="", *, api_version="", **options):
        path = await self.path(_api(api_version, kind), kind, namespace, name)
        return await self.request("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **options})

    async def watch(self, kind, namespace="", *, api_version="", resource_version=None, **query):
        """(type, object); ends when the server ends it. Raises ApiError where it says ERROR."""
        path = await self.path(_api(api_version, kind), kind, namespace)
        if resource_version is not None:
            query["resourceVersion"] = resource_version
        async with self._session.get(self.url + path, params={"watch": "true", **query}) as answer:
            if answer.status != 200:
                _decoded(answer.status, await answer.read())
            async for line in _lines(answer.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(status.get("code", 500), status.get("message", ""), status.get("reason"))
                yield event["type"], event["object"]

    async def until(self, kind, name, namespace="", *, test, api_version="", within_s=30.0):
        """The object as soon as `test(object or None)` holds."""
        path_kind = {"api_version": api_version, "namespace": namespace}
        async with asyncio.timeout(within_s):
            while True:
                listed = await self.list(kind, fieldSelector=f"metadata.name={name}", **path_kind)
                found = listed["items"][0] if listed["items"] else None
                if test(found):
                    return found
                version = listed["metadata"]["resourceVersion"]
                async for sort, obj in self.watch(
                    kind, resource_version=version, fieldSelector=f"metadata.name={name}", **path_kind
                ):
                    found = None if sort == "DELETED" else obj
                    if test(found):
                        return found

    async def _path_of(self, obj, *, named=True, subresource=""):
        meta = obj["metadata"]
        name = meta.get("name", "") if named else ""
        return await self.path(obj["apiVersion"], obj["kind"], meta.get("namespace", ""), name, subresource)


async def _lines(stream):
    """Lines of any length."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line


def _decoded(code, raw):
    try:
        found = json.loads(raw) if raw else {}
    except ValueError:
        found = raw.decode(errors="replace")
    if code >= 300:
        known = found if isinstance(found, dict) else {"message": str(found)}
        raise ApiError(code, known.get("message", ""), known.get("reason"), **(known.get("details") or {}))
    return found


def _api(api_version, kind):
    return api_version or _USUAL.get(kind, "v1")


def _named(listed, name):
    return next(one for one in listed if one["name"] == name)


def _data(found, name):
    """Inline or from a file; None where there is neither."""
    if text := found.get(f"{name}-data"):
        return base64.b64decode(text)
    return Path(found[name]).read_bytes() if name in found else None
