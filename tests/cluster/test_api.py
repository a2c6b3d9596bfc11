"""What both API servers do alike, the one in memory and a real one: what the operator and its tests rely on."""

import asyncio

import aiohttp
import pytest
from tests.cluster.conftest import client
from tests.kube.client import JSON_PATCH, MERGE
from tests.kube.errors import ApiError

THINGS = "example.plimsoll.dev/v1"
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
    await api.until("CustomResourceDefinition", CRD["metadata"]["name"], test=_established)
    # a real server publishes the kind a moment after it says Established
    async with asyncio.timeout(20):
        while True:
            try:
                return await api.list("Thing", "default", api_version=THINGS)
            except ApiError as error:
                if error.code != 404:
                    raise
                await asyncio.sleep(0.05)


def _established(crd):
    conditions = ((crd or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


async def refused(awaitable):
    """(code, reason, message) of the refusal."""
    with pytest.raises(ApiError) as found:
        await awaitable
    return found.value.code, found.value.reason, found.value.message


# --- objects ----------------------------------------------------------------------------------------------------------
def test_what_exists_and_what_does_not(cluster, namespace):
    async def body(api):
        made = await api.create(config_map(namespace, a="1"))
        assert made["metadata"]["uid"]
        assert made["metadata"]["resourceVersion"]
        assert "generation" not in made["metadata"]
        code, reason, _ = await refused(api.create(config_map(namespace, a="1")))
        assert (code, reason) == (409, "AlreadyExists")
        code, reason, message = await refused(api.get("ConfigMap", "other", namespace))
        assert (code, reason, message) == (404, "NotFound", 'configmaps "other" not found')
        code, _, message = await refused(api.create(config_map("nowhere")))
        assert (code, message) == (404, 'namespaces "nowhere" not found')
        code, reason, message = await refused(api.create(config_map(namespace, "Bad_Name!")))
        assert (code, reason) == (422, "Invalid")
        assert "metadata.name" in message

    run(cluster, namespace, body)


def test_a_stale_write_is_a_conflict(cluster, namespace):
    async def body(api):
        made = await api.create(config_map(namespace, a="1"))
        await api.patch("ConfigMap", "a", namespace, {"data": {"a": "2"}})
        code, reason, _ = await refused(api.replace(made))
        assert (code, reason) == (409, "Conflict")
        stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "3"}}
        assert (await refused(api.patch("ConfigMap", "a", namespace, stale)))[0] == 409
        assert (await api.get("ConfigMap", "a", namespace))["data"] == {"a": "2"}
        await api.delete("ConfigMap", "a", namespace)
        made = await api.create(config_map(namespace, a="1"))
        wrong = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
        assert (await refused(api.delete("ConfigMap", "a", namespace, **wrong)))[0] == 409

    run(cluster, namespace, body)


def test_patches(cluster, namespace):
    async def body(api):
        await api.create(config_map(namespace, a="1", b="2"))
        found = await api.patch("ConfigMap", "a", namespace, {"data": {"a": None, "c": "3"}}, content_type=MERGE)
        assert found["data"] == {"b": "2", "c": "3"}
        steps = [{"op": "test", "path": "/data/b", "value": "2"}, {"op": "replace", "path": "/data/b", "value": "4"},
                 {"op": "add", "path": "/data/d", "value": "5"}, {"op": "remove", "path": "/data/c"}]  # fmt: skip
        found = await api.patch("ConfigMap", "a", namespace, steps, content_type=JSON_PATCH)
        assert found["data"] == {"b": "4", "d": "5"}
        steps = [{"op": "test", "path": "/data/b", "value": "other"}]
        assert (await refused(api.patch("ConfigMap", "a", namespace, steps, content_type=JSON_PATCH)))[0] == 422

    run(cluster, namespace, body)


def test_a_write_that_changes_nothing_is_no_new_version(cluster, namespace):
    async def body(api):
        made = await api.apply(config_map(namespace, a="1"))
        again = await api.apply(config_map(namespace, a="1"))
        assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        same = await api.patch("ConfigMap", "a", namespace, {"data": {"a": "1"}})
        assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    run(cluster, namespace, body)


def test_a_dry_run_changes_nothing(cluster, namespace):
    async def body(api):
        found = await api.apply(config_map(namespace, a="1"), dryRun="All")
        assert found["data"] == {"a": "1"}
        assert await api.find("ConfigMap", "a", namespace) is None
        await api.create(config_map(namespace, a="1"))
        found = await api.patch("ConfigMap", "a", namespace, {"data": {"a": "2"}}, dryRun="All")
        assert found["data"] == {"a": "2"}
        assert (await api.get("ConfigMap", "a", namespace))["data"] == {"a": "1"}

    run(cluster, namespace, body)


