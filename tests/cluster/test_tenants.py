"""Who may ask, on a cluster: two tenants with a namespace each, known by keys in Secrets; and whose namespace it is."""

import asyncio
import contextlib

import httpx2
import pytest
from tests.cluster.system import SYSTEM
from tests.cluster.test_serving import VALUES, door, pytestmark, space
from tests.kube.errors import ApiError

__all__ = ["VALUES", "pytestmark", "space"]  # what conftest and pytest look for here


@pytest.fixture
def other(system, space, namespace):
    """A second namespace."""
    name = f"{namespace}-b"

    def make(api):
        return api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    system.run(make)
    second = type(space)(system, name, space.folder)
    yield second

    async def away(api):
        with contextlib.suppress(ApiError):
            await api.delete("Namespace", name)

    system.run(away)


def tenant(name, namespace):
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {
            "auth": {
                "apiKeys": [{"name": "ci", "hashSecretRef": {"namespace": SYSTEM, "name": f"{name}-keys", "key": "ci"}}]
            },
            "allow": [{"namespaces": [namespace]}],
        },
    }


async def asked(address, space, key=""):
    """Its status, through the gateway, by the service's own host."""
    headers = {"Host": f"echo.{space.name}"} | ({"x-api-key": key} if key else {})
    async with httpx2.AsyncClient(timeout=60) as client:
        return (await client.post(f"http://{address}{space.path}", json={}, headers=headers)).status_code


async def answers(address, space, status, key=""):
    async with asyncio.timeout(60):
        while await asked(address, space, key) != status:  # noqa: ASYNC110 # another process's state
            await asyncio.sleep(0.1)


def secret(name, data):
    meta = {"name": name, "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data}


def test_each_namespace_is_its_own_tenants_alone(system, space, other, tmp_path):
    """Keys by `plimsoll tenant key`, their hashes in Secrets; and nobody gets an answer of the other's model."""
    spaces = {f"{space.name}-one": space, f"{space.name}-two": other}
    keys = {}
    for name, one in spaces.items():
        made = system.plimsoll("tenant", "key", name, "--key-name", "ci", "--secrets", str(tmp_path))
        keys[name] = made.stdout.strip()
        one.apply(scaling={"minReplicas": 1, "maxReplicas": 1})

    async def body(api):
        address = await door(api)
        for one in spaces.values():
            assert await asked(address, one) == 200, "without tenants every door is open"
        for name, one in spaces.items():
            hashes = {"ci": (tmp_path / f"{name}-keys" / "ci").read_text()}
            await api.create(secret(f"{name}-keys", hashes))
            await api.create(tenant(name, one.name))
        try:
            for one in spaces.values():
                await answers(address, one, 401)  # gateways hear of it with the next snapshot
            for name, one in spaces.items():
                await answers(address, one, 200, keys[name])
            (first, second), (key_1, key_2) = spaces.values(), keys.values()
            assert [await asked(address, first, key_2), await asked(address, second, key_1)] == [403, 403]
            assert await asked(address, first, key_1 + "x") == 401
        finally:
            for name in spaces:
                await api.delete("Tenant", name, api_version="plimsoll.dev/v1alpha1")
                await api.delete("Secret", f"{name}-keys", SYSTEM)
            await answers(address, space, 200)

    system.run(body)


ROLES = {
    # role: what its holder may of services in the namespace
    "view": {"get"},
    "edit": {"get", "create", "delete", "patch"},
    "admin": {"get", "create", "delete", "patch", "deletecollection"},
}


@pytest.mark.parametrize("role", ROLES)
def test_kubernetes_own_roles_have_ours_in_them(system, space, role):
    """Whoever has Kubernetes' own role in a namespace has ours there, and nowhere else."""
    user = f"{role}-of-{space.name}"
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    joined = {"clusterRoleSelectors": [{"matchLabels": {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true"}}]}
    bound = {
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": space.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }

    async def body(api):
        if not system.real:  # a real server has them from the beginning
            await api.apply(rbac | {"kind": "ClusterRole", "metadata": {"name": role}, "aggregationRule": joined})
        await api.create(rbac | bound)

        async def may(verb, resource, namespace, subresource=""):
            what = {"verb": verb, "group": "plimsoll.dev", "resource": resource, "namespace": namespace,
                    "subresource": subresource}  # fmt: skip
            asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                     "metadata": {}, "spec": {"user": user, "resourceAttributes": what}}  # fmt: skip
            return (await api.create(asked))["status"]["allowed"]

        async with asyncio.timeout(30):  # a controller puts ours into Kubernetes' own
            while not await may("get", "modelservices", space.name):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        verbs = ("get", "create", "delete", "patch", "deletecollection")
        assert {verb for verb in verbs if await may(verb, "modelservices", space.name)} == ROLES[role]
        assert await may("update", "modelservices", space.name, "scale") == (role != "view")
        assert not await may("patch", "modelservices", space.name, "status")
        assert not await may("get", "modelservices", "default")
        assert not await may("get", "tenants", "")

    system.run(body)
