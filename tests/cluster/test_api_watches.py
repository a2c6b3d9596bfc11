"""What both API servers do alike: lists, watches, what is deleted, and what their controllers make of it."""

import asyncio

import aiohttp
import pytest
from tests.cluster.contract import config_map, deployment, refused, run
from tests.kube.errors import ApiError


def test_lists_with_selectors_and_pages(cluster, namespace):
    async def body(api):
        for number in range(5):
            await api.create(config_map(namespace, f"n{number}", {"odd": str(number % 2), "app": "x"}))
        query = {"labelSelector": "app=x,odd=1"}
        names = [one["metadata"]["name"] for one in (await api.list("ConfigMap", namespace, **query))["items"]]
        assert names == ["n1", "n3"]
        query = {"labelSelector": "odd in (0,2),app"}
        assert len((await api.list("ConfigMap", namespace, **query))["items"]) == 3
        query = {"fieldSelector": "metadata.name=n4"}
        assert len((await api.list("ConfigMap", namespace, **query))["items"]) == 1
        page = await api.list("ConfigMap", namespace, labelSelector="app=x", limit=2)
        names = [one["metadata"]["name"] for one in page["items"]]
        while token := page["metadata"].get("continue"):
            page = await api.list("ConfigMap", namespace, **{"labelSelector": "app=x", "limit": 2, "continue": token})
            names += [one["metadata"]["name"] for one in page["items"]]
        assert names == [f"n{number}" for number in range(5)]

    run(cluster, namespace, body)


async def take(watch, count):
    found = []
    async with asyncio.timeout(20):
        async for sort, obj in watch:
            found.append((sort, obj["metadata"]["name"]))
            if len(found) == count:
                return found
    return found


def test_a_watch_tells_everything_after_its_version(cluster, namespace):
    async def body(api):
        before = (await api.list("ConfigMap", namespace))["metadata"]["resourceVersion"]
        await api.create(config_map(namespace, "x", {"app": "x"}, a="1"))
        await api.patch("ConfigMap", "x", namespace, {"data": {"a": "2"}})
        await api.patch("ConfigMap", "x", namespace, {"metadata": {"labels": {"app": "y"}}})
        await api.delete("ConfigMap", "x", namespace)
        query = {"resource_version": before, "fieldSelector": "metadata.name=x"}
        told = await take(api.watch("ConfigMap", namespace, **query), 4)
        assert [sort for sort, _ in told] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
        # what no longer has the label is gone, for this watch
        query = {"resource_version": before, "labelSelector": "app=x"}
        told = await take(api.watch("ConfigMap", namespace, **query), 3)
        assert [sort for sort, _ in told] == ["ADDED", "MODIFIED", "DELETED"]

    run(cluster, namespace, body)


def test_a_watch_ends_when_its_time_is_up(cluster, namespace):
    async def body(api):
        now = (await api.list("Secret", namespace))["metadata"]["resourceVersion"]
        async with asyncio.timeout(20):
            told = [one async for one in api.watch("Secret", namespace, resource_version=now, timeoutSeconds=1)]
        assert told == []

    run(cluster, namespace, body)


def test_a_watch_from_a_forgotten_version_is_gone(cluster, namespace):
    async def body(api):
        made = await api.create(config_map(namespace, a="1"))
        for number in range(3):
            await api.patch("ConfigMap", "a", namespace, {"data": {"a": str(number + 2)}})
        await asyncio.to_thread(cluster.compact)
        old = {"resource_version": made["metadata"]["resourceVersion"]}
        with pytest.raises(ApiError) as found:
            await take(api.watch("ConfigMap", namespace, **old), 1)
        assert (found.value.code, found.value.reason) == (410, "Expired")

    run(cluster, namespace, body)


def test_the_server_goes_and_comes_back(cluster, namespace):
    async def body(api):
        await api.create(config_map(namespace, a="1"))
        await asyncio.to_thread(cluster.stop)
        with pytest.raises(aiohttp.ClientError):
            await api.get("ConfigMap", "a", namespace)
        await asyncio.to_thread(cluster.start)
        assert (await api.get("ConfigMap", "a", namespace))["data"] == {"a": "1"}

    run(cluster, namespace, body)


def test_finalizers_hold_what_is_deleted(cluster, namespace):
    async def body(api):
        held = config_map(namespace, a="1")
        held["metadata"]["finalizers"] = ["example.plimsoll.dev/hold"]
        await api.create(held)
        await api.delete("ConfigMap", "a", namespace)
        found = await api.get("ConfigMap", "a", namespace)
        assert found["metadata"]["deletionTimestamp"]
        await api.patch("ConfigMap", "a", namespace, {"metadata": {"finalizers": None}})
        assert await api.find("ConfigMap", "a", namespace) is None

    run(cluster, namespace, body)


def test_what_has_lost_its_owner_goes(cluster, namespace):
    async def body(api):
        owner = await api.create(config_map(namespace, "owner"))
        owned = config_map(namespace, "owned")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        owned["metadata"]["ownerReferences"] = [reference]
        await api.create(owned)
        await api.delete("ConfigMap", "owner", namespace, propagationPolicy="Background")
        await api.until("ConfigMap", "owned", namespace, test=lambda found: found is None)

    run(cluster, namespace, body)


def test_a_namespace_that_ends_takes_nothing_new_and_loses_all(cluster, namespace):
    async def body(api):
        held = config_map(namespace, a="1")
        held["metadata"]["finalizers"] = ["example.plimsoll.dev/hold"]
        await api.create(held)
        await api.create(config_map(namespace, "plain"))
        await api.delete("Namespace", namespace)
        code, reason, message = await refused(api.create(config_map(namespace, "late")))
        assert (code, reason) == (403, "Forbidden")
        assert "because it is being terminated" in message
        await api.until("ConfigMap", "plain", namespace, test=lambda found: found is None)
        await api.patch("ConfigMap", "a", namespace, {"metadata": {"finalizers": None}})
        await api.until("Namespace", namespace, test=lambda found: found is None)
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    run(cluster, namespace, body)


def test_a_deployment_makes_pods(cluster, namespace):
    async def body(api):
        await api.create(deployment(namespace, replicas=2))

        async def count(wanted):
            async with asyncio.timeout(30):
                while True:
                    listed = await api.list("Pod", namespace, labelSelector="app=web")
                    left = [one for one in listed["items"] if "deletionTimestamp" not in one["metadata"]]
                    if len(left) == wanted:
                        return left
                    await asyncio.sleep(0.05)

        pods = await count(2)
        assert {one["status"]["phase"] for one in pods} == {"Pending"}
        await api.scale("Deployment", "web", namespace, 3)
        await count(3)
        found = await api.until("Deployment", "web", namespace, test=_seen)
        assert found["status"]["replicas"] == found["status"]["unavailableReplicas"] == 3
        await api.scale("Deployment", "web", namespace, 0)
        await count(0)

    run(cluster, namespace, body)


def _seen(found):
    status = found.get("status") or {}
    return status.get("observedGeneration") == found["metadata"]["generation"] and status.get("replicas") == 3
