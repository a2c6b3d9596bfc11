"""The operator in a pod, with the account, roles and certificates that ship, on both API servers.

Replicas are stand-ins that only say that they are ready; nobody scales but the tests.
"""

import asyncio
import contextlib
import os
import signal
import time

import pytest
from tests.cluster.system import STAND_IN, SYSTEM, System, condition, said
from tests.kube.errors import ApiError

VALUES = {
    "operator": {"replicas": 1},
    "controller": {"replicas": 0},
    "gateway": {"replicas": 0, "autoscaling": {"enabled": False}},
}
# stand-ins have nothing to drain
QUICK_END = {
    "terminationGracePeriodSeconds": 3,
    "containers": [{"name": "model", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}],
}
SLOW = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=["memory", "real"])
def system(request, tmp_path_factory):
    with System.started(request.param, VALUES, tmp_path_factory.mktemp("system")) as running:

        async def up(api):
            try:
                await running.ready(api, "plimsoll-operator")
            finally:
                await running.tell(api)

        running.run(up)
        yield running


@pytest.fixture
def space(system, namespace):
    """A namespace; its end isn't waited for."""

    def make(api):
        return api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    system.run(make)
    yield namespace

    async def away(api):
        await system.tell(api, namespace)
        with contextlib.suppress(ApiError):
            await api.delete("Namespace", namespace)

    system.run(away)


def service(namespace, name="mood", image=STAND_IN, **spec):
    """`spec` beside what every one has; a `runtime` given replaces its image."""
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"path": "mood:Mood"},
            "runtime": {"image": image},
            "budget": {"latency": {"p99": "100ms"}},
            "scaling": {"minReplicas": 1, "maxReplicas": 4},
            "resources": {"requests": {"cpu": "100m"}},
            "podTemplate": {"spec": QUICK_END},
        }
        | spec,
    }


async def until_said(api, namespace, name, kind, status, reason=None, *, after=0, within_s=60):
    try:
        return await api.until("ModelService", name, namespace, test=said(kind, status, reason, after=after),
                               within_s=within_s)  # fmt: skip
    except TimeoutError:
        found = await api.find("ModelService", name, namespace)
        raise AssertionError(f"{name}: {(found or {}).get('status')}") from None


async def workloads(api, namespace, name="mood"):
    found = await api.list("Deployment", namespace, api_version="apps/v1", labelSelector=f"plimsoll.dev/service={name}")
    return {one["metadata"]["name"]: one for one in found["items"]}


