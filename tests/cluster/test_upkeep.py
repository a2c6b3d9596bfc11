"""Upkeep of a cluster that serves: nodes are drained under load, and what a tutorial made is taken over."""

import asyncio
from pathlib import Path

import httpx2
import yaml
from tests.cluster.system import SYSTEM
from tests.cluster.test_serving import VALUES, door, loaded, pytestmark, replicas, settled, space

__all__ = ["VALUES", "pytestmark", "space"]  # what conftest and pytest look for here

TUTORIAL = Path(__file__).parents[1] / "e2e" / "adopt"
NODES = ("node-0", "node-1")


def test_nodes_are_drained_under_load_the_one_with_the_only_replica_too(system, space):
    """`kubectl drain`, which evicts: operator, controllers, gateways and the service's one replica move, twice."""
    space.apply(scaling={"minReplicas": 1, "maxReplicas": 2})

    async def body(api):
        await api.until("ModelService", "echo", space.name, test=settled)
        seen = set()
        async with loaded(space, await door(api)):
            for node in NODES:
                (pod,) = await replicas(api, space, 1)
                seen.add(pod["spec"]["nodeName"])
                await asyncio.to_thread(drained, system, node)
                for name in ("plimsoll-operator", "plimsoll-controller", "plimsoll-gateway"):
                    await system.ready(api, name)
                (pod,) = await replicas(api, space, 1)
                assert pod["spec"]["nodeName"] != node
                seen.add(pod["spec"]["nodeName"])  # it may have been on the second from the beginning
                left = (await api.list("Pod", SYSTEM, fieldSelector=f"spec.nodeName={node}"))["items"]
                assert left == []
                system.kubectl("uncordon", node)
        assert seen == set(NODES), "its only replica was moved"
        events = (await api.list("Event", space.name))["items"]
        assert [one["message"] for one in events if one["reason"] == "Moved"][:1], [one["reason"] for one in events]
        assert all("moved 1 replica (drained)" in one["message"] for one in events if one["reason"] == "Moved")

    try:
        system.run(body, within_s=220)
    finally:
        for node in NODES:
            system.kubectl("uncordon", node)


def drained(system, node):
    system.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=100s")


def test_what_a_tutorial_made_is_taken_over_from_the_cluster_and_serves(system, space):
    """Deployment, Service and HPA as they stand there, to a service that answers the same requests."""
    files = [(TUTORIAL / f"{name}.yaml").read_text() for name in ("deployment", "hpa")]
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "moods"}, "stringData": {"token": "t"}}

    async def before(api):
        for one in (keys, *(one for text in files for one in yaml.safe_load_all(text))):
            one["metadata"]["namespace"] = space.name
            await api.create(one)

    system.run(before)
    there = ["--context", system.context, "--namespace", space.name]
    folder = space.folder / "moods"
    system.plimsoll("adopt", "deployment/moods-deployment", "hpa/moods-hpa", *there,
                    "--app", str(TUTORIAL / "moods.py"), "--to", str(folder))  # fmt: skip
    system.plimsoll("apply", str(folder / "service.yaml"), *there, "--timeout", "90s")

    async def body(api):
        async with httpx2.AsyncClient(timeout=60) as client:
            answer = await client.post(
                f"http://{await door(api)}/analyze",
                json={"text": "a lovely day"},
                headers={"Host": f"moods.{space.name}"},
            )
        assert (answer.status_code, answer.json()) == (200, {"label": "POSITIVE", "score": 1}), answer.text
        made = await api.get("HorizontalPodAutoscaler", "moods", space.name, api_version="autoscaling/v2")
        old = await api.get("HorizontalPodAutoscaler", "moods-hpa", space.name, api_version="autoscaling/v2")
        for key in ("minReplicas", "maxReplicas", "metrics"):
            assert made["spec"][key] == old["spec"][key]
        assert await api.find("Deployment", "moods-deployment", space.name, api_version="apps/v1"), (
            "nothing is taken away"
        )

    system.run(body)


def test_what_is_installed_and_what_serves_show_no_drift(system, space):
    """As kubectl and Argo CD compare, by client-side and by server-side apply: certificates, counts and defaults that
    others filled in are no difference."""
    space.apply()
    printed = system.plimsoll("install", "--values", str(system.folder / "values.yaml"), "--dry-run").stdout
    file = system.plimsoll("pack", str(space.folder / "echo.yaml")).stdout

    async def body(api):
        await api.until("ModelService", "echo", space.name, test=settled)
        hook = await api.get("ValidatingWebhookConfiguration", "plimsoll-operator",
                             api_version="admissionregistration.k8s.io/v1")  # fmt: skip
        assert hook["webhooks"][0]["clientConfig"]["caBundle"], "the operator's own field"

    system.run(body)
    ways = [["--server-side", "--force-conflicts", "--field-manager=argocd-controller"]]
    if system.real:  # the server in memory keeps empty maps, which kubectl's own patches have
        ways.append([])
    for how in ways:
        for given, where in ((printed, []), (file, ["-n", space.name])):
            done = system.kubectl("diff", *how, *where, "-f", "-", given=given, check=False)
            assert (done.returncode, done.stdout) == (0, ""), f"{how}: {done.stdout}{done.stderr}"


def test_without_an_operator_serving_and_scaling_go_on_and_it_is_told(system, space):
    """`kubectl scale deploy plimsoll-operator --replicas=0`, under load."""
    space.apply(scaling={"minReplicas": 1, "maxReplicas": 3})
    there = ["--context", system.context, "--namespace", space.name]

    async def body(api):
        await api.until("ModelService", "echo", space.name, test=settled)
        assert "no operator" not in system.plimsoll("status", *there).stdout
        async with loaded(space, await door(api), least=40):
            await api.scale("Deployment", "plimsoll-operator", SYSTEM, 0)
            async with asyncio.timeout(60):
                while await system.pods(api, "operator"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            system.kubectl("scale", "msvc/echo", "-n", space.name, "--replicas=2")
            await replicas(api, space, 2)
            async with asyncio.timeout(60):  # its Lease is given back at its end
                while "no operator is at work" not in system.plimsoll("status", *there).stdout:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)

    try:
        system.run(body, within_s=150)
    finally:
        system.run(lambda api: api.scale("Deployment", "plimsoll-operator", SYSTEM, 1))
        system.run(lambda api: system.ready(api, "plimsoll-operator"))
