"""The operator in a pod, and what goes wrong around it: what is said of services that can't serve, lost rights, an API
server that goes, a definition that changes, operators that are frozen and killed."""

import asyncio
import contextlib
import os
import signal
import time

import pytest
from tests.cluster.services import OPERATOR_ALONE, service, until_said, workloads
from tests.cluster.system import STAND_IN, SYSTEM, condition

VALUES = OPERATOR_ALONE
pytestmark = pytest.mark.timeout(300)


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
