"""Plimsoll as it is installed, serving: operator, controllers, gateways and replicas in pods on two nodes, on both API
servers. Load never stops while things come, change and go, and no request fails."""

import asyncio
import contextlib
import json
import os
import signal
import time

import aiohttp
import pytest
from tests.cluster.system import SYSTEM, condition, said
from tests.kube.errors import ApiError
from tests.support.pods import Load

SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}}
VALUES = {
    "operator": {"replicas": 1, "resources": SMALL},
    "controller": {"replicas": 2, "resources": SMALL},
    "gateway": {"replicas": 2, "autoscaling": {"enabled": False}, "resources": SMALL, "preStopSeconds": 2},
    "metricsApis": {"external": True},
}
MODEL = """
import os, time

class Echo:
    def predict(self, batch):
        time.sleep(max(float(one.get("s", 0)) for one in batch))
        return [{"pod": os.environ["POD_NAME"], "version": VERSION} for _ in batch]
"""
RATE = 20  # requests a second: two cores run it all
pytestmark = pytest.mark.timeout(240)


class Space:
    """A namespace, and a folder of service files for it."""

    def __init__(self, system, name, folder):
        self.system, self.name, self.folder = system, name, folder

    def file(self, name="echo", version=1, **spec):
        module = f"model{version}"
        (self.folder / f"{module}.py").write_text(f"VERSION = {version}\n{MODEL}")
        document = {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": name},
            "spec": {
                "model": {"path": f"./{module}.py"},
                "routes": [{"path": self.path}],
                "timeout": "20s",
                "scaling": {"minReplicas": 2, "maxReplicas": 4},
                "resources": {"requests": {"cpu": "100m"}},
            }
            | spec,
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(document))
        return str(path)

    def apply(self, *args, wait=True, **spec):
        command = ["apply", self.file(*args, **spec), "--context", self.system.context, "--namespace", self.name]
        self.system.plimsoll(*command, "--timeout", "90s", *([] if wait else ["--no-wait"]))

    @property
    def path(self):
        return f"/{self.name}"

    async def ask(self, address, given=None):
        """One request, with the service's own host: the pod that answered."""
        headers = {"Host": f"echo.{self.name}.svc"}
        url = f"http://{address}{self.path}"
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
            session.post(url, json=given or {}, headers=headers) as answer,
        ):
            body = await answer.read()
            assert answer.status == 200, f"{answer.status} {dict(answer.headers)} {body!r}"
            return json.loads(body)


@pytest.fixture
def space(system, namespace, tmp_path):
    def make(api):
        return api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    system.run(make)
    yield Space(system, namespace, tmp_path)

    async def away(api):
        await system.tell(api, namespace)
        with contextlib.suppress(ApiError):
            await api.delete("Namespace", namespace)
        # Two cores have no room for what was. The namespace itself ends half its pods' grace period later.
        await no_pods(api, namespace)

    system.run(away)


async def door(api):
    """The address of the Service in front of the gateways."""
    found = await api.get("Service", "plimsoll-gateway", SYSTEM)
    return found["spec"]["clusterIP"]


@contextlib.asynccontextmanager
async def loaded(space, address, least=100, rate=RATE):
    """Load while the block runs; afterwards no request has failed, and at least so many were sent."""
    load = Load(f"http://{address}{space.path}", rate=rate, seconds=200, body="{}",
                headers=[f"Host: echo.{space.name}.svc"])  # fmt: skip
    try:
        await asyncio.sleep(1)
        yield load
        assert load.runs()
        await asyncio.sleep(1)
        report = await load.report()
    finally:
        load.kill()
    print(f"{report['offered']} requests: {report['outcomes']}, hung {report['hung']}")
    assert report["offered"] >= least
    assert set(report["outcomes"]) == {"ok"}, report["outcomes"]
    assert not report["hung"]