def test_generations_follow_the_spec_alone(cluster, namespace):
    async def body(api):
        await with_things(api)
        made = await api.create(thing(namespace, size=1))
        assert made["metadata"]["generation"] == 1
        labelled = {"metadata": {"labels": {"a": "b"}}}
        assert (await api.patch("Thing", "a", namespace, labelled, api_version=THINGS))["metadata"]["generation"] == 1
        grown = {"spec": {"size": 2}}
        assert (await api.patch("Thing", "a", namespace, grown, api_version=THINGS))["metadata"]["generation"] == 2
        told = {"status": {"replicas": 3}, "spec": {"size": 9}}
        found = await api.patch("Thing", "a", namespace, told, api_version=THINGS, subresource="status")
        assert (found["metadata"]["generation"], found["status"], found["spec"]["size"]) == (2, {"replicas": 3}, 2)
        found = await api.patch("Thing", "a", namespace, {"status": {"replicas": 4}}, api_version=THINGS)
        assert found["status"] == {"replicas": 3}  # the status is written through its subresource alone

    run(cluster, namespace, body)


# --- custom resources -------------------------------------------------------------------------------------------------
def test_custom_resources_are_checked_filled_and_pruned(cluster, namespace):
    async def body(api):
        await with_things(api)
        made = await api.create(thing(namespace, size=1, unknown=2, loose={"any": {"thing": 1}}))
        assert made["spec"] == {"size": 1, "colour": "blue", "loose": {"any": {"thing": 1}}}
        code, _, message = await refused(api.create(thing(namespace, "b", size=1, sise=2), fieldValidation="Strict"))
        assert code == 400
        assert 'unknown field "spec.sise"' in message
        code, reason, message = await refused(api.create(thing(namespace, "b", size=0)))
        assert (code, reason) == (422, "Invalid")
        assert "spec.size" in message
        assert (await refused(api.create(thing(namespace, "b"))))[0] == 422
        code, _, message = await refused(api.create(thing(namespace, "b", size=1, mode="fast")))
        assert code == 422
        assert 'Unsupported value: "fast": supported values: "Fast", "Slow"' in message

    run(cluster, namespace, body)


# --- server-side apply ------------------------------------------------------------------------------------------------
def test_apply_owns_refuses_forces_and_lets_go(cluster, namespace):
    async def body(api):
        await api.apply(config_map(namespace, a="1", b="1"), manager="one")
        code, _, message = await refused(api.apply(config_map(namespace, a="2"), manager="two"))
        assert code == 409
        assert 'conflict with "one": .data.a' in message
        await api.apply(config_map(namespace, a="1"), manager="two")  # the same value: owned by both
        found = await api.apply(config_map(namespace, b="1"), manager="one")
        assert found["data"] == {"a": "1", "b": "1"}  # `two` still owns a
        found = await api.apply(config_map(namespace, a="3", b="3"), manager="two", force=True)
        assert found["data"] == {"a": "3", "b": "3"}
        found = await api.apply(config_map(namespace), manager="one")
        assert found["data"] == {"a": "3", "b": "3"}
        found = await api.apply(config_map(namespace, b="3"), manager="two")
        assert found["data"] == {"b": "3"}  # nobody owned a any more

    run(cluster, namespace, body)


def test_an_empty_map_that_was_applied_may_be_filled_later(cluster, namespace):
    async def body(api):
        empty = config_map(namespace) | {"data": {}}
        await api.apply(empty, manager="one")
        found = await api.apply(config_map(namespace, a="1"), manager="one")
        assert found["data"] == {"a": "1"}

    run(cluster, namespace, body)


def test_what_an_update_changes_is_its_managers(cluster, namespace):
    async def body(api):
        await api.apply(config_map(namespace, a="1", b="1"), manager="one")
        await api.patch("ConfigMap", "a", namespace, {"data": {"a": "2"}}, fieldManager="hand")
        code, _, message = await refused(api.apply(config_map(namespace, a="1", b="1"), manager="one"))
        assert code == 409
        assert 'conflict with "hand"' in message
        found = await api.apply(config_map(namespace, b="1"), manager="one")
        assert found["data"] == {"a": "2", "b": "1"}

    run(cluster, namespace, body)


