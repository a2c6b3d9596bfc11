"""The kubelet of tests/kube, on both API servers: pods serve, logs, restarts, what can't run and why, a lost node."""

import asyncio
import contextlib
import json
import urllib.request

import pytest
from tests.cluster.contract import config_map, run
from tests.kube.kubelet import Kubelet
from tests.kube.node.containers import may_mount
from tests.kube.node.network import may_route

pytestmark = pytest.mark.skipif(
    not (may_mount() and may_route()), reason="needs root: pods have mounts and addresses of their own"
)

SERVER = """
import http.server, json, os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: (print("asked to end", flush=True), sys.exit(0)))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            os._exit(3)
        read = lambda path: open(path).read()
        body = json.dumps({
            "pod": os.environ["POD_NAME"], "config": read("/etc/plimsoll-test/a"), "model": read("/model-test/made"),
            "secret": read("/secrets-test/k"),
            "token": len(read("/var/run/secrets/kubernetes.io/serviceaccount/token")),
            "names": sorted({one[4][0] for one in socket.getaddrinfo("web.%s.svc" % os.environ["NAMESPACE"], 80)}),
        }).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
print("listening", flush=True)
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


def env(name, path):
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def container(**more):
    return {
        "name": "main",
        "image": "server",
        "command": ["python", "-c", SERVER],
        "env": [
            env("POD_IP", "status.podIP"),
            env("POD_NAME", "metadata.name"),
            env("NAMESPACE", "metadata.namespace"),
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/plimsoll-test", "readOnly": True},
            {"name": "model", "mountPath": "/model-test"},
            {"name": "secret", "mountPath": "/secrets-test", "readOnly": True},
        ],
        **more,
    }


def workload(namespace, name="web", replicas=1, **more):
    made = {"name": "made", "image": "server", "command": ["sh", "-c", "printf it > /model-test/made"],
            "volumeMounts": [{"name": "model", "mountPath": "/model-test"}]}  # fmt: skip
    spec = {
        "terminationGracePeriodSeconds": 5,
        "initContainers": [made],
        "containers": [container(**more)],
        "volumes": [
            {"name": "config", "configMap": {"name": "config"}},
            {"name": "model", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": "secret"}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


def around(namespace):
    """What the pods above need."""
    yield config_map(namespace, "config", a="1")
    meta = {"name": "secret", "namespace": namespace}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"k": "old"}}
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
           "spec": {"selector": {"app": "web"}, "ports": ports}}  # fmt: skip


@contextlib.asynccontextmanager
async def kubelet(cluster, api, **options):
    """Its nodes leave the cluster with it."""
    if getattr(cluster, "given", False):
        pytest.skip("a given cluster has nodes of its own")
    options.setdefault("nodes", {"node-0": {}})
    async with Kubelet(cluster.kubeconfig, backoff_s=0.1, retry_s=0.1, **options) as found:
        try:
            yield found
        finally:
            for name in options["nodes"]:
                await api.delete("Node", name)


def serving(count):
    return lambda found: ((found or {}).get("status") or {}).get("availableReplicas", 0) == count


async def pod_until(api, namespace, test, label="app=web"):
    """The first pod for which `test` holds."""
    async with asyncio.timeout(100):
        while True:
            for pod in (await api.list("Pod", namespace, labelSelector=label))["items"]:
                if test(pod):
                    return pod
            await asyncio.sleep(0.05)


def state(pod, key="state"):
    return (((pod.get("status") or {}).get("containerStatuses") or [{}])[0]).get(key) or {}


async def ask(address, port=8080, path="/"):
    def act():
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=5) as answer:
            return json.load(answer)

    return await asyncio.to_thread(act)


async def eventually(act, wanted):
    """Until `act()` returns what `wanted` takes."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError):
                if wanted(found := await act()):
                    return found
            await asyncio.sleep(0.05)


def test_pods_serve_with_what_they_were_given(cluster, namespace):
    async def body(api):
        async with kubelet(cluster, api):
            for obj in around(namespace):
                await api.create(obj)
            await api.create(workload(namespace, replicas=2))
            await api.until("Deployment", "web", namespace, test=serving(2))
            service = await api.get("Service", "web", namespace)
            address = service["spec"]["clusterIP"]
            found = await eventually(lambda: ask(address, 80), lambda found: True)
            assert found["config"] == "1"
            assert found["model"] == "it"
            assert found["secret"] == "old"
            assert found["token"] > 100
            assert found["names"] == [address]
            pods = {(await ask(address, 80))["pod"] for _ in range(4)}
            assert len(pods) == 2  # the Service's address leads to all of them
            await api.patch("Secret", "secret", namespace, {"stringData": {"k": "new"}})
            await eventually(lambda: ask(address, 80), lambda found: found["secret"] == "new")
            path = await api.path("v1", "Pod", namespace, found["pod"], "log")
            with pytest.raises(Exception) as told:  # noqa: PT011
                await api.request("GET", path + "x")
            assert getattr(told.value, "code", 0) == 404
            assert "listening" in await api.request("GET", path)
            # one that goes: told, then TERM, then gone; the slice says so meanwhile
            await api.delete("Pod", found["pod"], namespace)
            await api.until("Pod", found["pod"], namespace, test=lambda pod: pod is None)
            await api.until("Deployment", "web", namespace, test=serving(2))

    run(cluster, namespace, body)