async def gone(api, kind, namespace, label, api_version="v1"):
    async with asyncio.timeout(40):
        while (await api.list(kind, namespace, api_version=api_version, labelSelector=label))["items"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def owners(obj, *path):
    """Who owns a field, by server-side apply."""
    found = set()
    for entry in obj["metadata"].get("managedFields") or ():
        fields = entry["fieldsV1"]
        for name in path:
            fields = fields.get(f"f:{name}") if fields is not None else None
        if fields is not None:
            found.add(entry["manager"])
    return found


@SLOW
def test_a_service_comes_is_seen_changes_and_goes(system, space):
    system.kubectl("apply", "-f", "-", given=service(space))
    system.kubectl("wait", "-n", space, "--for=condition=Ready", "msvc/mood", "--timeout=60s")
    first = system.kubectl("get", "msvc", "mood", "-n", space, "-o", "jsonpath={.status.revision}").stdout

    table = system.kubectl("get", "msvc", "-n", space).stdout.splitlines()
    assert table[0].split() == ["NAME", "URL", "READY", "REPLICAS", "P99", "BUDGET", "REVISION", "AGE"]
    row = table[1].split()
    assert row[0] == "mood"
    assert row[2:4] == ["True", "1/1"]
    assert {"100ms", first} <= set(row)
    told = system.kubectl("describe", "msvc", "mood", "-n", space).stdout
    assert "1 of 1 replicas are ready" in told
    explained = system.kubectl("explain", "msvc.spec.budget").stdout
    assert "latency" in explained
    assert "DESCRIPTION" in explained

    async def stands(api):
        await api.until("ModelService", "mood", space, test=lambda one: condition(one).get("reason") == "Serving")
        made = await api.get("Deployment", first, space)
        assert made["metadata"]["ownerReferences"][0]["name"] == "mood"
        assert owners(made, "spec", "template") == {"plimsoll-operator"}
        found = await api.get("ModelService", "mood", space)
        assert {one["type"] for one in found["status"]["conditions"]} == {
            "Ready", "ModelLoaded", "RouteReady", "CapacityAvailable", "WithinBudget",
        }  # fmt: skip
        assert {one["observedGeneration"] for one in found["status"]["conditions"]} == {1}
        assert found["status"]["scaleTarget"] == first
        await api.get("Service", "mood", space)
        await api.get("PodDisruptionBudget", "mood", space, api_version="policy/v1")
        # resolved defaults stand in the status, not in the stored spec
        assert "timeout" not in found["spec"]
        assert found["status"]["resolved"]["timeout"]

    system.run(stands)
    # an untouched object has no drift
    assert system.kubectl("diff", "-f", "-", given=service(space)).stdout == ""

    changed = service(space, image="stand-in:2")
    assert system.kubectl("diff", "-f", "-", given=changed, check=False).returncode == 1
    system.kubectl("apply", "-f", "-", given=changed)

    async def rolls(api):
        found = await api.until("ModelService", "mood", space, within_s=60,
                                test=lambda one: condition(one).get("reason") == "Serving"
                                and one["status"]["revision"] != first)  # fmt: skip
        new = found["status"]["revision"]
        async with asyncio.timeout(30):
            while (made := await workloads(api, space))[first]["spec"]["replicas"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert made[new]["spec"]["replicas"] == 1
        events = await api.list("Event", space)
        assert any(one["reason"] == "Created" and new in one["message"] for one in events["items"])

    system.run(rolls)
    system.kubectl("delete", "msvc", "mood", "-n", space, "--timeout=60s")

    async def leaves_nothing(api):
        for kind, version in (("Deployment", "apps/v1"), ("Service", "v1"), ("ConfigMap", "v1"),
                              ("PodDisruptionBudget", "policy/v1"), ("ServiceAccount", "v1")):  # fmt: skip
            await gone(api, kind, space, "plimsoll.dev/service=mood", version)

    system.run(leaves_nothing)


@SLOW
def test_what_others_change_comes_back_but_counts_are_the_scalers(system, space):
    system.kubectl("apply", "-f", "-", given=service(space))

    async def body(api):
        found = await until_said(api, space, "mood", "Ready", "True")
        target = found["status"]["scaleTarget"]
        await api.scale("Deployment", target, space, 2)  # as a scaler
        await api.patch("Service", "mood", space, {"metadata": {"labels": {"plimsoll.dev/service": "mine"}}})
        await api.delete("PodDisruptionBudget", "mood", space, api_version="policy/v1")
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": "other:1"}]}}}}
        await api.patch("Deployment", target, space, patch,
                        content_type="application/strategic-merge-patch+json")  # fmt: skip
        await api.until("Service", "mood", space, test=labelled)
        await api.until("PodDisruptionBudget", "mood", space, api_version="policy/v1", test=lambda one: one is not None)
        made = await api.until("Deployment", target, space,
                               test=lambda one: one["spec"]["template"]["spec"]["containers"][0]["image"] == STAND_IN
                               and (one.get("status") or {}).get("readyReplicas") == 2)  # fmt: skip
        assert made["spec"]["replicas"] == 2
        assert "plimsoll-operator" not in owners(made, "spec", "replicas")
        # a new revision begins with what the scaler wanted
        await api.apply(service(space, image="stand-in:2"), force=True)
        found = await api.until("ModelService", "mood", space, within_s=60,
                                test=lambda one: condition(one).get("reason") == "Serving"
                                and one["status"]["scaleTarget"] != target)  # fmt: skip
        new = await api.get("Deployment", found["status"]["scaleTarget"], space)
        assert new["spec"]["replicas"] == 2

    system.run(body)


def labelled(obj):
    return obj is not None and obj["metadata"]["labels"]["plimsoll.dev/service"] == "mood"


@SLOW
def test_kubectl_scale_sets_the_services_own_count(system, space):
    system.kubectl("apply", "-f", "-", given=service(space))
    system.kubectl("wait", "-n", space, "--for=condition=Ready", "msvc/mood", "--timeout=60s")
    told = system.kubectl("scale", "msvc/mood", "-n", space, "--replicas=3").stdout
    assert "mood scaled" in told

    async def body(api):
        found = await api.get("ModelService", "mood", space)
        assert found["spec"]["replicas"] == 3
        # the scale subresource answers as the API says
        scale = await api.get("ModelService", "mood", space, subresource="scale")
        assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 1)
        assert "plimsoll.dev/service=mood" in scale["status"]["selector"]

    system.run(body)


REFUSED = {
    "a typing mistake": ({"budgets": {}}, "budgets"),
    "a value of the wrong kind": ({"scaling": {"minReplicas": "many"}}, "spec.scaling.minReplicas"),
    "no duration": ({"budget": {"latency": {"p99": "quick"}}}, "spec.budget.latency.p99"),
    "two keys that contradict": ({"scaling": {"minReplicas": 5, "maxReplicas": 2}}, "axReplicas"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_kubectl_refuses_what_is_wrong_and_names_the_key(system, space, what):
    spec, key = REFUSED[what]
    if what == "two keys that contradict" and not system.real:
        pytest.skip("the server in memory has no CEL rules; that the webhook says it is tried elsewhere")
    done = system.kubectl("apply", "-f", "-", given=service(space, **spec), check=False)
    assert done.returncode == 1, done.stdout
    assert key in done.stderr


@SLOW
def test_what_keeps_a_service_from_serving_is_told_in_words(system, space):
    system.kubelet.bad_images["missing:1"] = "not found"
    secret = {"name": "TOKEN", "secretRef": {"name": "keys", "key": "token"}}
    wrong = {
        "unpulled": service(space, "unpulled", image="missing:1"),
        "crowded": service(space, "crowded", resources={"limits": {"cpu": "500"}}),
        "secret": service(space, "secret", runtime={"image": STAND_IN, "env": [secret]}),
        "unpacked": service(space, "unpacked", model={"path": "./mood.py"}, runtime={}),
    }

    async def body(api):
        for one in wrong.values():
            await api.apply(one)
        expected = {
            "unpulled": ("ImagePullFailed", ["missing:1", "not found", "imagePullSecrets"]),
            "crowded": ("Unschedulable", ["cpu: 500", "node-0 (64)"]),
            "secret": ("SecretMissing", ["keys", "kubectl create secret"]),
            "unpacked": ("ModelNotPacked", ["plimsoll pack"]),
        }
        for name, (reason, words) in expected.items():
            found = await until_said(api, space, name, "Ready", "False", reason)
            message = condition(found)["message"]
            assert [word for word in words if word not in message] == [], message
        crowded = await api.get("ModelService", "crowded", space)
        assert condition(crowded, "CapacityAvailable")["status"] == "False"
        # and each comes right once it is mended
        await api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": space},
                          "stringData": {"token": "x"}})  # fmt: skip
        del system.kubelet.bad_images["missing:1"]
        system.kubelet.stand_ins["missing:1"] = system.kubelet.stand_ins[STAND_IN]
        await api.apply(service(space, "crowded"), force=True)
        await api.apply(service(space, "unpacked"), force=True)
        for name in wrong:
            await until_said(api, space, name, "Ready", "True", "Serving")

    system.run(body)
    events = system.kubectl("get", "events", "-n", space).stdout
    assert "ImagePullFailed" in events


@SLOW
def test_a_bad_revision_leaves_the_good_one_serving(system, space):
    async def body(api):
        await api.apply(service(space))
        found = await until_said(api, space, "mood", "Ready", "True", "Serving")
        good = found["status"]["revision"]
        system.kubelet.stand_ins["crashes:1"] = ["sh", "-c", "echo no such column: mood; exit 3"]
        await api.apply(service(space, image="crashes:1"), force=True)
        found = await until_said(api, space, "mood", "Ready", "True", "RevisionFailed")
        assert "no such column: mood" in condition(found)["message"]
        assert found["status"]["scaleTarget"] == good
        assert (await api.get("Deployment", good, space))["spec"]["replicas"] == 1
        await api.apply(service(space), force=True)
        found = await until_said(api, space, "mood", "Ready", "True", "Serving", after=3)
        assert found["status"]["revision"] == good

    system.run(body)


@SLOW
def test_a_role_that_lacks_a_verb_is_told_and_mended(system, space):
    async def body(api):
        role = await api.get("ClusterRole", "plimsoll-operator", api_version="rbac.authorization.k8s.io/v1")
        rules = role["rules"]
        less = [rule for rule in rules if "poddisruptionbudgets" not in rule["resources"]]
        (budgets,) = [rule for rule in rules if "poddisruptionbudgets" in rule["resources"]]
        rest = [one for one in budgets["resources"] if one != "poddisruptionbudgets"]
        less += [{**budgets, "resources": rest}] if rest else []
        less.append({**budgets, "resources": ["poddisruptionbudgets"], "verbs": ["get", "list", "watch"]})
        kind = {"api_version": "rbac.authorization.k8s.io/v1"}
        await api.patch("ClusterRole", "plimsoll-operator", "", {"rules": less}, **kind)
        try:
            await api.apply(service(space))
            found = await api.until("ModelService", "mood", space, within_s=60,
                                    test=lambda one: condition(one).get("reason") == "Forbidden")  # fmt: skip
            message = condition(found)["message"]
            assert "poddisruptionbudgets.policy" in message
            assert "ClusterRole plimsoll-operator" in message
        finally:
            await api.patch("ClusterRole", "plimsoll-operator", "", {"rules": rules}, **kind)
        await until_said(api, space, "mood", "Ready", "True", "Serving")

    system.run(body)


@SLOW
def test_a_namespace_goes_with_its_services(system, space):
    async def body(api):
        for name in ("mood", "other"):
            await api.apply(service(space, name))
        for name in ("mood", "other"):
            await until_said(api, space, name, "Ready", "True")
        await api.delete("Namespace", space)
        await api.until("Namespace", space, test=lambda one: one is None, within_s=60)

    system.run(body)


@SLOW
def test_the_api_server_restarts_and_forgets(system, space):
    async def before(api):
        await api.apply(service(space))
        found = await until_said(api, space, "mood", "Ready", "True", "Serving")
        return found["status"]["revision"]

    revision = system.run(before)
    system.cluster.stop()
    system.cluster.compact() if not system.real else None
    system.cluster.start()

    async def after(api):
        await api.apply(service(space, image="stand-in:2"), force=True)
        found = await api.until("ModelService", "mood", space, within_s=60,
                                test=lambda one: condition(one).get("reason") == "Serving"
                                and one["status"]["revision"] != revision)  # fmt: skip
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        for pod in await system.pods(api, "operator"):
            assert pod["status"]["containerStatuses"][0]["restartCount"] == 0

    system.run(after)


@SLOW
def test_a_definition_is_upgraded_under_a_running_operator(system, space):
    async def body(api):
        await api.apply(service(space))
        await until_said(api, space, "mood", "Ready", "True", "Serving")
        crd = await api.get("CustomResourceDefinition", "modelservices.plimsoll.dev")
        version = crd["spec"]["versions"][0]
        before = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        before["comment"] = {"type": "string", "description": "What a later version may have."}
        version["additionalPrinterColumns"].append({"name": "Comment", "type": "string", "jsonPath": ".spec.comment"})
        del crd["metadata"]["managedFields"], crd["metadata"]["resourceVersion"], crd["status"]
        await api.apply(crd, force=True)
        async with asyncio.timeout(30):
            while "COMMENT" not in system.kubectl("get", "msvc", "-n", space).stdout:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        await api.apply(service(space, image="stand-in:2"), force=True)
        found = await api.until("ModelService", "mood", space, within_s=60,
                                test=lambda one: condition(one).get("reason") == "Serving"
                                and condition(one)["observedGeneration"] == one["metadata"]["generation"])  # fmt: skip
        made = await api.get("Deployment", found["status"]["revision"], space)
        assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "stand-in:2"

    try:
        system.run(body)
    finally:
        system.install(VALUES)  # the definition as it ships


@SLOW
def test_an_operator_is_killed_in_mid_work_and_another_ends_it(system, space):
    """Two operators; the one that leads is frozen, then killed, while services come."""
    count = 8

    async def body(api):
        await api.scale("Deployment", "plimsoll-operator", SYSTEM, 2)
        await system.ready(api, "plimsoll-operator", 2)
        name, pid = await system.leader(api)
        # frozen: it doesn't know that time passes; when it wakes it must not act
        os.kill(pid, signal.SIGSTOP)
        try:
            await api.apply(service(space, "first"))
            await until_said(api, space, "first", "Ready", "True")
            other, second = await system.leader(api)
            assert other != name
        finally:
            with contextlib.suppress(ProcessLookupError):  # its liveness probe may have ended it
                os.kill(pid, signal.SIGCONT)
        await asyncio.gather(*(api.apply(service(space, f"mood-{number}")) for number in range(count)))
        began = time.monotonic()
        async with asyncio.timeout(30):
            while not (await api.list("Deployment", space, api_version="apps/v1"))["items"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        os.kill(second, signal.SIGKILL)
        for number in range(count):
            await until_said(api, space, f"mood-{number}", "Ready", "True", "Serving", within_s=80)
        print(f"all serve {time.monotonic() - began:.1f} s after the first object")
        for number in range(count):
            made = await workloads(api, space, f"mood-{number}")
            assert len(made) == 1
            (one,) = made.values()
            assert one["spec"]["replicas"] == 1
        await api.scale("Deployment", "plimsoll-operator", SYSTEM, 1)

    system.run(body, within_s=150)
