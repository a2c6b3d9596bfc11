"""What tests of both API servers share: a kind of their own, small objects, a namespace of a test's own."""

import asyncio

import pytest
from tests.cluster.conftest import client
from tests.cluster.definitions import established
from tests.kube.errors import ApiError

THINGS = "example.plimsoll.dev/v1"
NEST = {"type": "object", "properties": {"deep": {"type": "object", "properties": {"a": {"type": "integer"}}}}}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.plimsoll.dev"},
    "spec": {
        "group": "example.plimsoll.dev",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1},
                                    "colour": {"type": "string", "default": "blue"},
                                    "mode": {"type": "string", "enum": ["Fast", "Slow"]},
                                    "replicas": {"type": "integer"},
                                    "parts": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {"name": {"type": "string"}, "weight": {"type": "integer"}},
                                        },
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                    },
                                    "nest": {"type": "object", "properties": {"in": NEST, "by": NEST}},
                                    "loose": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


def thing(namespace, name="a", **spec):
    return {"apiVersion": THINGS, "kind": "Thing", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def config_map(namespace, name="a", labels=None, **data):
    meta = {"name": name, "namespace": namespace} | ({"labels": labels} if labels else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def deployment(namespace, name="web", replicas=None, image="one", **template):
    pod = {"containers": [{"name": "main", "image": image}], **template}
    spec = {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod}}  # fmt: skip
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": spec}  # fmt: skip


def run(cluster, namespace, body):
    """`body(api)` with the namespace there, and away afterwards."""

    async def whole():
        async with client(cluster) as api:
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            try:
                return await body(api)
            finally:
                await api.delete("Namespace", namespace)

    return asyncio.run(whole())


async def with_things(api):
    await api.apply(CRD, force=True)
    await api.until("CustomResourceDefinition", CRD["metadata"]["name"], test=established)
    # a real server publishes the kind a moment after it says Established
    async with asyncio.timeout(20):
        while True:
            try:
                return await api.list("Thing", "default", api_version=THINGS)
            except ApiError as error:
                if error.code != 404:
                    raise
                await asyncio.sleep(0.05)


async def refused(awaitable):
    """(code, reason, message) of the refusal."""
    with pytest.raises(ApiError) as found:
        await awaitable
    return found.value.code, found.value.reason, found.value.message