def test_what_crashes_is_started_again_and_says_why(cluster, namespace):
    async def body(api):
        async with kubelet(cluster, api):
            for obj in around(namespace):
                await api.create(obj)
            await api.create(workload(namespace))
            await api.until("Deployment", "web", namespace, test=serving(1))
            pod = await pod_until(api, namespace, lambda pod: True)
            with contextlib.suppress(OSError):
                await ask(pod["status"]["podIP"], path="/crash")
            again = await pod_until(
                api, namespace, lambda pod: state(pod, "restartCount") == 1 and "running" in state(pod)
            )
            assert state(again, "lastState")["terminated"]["exitCode"] == 3
            await api.until("Deployment", "web", namespace, test=serving(1))
            await api.create(workload(namespace, "broken", command=["sh", "-c", "echo no such model; exit 2"]))
            broken = await pod_until(
                api,
                namespace,
                lambda pod: (state(pod, "restartCount") or 0) >= 2 and "waiting" in state(pod),
                "app=broken",
            )
            last = state(broken, "lastState")["terminated"]
            assert (last["exitCode"], last["message"]) == (2, "no such model\n")
            assert state(broken)["waiting"]["reason"] == "CrashLoopBackOff"

    run(cluster, namespace, body)


def test_what_can_not_run_says_why(cluster, namespace):
    async def body(api):
        nodes = {"node-0": {}, "node-1": {}}
        async with kubelet(cluster, api, nodes=nodes) as found:
            found.bad_images["missing:1"] = "not found"
            for obj in around(namespace):
                await api.create(obj)

            def backing_off(pod):
                return (state(pod).get("waiting") or {}).get("reason") == "ImagePullBackOff"

            await api.create(workload(namespace, "unpulled", image="missing:1"))
            pod = await pod_until(api, namespace, backing_off, "app=unpulled")
            assert "not found" in state(pod)["waiting"]["message"]
            await api.create(workload(namespace, "gpu", resources={"limits": {"nvidia.com/gpu": "1"}}))

            def unscheduled(pod):
                conditions = (pod.get("status") or {}).get("conditions") or []
                return any(one.get("reason") == "Unschedulable" for one in conditions)

            pod = await pod_until(api, namespace, unscheduled, "app=gpu")
            (condition,) = [one for one in pod["status"]["conditions"] if one["type"] == "PodScheduled"]
            assert condition["message"].startswith("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.")

    run(cluster, namespace, body)


def test_a_lost_node_takes_its_pods_along_and_they_stay_lost(cluster, namespace):
    async def body(api):
        nodes = {"node-0": {}, "node-1": {}}
        async with kubelet(cluster, api, nodes=nodes) as found:
            for obj in around(namespace):
                await api.create(obj)
            await api.create(workload(namespace, replicas=2))
            await api.until("Deployment", "web", namespace, test=serving(2))
            pods = (await api.list("Pod", namespace, labelSelector="app=web"))["items"]
            where = {pod["spec"]["nodeName"]: pod for pod in pods}
            assert set(where) == set(nodes)  # spread
            await asyncio.to_thread(found.kill_node, "node-1")
            with pytest.raises(OSError, match=r"refused|reset"):
                await ask(where["node-1"]["status"]["podIP"])
            assert (await ask(where["node-0"]["status"]["podIP"]))["config"] == "1"
            # the control plane goes as well: what runs goes on
            await asyncio.to_thread(cluster.stop)
            assert (await ask(where["node-0"]["status"]["podIP"]))["config"] == "1"
            await asyncio.to_thread(cluster.start)
            await api.until("Node", "node-1", test=_unknown, within_s=40)
            await api.until("Deployment", "web", namespace, test=serving(1))

    run(cluster, namespace, body)


def _unknown(node):
    return any(one["type"] == "Ready" and one["status"] == "Unknown" for one in node["status"]["conditions"])
