"""What both API servers do alike, the one in memory and a real one: what the operator and its tests rely on.

Objects, definitions, who owns what."""

from tests.cluster.contract import THINGS, config_map, deployment, refused, run, thing, with_things
from tests.kube.client import JSON_PATCH, MERGE


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


def test_what_apply_leaves_out_goes_with_all_that_it_leaves_empty(cluster, namespace):
    async def body(api):
        await with_things(api)
        nest = {"in": {"deep": {"a": 1}}, "by": {"deep": {"a": 2}}}
        await api.apply(thing(namespace, size=1, nest=nest))
        found = await api.apply(thing(namespace, size=1, nest={"by": {"deep": {"a": 2}}}))
        assert found["spec"]["nest"] == {"by": {"deep": {"a": 2}}}
        found = await api.apply(thing(namespace, size=1))
        assert "nest" not in found["spec"]

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