async def no_pods(api, namespace, within_s=90):
    """Until none is left, not even one that ends."""
    async with asyncio.timeout(within_s):
        while (await api.list("Pod", namespace))["items"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def replicas(api, space, count=None, within_s=60):
    """Its pods that are ready and not about to end; until there are so many."""
    async with asyncio.timeout(within_s):
        while True:
            found = await api.list("Pod", space.name, labelSelector="plimsoll.dev/service=echo")
            pods = [pod for pod in found["items"] if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
            if count in (None, len(pods)):
                return pods
            await asyncio.sleep(0.1)


def is_ready(pod):
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def settled(service):
    """All that was asked for last serves."""
    return (
        condition(service).get("reason") == "Serving"
        and condition(service)["observedGeneration"] == service["metadata"]["generation"]
        and not service["status"].get("newRevision")
    )


def test_from_a_file_to_an_answer_and_from_zero(system, space):
    space.apply(scaling={"minReplicas": 0, "maxReplicas": 3, "scaleToZeroAfter": "1s"})

    async def body(api):
        await api.until("ModelService", "echo", space.name, test=said("Ready", "True", "ScaledToZero"), within_s=60)
        await no_pods(api, space.name)  # one that drains would answer still
        answer = await space.ask(await door(api))  # held, not refused
        assert answer["pod"].startswith("echo-")
        await no_pods(api, space.name)  # again
        await api.until("ModelService", "echo", space.name, test=said("Ready", "True", "ScaledToZero"), within_s=60)

    system.run(body)
    shown = system.plimsoll("status", "--context", system.context, "--namespace", space.name).stdout
    assert "echo" in shown
    assert "Ready" in shown


def test_a_new_revision_and_new_gateways_under_load(system, space):
    space.apply()

    async def body(api):
        address = await door(api)
        async with loaded(space, address):
            old = (await api.get("ModelService", "echo", space.name))["status"]["revision"]
            await asyncio.to_thread(space.apply, version=2)
            found = await api.until("ModelService", "echo", space.name, test=settled, within_s=60)
            assert found["status"]["revision"] != old
            assert (await space.ask(address))["version"] == 2
            # each gateway in turn, as a rollout does; the Service leads to the others meanwhile
            for pod in await system.pods(api, "gateway"):
                await api.delete("Pod", pod["metadata"]["name"], SYSTEM)
                await api.until("Pod", pod["metadata"]["name"], SYSTEM, test=lambda one: one is None, within_s=60)
                await system.ready(api, "plimsoll-gateway", 2)

    system.run(body, within_s=200)


def test_a_replica_is_killed_and_a_node_is_lost_under_load(system, space):
    space.apply()

    async def body(api):
        await api.until("ModelService", "echo", space.name, test=settled)
        pods = {pod["spec"]["nodeName"]: pod for pod in await replicas(api, space, 2)}
        assert set(pods) == {"node-0", "node-1"}  # spread
        # who was connected to a gateway on the lost node has lost that connection: nothing behind it can help. Where
        # the gateways are is the scheduler's: their spread is a wish, and those of the test before may have been there.
        gateway = (await system.pods(api, "gateway"))[0]
        kept = gateway["spec"]["nodeName"]
        (lost,) = set(pods) - {kept}
        async with loaded(space, f"{gateway['status']['podIP']}:8080"):
            name = pods[kept]["metadata"]["name"]
            os.kill(system.kubelet.process_of(name, space.name), signal.SIGKILL)
            await api.until("Pod", name, space.name, within_s=60,
                            test=lambda pod: is_ready(pod) and restarts(pod))  # fmt: skip
            await asyncio.to_thread(system.kubelet.kill_node, lost)
            try:
                await api.until("Node", lost, test=unknown, within_s=60)
            finally:
                await asyncio.to_thread(system.kubelet.start_node, lost)
            await replicas(api, space, 2)

    system.run(body, within_s=200)
    system.run(lambda api: system.ready(api, "plimsoll-gateway", 2))


def restarts(pod):
    return pod["status"]["containerStatuses"][0]["restartCount"]


def unknown(node):
    return any(one["type"] == "Ready" and one["status"] == "Unknown" for one in node["status"]["conditions"])


def test_serving_goes_on_without_a_control_plane_and_scaling_holds(system, space):
    space.apply()

    async def before(api):
        await api.until("ModelService", "echo", space.name, test=settled)
        return await door(api), sorted(pod["metadata"]["name"] for pod in await replicas(api, space, 2))

    address, names = system.run(before)

    async def body():
        frozen = [system.kubelet.process_of(pod, SYSTEM) for pod in own]
        async with loaded(space, address):
            await asyncio.to_thread(system.cluster.stop)
            try:
                for pid in frozen:
                    os.kill(pid, signal.SIGSTOP)
                seen = {(await space.ask(address))["pod"] for _ in range(20)}
                assert seen <= set(names)
                await asyncio.sleep(5)  # longer than a report's time
            finally:
                for pid in frozen:
                    os.kill(pid, signal.SIGCONT)
                await asyncio.to_thread(system.cluster.start)
            await asyncio.sleep(3)

    async def components(api):
        found = [*await system.pods(api, "operator"), *await system.pods(api, "controller")]
        return [pod["metadata"]["name"] for pod in found]

    own = system.run(components)
    asyncio.run(asyncio.wait_for(body(), 100))

    async def after(api):
        # what ran goes on, and what is asked for now happens
        assert sorted(pod["metadata"]["name"] for pod in await replicas(api, space, 2)) == names
        system.kubectl("scale", "msvc/echo", "-n", space.name, "--replicas=3")
        await replicas(api, space, 3)

    system.run(after)


def scheduled(count, writer):
    return {
        "policy": "Schedule",
        "writer": writer,
        "minReplicas": 1,
        "maxReplicas": 10,
        "schedule": {"entries": [{"cron": "* * * * *", "replicas": count}]},
    }


STAND_IN = {
    "model": {"path": "mood:Mood"},
    "runtime": {"image": "stand-in:1"},
    "podTemplate": {
        "spec": {
            "terminationGracePeriodSeconds": 3,
            "containers": [{"name": "model", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}],
        }
    },
}


def test_the_hpa_follows_our_metric_and_writers_change_without_a_dip(system, space):
    """At 7 replicas from our own writes to the HPA's and back: never fewer than 7; and the HPA follows what we say."""
    space.apply(scaling=scheduled(7, "Controller"), **STAND_IN)

    async def body(api):
        found = await api.get("ModelService", "echo", space.name)
        target = found["status"]["scaleTarget"]
        await replicas(api, space, 7)
        counts = set()

        async def watch():
            while True:
                found = await api.get("Deployment", target, space.name)
                counts.add(found["spec"]["replicas"])
                await asyncio.sleep(0.05)

        watching = asyncio.ensure_future(watch())
        await asyncio.to_thread(space.apply, scaling=scheduled(7, "HPA"), **STAND_IN)
        await api.until("HorizontalPodAutoscaler", "echo", space.name, within_s=90, test=follows)
        await asyncio.to_thread(space.apply, scaling=scheduled(7, "Controller"), **STAND_IN)
        await api.until("HorizontalPodAutoscaler", "echo", space.name, within_s=60, test=lambda one: one is None)
        await asyncio.sleep(3)
        assert not watching.done(), watching.exception()
        watching.cancel()
        assert len(await replicas(api, space, 7)) == 7
        assert counts == {7}
        # the HPA follows
        await asyncio.to_thread(space.apply, scaling=scheduled(9, "HPA"), **STAND_IN)
        began = time.monotonic()
        await api.until("Deployment", target, space.name, within_s=90, test=lambda one: one["spec"]["replicas"] == 9)
        print(f"the HPA followed in {time.monotonic() - began:.1f} s")
        hpa = await api.get("HorizontalPodAutoscaler", "echo", space.name)
        assert hpa["spec"]["scaleTargetRef"]["name"] == target

    system.run(body, within_s=200)


def follows(hpa):
    """It has read our metric, and may scale."""
    conditions = ((hpa or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "ScalingActive" and one["status"] == "True" for one in conditions)
