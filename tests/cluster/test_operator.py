"""The operator in a pod, with the account, roles and certificates that ship, on both API servers. Nobody scales but
the tests."""

import asyncio

import pytest
from tests.cluster.services import OPERATOR_ALONE, gone, owners, service, until_said, workloads
from tests.cluster.system import STAND_IN, condition

VALUES = OPERATOR_ALONE
pytestmark = pytest.mark.timeout(300)


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


def test_a_namespace_goes_with_its_services(system, space):
    async def body(api):
        for name in ("mood", "other"):
            await api.apply(service(space, name))
        for name in ("mood", "other"):
            await until_said(api, space, name, "Ready", "True")
        await api.delete("Namespace", space)
        await api.until("Namespace", space, test=lambda one: one is None, within_s=60)

    system.run(body)


# Last: a real garbage collector learns of our kinds each 30 s, and what a service owned goes then.
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
