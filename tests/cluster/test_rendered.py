"""What `plimsoll render` prints, on a real API server: strict field validation, admission, Pod Security, no drift.

Objects of the Gateway API, KEDA and the Prometheus operator are tried where their definitions are: in a given cluster,
or as YAML files in the folder that PLIMSOLL_FOREIGN_CRDS names.
"""

import asyncio
import contextlib
import copy
import dataclasses

import pytest
from tests.cluster import definitions
from tests.cluster.conftest import client
from tests.kube.errors import ApiError
from tests.unit.backends.kubernetes.render.cases import CASES

from plimsoll.backends.kubernetes.options import NEWEST_MINOR, Mode

FOREIGN = {"HTTPRoute", "ReferenceGrant", "ScaledObject", "PodMonitor", "ServiceMonitor"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
CHOSEN = [(name, mode) for name in CASES for mode in Mode]


async def version_of(api):
    """The minor of 1.x, at most the newest that is known."""
    found = await api.request("GET", "/version")
    return min(NEWEST_MINOR, int("".join(one for one in found["minor"] if one.isdecimal())))


async def objects_for(api, name, mode, namespace):
    """A case as this server's minor gets it, all of it in a namespace of this test's own."""
    case = dataclasses.replace(CASES[name], mode=mode, minor=await version_of(api))
    found = copy.deepcopy(list(case.rendered().objects))
    for obj in found:
        obj["metadata"]["namespace"] = namespace
    return found


@contextlib.asynccontextmanager
async def own_namespace(cluster, name):
    """A client, and a namespace that takes only restricted pods and goes afterwards."""
    async with client(cluster, "plimsoll-operator") as api:
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
        try:
            yield api
        finally:
            await api.delete("Namespace", name)


@pytest.fixture(scope="module")
def real_cluster(real_cluster):
    """With the definitions of others, where they are given."""

    async def run():
        async with client(real_cluster) as api:
            await definitions.define(api, definitions.published())

    asyncio.run(run())
    return real_cluster


async def served(api, obj):
    if obj["kind"] not in FOREIGN:
        return True
    try:
        await api.resource(obj["apiVersion"], obj["kind"])
    except ApiError:
        return False
    return True


@pytest.mark.parametrize(("name", "mode"), CHOSEN, ids=[f"{name}-{mode.value}" for name, mode in CHOSEN])
def test_every_object_passes_a_server_side_dry_run(real_cluster, namespace, name, mode):
    async def run():
        async with own_namespace(real_cluster, namespace) as api:
            for obj in await objects_for(api, name, mode, namespace):
                if await served(api, obj):
                    await api.apply(obj, dryRun="All", fieldValidation="Strict")
                else:
                    print(f"not tried: this server has no {obj['apiVersion']} {obj['kind']}")

    asyncio.run(run())


@pytest.mark.parametrize(("name", "mode"), CHOSEN, ids=[f"{name}-{mode.value}" for name, mode in CHOSEN])
def test_pods_are_let_into_a_restricted_namespace(real_cluster, namespace, name, mode):
    if (name, mode) == ("mig", Mode.OPERATOR):
        pytest.skip("its platform keeps models in a folder of the nodes, which the restricted level has no place for")

    async def run():
        async with own_namespace(real_cluster, namespace) as api:
            objects = await objects_for(api, name, mode, namespace)
            workload = next(obj for obj in objects if obj["kind"] in {"Deployment", "StatefulSet"})
            template = workload["spec"]["template"]
            account = template["spec"]["serviceAccountName"]
            await api.apply({"apiVersion": "v1", "kind": "ServiceAccount",
                             "metadata": {"name": account, "namespace": namespace}})  # fmt: skip
            spec = copy.deepcopy(template["spec"])
            spec.pop("priorityClassName", None)  # it belongs to the whole cluster, which may be somebody's
            for claim in workload["spec"].get("volumeClaimTemplates", []):  # as the StatefulSet's controller does
                name_of = claim["metadata"]["name"]
                spec["volumes"].append({"name": name_of, "persistentVolumeClaim": {"claimName": f"{name_of}-x-0"}})
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": namespace}, "spec": spec}
            pod["metadata"] |= template["metadata"]
            await api.create(pod, dryRun="All", fieldValidation="Strict")
            worse = copy.deepcopy(pod)
            worse["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
            with pytest.raises(ApiError, match="restricted"):
                await api.create(worse, dryRun="All")

    asyncio.run(run())


@pytest.mark.parametrize("name", CASES)
def test_applied_twice_nothing_changes(real_cluster, namespace, name):
    """No field is dropped or rewritten by the server: whoever compares what is wanted with what is there sees none."""

    async def run():
        async with own_namespace(real_cluster, namespace) as api:
            for obj in await objects_for(api, name, CASES[name].mode, namespace):
                if await served(api, obj):
                    first = await api.apply(obj, fieldValidation="Strict")
                    again = await api.apply(obj, fieldValidation="Strict")
                    for found in (first, again):
                        assert missing(obj, found) == [], obj["kind"]
                    assert again["metadata"].get("generation") == first["metadata"].get("generation")

    asyncio.run(run())


def missing(wanted, there, at=""):
    """Where what was applied does not stand in what the server has."""
    if isinstance(wanted, dict):
        return [
            line
            for key, value in wanted.items()
            for line in (missing(value, there[key], f"{at}.{key}") if key in there else [f"{at}.{key}: dropped"])
        ]
    if isinstance(wanted, list):
        if len(wanted) != len(there):
            return [f"{at}: {len(there)} entries, not {len(wanted)}"]
        return [line for index, one in enumerate(wanted) for line in missing(one, there[index], f"{at}[{index}]")]
    return [] if wanted == there else [f"{at}: {there!r}, not {wanted!r}"]