def test_lists_with_keys_are_merged_by_item(cluster, namespace):
    async def body(api):
        await with_things(api)
        await api.apply(thing(namespace, size=1, parts=[{"name": "x", "weight": 1}]), manager="one")
        mine = {**thing(namespace), "spec": {"parts": [{"name": "y", "weight": 2}]}}
        found = await api.apply(mine, manager="two")
        assert found["spec"]["parts"] == [{"name": "x", "weight": 1}, {"name": "y", "weight": 2}]
        mine["spec"]["parts"] = []
        found = await api.apply(mine, manager="two")
        assert found["spec"]["parts"] == [{"name": "x", "weight": 1}]
        env = [{"name": "A", "value": "1"}]
        containers = [{"name": "main", "image": "one", "env": env}]
        await api.apply(deployment(namespace, containers=containers), manager="one")
        side = deployment(namespace, containers=[{"name": "main", "env": [{"name": "B", "value": "2"}]}])
        del side["spec"]["selector"], side["spec"]["template"]["metadata"]
        found = await api.apply(side, manager="two")
        (container,) = found["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "one"
        assert [one["name"] for one in container["env"]] == ["A", "B"]

    run(cluster, namespace, body)


def test_replicas_are_the_scalers_once_apply_does_not_send_them(cluster, namespace):
    async def body(api):
        made = await api.apply(deployment(namespace, replicas=2), manager="plimsoll-operator")
        assert made["spec"]["replicas"] == 2
        await api.scale("Deployment", "web", namespace, 7)
        found = await api.apply(deployment(namespace, image="two"), manager="plimsoll-operator")
        assert found["spec"]["replicas"] == 7  # the scale's writer owns it
        managers = {(one["manager"], one["operation"], one.get("subresource", ""))
                    for one in found["metadata"]["managedFields"]}  # fmt: skip
        assert ("test", "Update", "scale") in managers
        made = await api.apply(deployment(namespace, "other", replicas=3), manager="plimsoll-operator")
        found = await api.apply(deployment(namespace, "other"), manager="plimsoll-operator")
        assert found["spec"]["replicas"] == 1  # dropped by its only owner: the default

    run(cluster, namespace, body)


def test_scale(cluster, namespace):
    async def body(api):
        await api.create(deployment(namespace, replicas=2))
        found = await api.scale("Deployment", "web", namespace, 5)
        assert (found["kind"], found["spec"]["replicas"], found["status"]["selector"]) == ("Scale", 5, "app=web")
        found = await api.get("Deployment", "web", namespace, subresource="scale")
        stale = {**found, "metadata": {**found["metadata"], "resourceVersion": "1"}}
        path = await api.path("apps/v1", "Deployment", namespace, "web", "scale")
        assert (await refused(api.request("PUT", path, stale)))[0] == 409
        assert (await refused(api.scale("Deployment", "web", namespace, -1)))[0] == 422
        await with_things(api)
        await api.create(thing(namespace, size=1))
        await api.scale("Thing", "a", namespace, 4, api_version=THINGS)
        found = await api.get("Thing", "a", namespace, api_version=THINGS)
        assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 2)

    run(cluster, namespace, body)


# --- lists and watches ------------------------------------------------------------------------------------------------
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


# --- ends -------------------------------------------------------------------------------------------------------------
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


# --- who may ----------------------------------------------------------------------------------------------------------
def test_nobody_may_more_than_roles_give(cluster, namespace):
    from tests.kube.client import Client

    async def body(api):
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "scaler", "namespace": namespace},
                "rules": [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
                          {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"],
                           "resourceNames": ["a"]}]}  # fmt: skip
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                   "metadata": {"name": "scaler", "namespace": namespace},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "scaler"},
                   "subjects": [{"kind": "Group", "name": "ops", "apiGroup": "rbac.authorization.k8s.io"}]}  # fmt: skip
        await api.create(deployment(namespace, replicas=1))
        await api.create(config_map(namespace, a="1"))
        async with Client(cluster.kubeconfig_of("bob:ops")) as bob:
            # paths without discovery, which bob may not
            scale = f"/apis/apps/v1/namespaces/{namespace}/deployments/web/scale"
            what = {"spec": {"replicas": 2}}
            code, reason, message = await refused(bob.request("PATCH", scale, what, content_type=MERGE))
            assert (code, reason) == (403, "Forbidden")
            assert 'User "bob" cannot patch resource "deployments/scale" in API group "apps"' in message
            await api.create(role)
            await api.create(binding)
            async with asyncio.timeout(20):
                while True:  # a real server learns of bindings by a watch of its own
                    try:
                        await bob.request("PATCH", scale, what, content_type=MERGE)
                        break
                    except ApiError:
                        await asyncio.sleep(0.05)
            maps = f"/api/v1/namespaces/{namespace}/configmaps"
            assert (await bob.request("GET", f"{maps}/a"))["data"] == {"a": "1"}
            assert (await refused(bob.request("GET", f"{maps}/b")))[0] == 403
            assert (await refused(bob.request("GET", maps)))[0] == 403

    run(cluster, namespace, body)


def test_service_accounts_tokens_are_for_an_audience(cluster, namespace):
    async def body(api):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x", "namespace": namespace}}
        await api.create(account)
        path = await api.path("v1", "ServiceAccount", namespace, "x", "token")
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                 "spec": {"audiences": ["plimsoll-controller"], "expirationSeconds": 600}}  # fmt: skip
        token = (await api.request("POST", path, asked))["status"]["token"]

        async def review(token, audience):
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                    "spec": {"token": token, "audiences": [audience]}}  # fmt: skip
            return (await api.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body))["status"]

        found = await review(token, "plimsoll-controller")
        assert found["authenticated"]
        assert found["audiences"] == ["plimsoll-controller"]
        assert found["user"]["username"] == f"system:serviceaccount:{namespace}:x"
        assert f"system:serviceaccounts:{namespace}" in found["user"]["groups"]
        assert not (await review(token, "another")).get("authenticated")
        assert not (await review(token[:-4] + "AAAA", "plimsoll-controller")).get("authenticated")
        spec = {"user": f"system:serviceaccount:{namespace}:x",
                "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}}  # fmt: skip
        asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        found = await api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", asked)
        assert not found["status"]["allowed"]

    run(cluster, namespace, body)


# --- controllers ------------------------------------------------------------------------------------------------------
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
