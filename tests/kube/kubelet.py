"""Nodes whose containers are processes of this machine: a kubelet, a scheduler, kube-proxy and DNS for tests.

    with Kubelet(cluster.kubeconfig, nodes={"node-0": {"cpu": "8", "memory": "32Gi"}}) as kubelet:
        kubelet.kill_node("node-0"); kubelet.bad_images["plimsoll:missing"] = "not found"

Works against any API server that a kubeconfig leads to. `python -m tests.kube.kubelet KUBECONFIG` runs one by itself.
What it does and what it needs: README.md.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import threading
import uuid
from pathlib import Path

from tests.kube.api import timestamp
from tests.kube.authority import Authority
from tests.kube.client import MERGE, Client
from tests.kube.errors import ApiError
from tests.kube.node import scheduling
from tests.kube.node.containers import may_mount
from tests.kube.node.logs import LogServer
from tests.kube.node.network import Addresses, ServiceProxy
from tests.kube.node.nodes import LEASES, NODE_INFO, is_new, is_unbound, lease_of
from tests.kube.node.pod import PodRunner
from tests.kube.node.reflector import Reflector, cancelled, insistent
from tests.support import lifeline

DEFAULT_NODE = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "100Gi"}


class MountPoints:
    """Folders and files that mounts need to exist; those made here go again."""

    def __init__(self):
        self._made = []

    def make(self, path, *, is_file):
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir()
                self._made.append(parent)
        if not path.exists():
            path.touch() if is_file else path.mkdir()
            self._made.append(path)

    def close(self):
        for path in reversed(self._made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()


class Kubelet:
    """`nodes`: {name: capacity}, filled from DEFAULT_NODE. `labels`: {name: labels}; `taints`: {name: [taint]}.

    bad_images: {image: why it can't be pulled}. entry_points: {image: command}, for containers that name none.
    stand_ins: {image: command} that runs whatever the container says.
    schedules: whether it binds pods, too. backoff_s: the first restart's delay; doubles up to backoff_max_s.
    """

    def __init__(self, kubeconfig, *, nodes=None, labels=None, taints=None, schedules=True, backoff_s=0.5,
                 backoff_max_s=30.0, retry_s=0.5, own_mounts=None):  # fmt: skip
        self._kubeconfig, self._schedules = kubeconfig, schedules
        self._nodes = {name: {**DEFAULT_NODE, **room} for name, room in (nodes or {"node-0": {}}).items()}
        self._labels, self._taints = labels or {}, taints or {}
        self.backoff_s, self.backoff_max_s, self.retry_s = backoff_s, backoff_max_s, retry_s
        self.own_mounts = may_mount() if own_mounts is None else own_mounts
        self.bad_images, self.entry_points, self.stand_ins = {}, {}, {}
        self._temporary = tempfile.TemporaryDirectory(prefix="plimsoll-kubelet-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        lifeline.afterwards("rm", "-rf", str(self.folder))
        self.mount_points = MountPoints()
        self.addresses = Addresses()
        self.proxy = ServiceProxy(self.addresses, self.folder)
        self.runners = {}  # uid -> (PodRunner, task)
        self.dead = set()  # nodes that were killed
        self._told = set()  # events
        self._loop = self._thread = self.client = None
        self._failed = None
        self._ready = threading.Event()

    # --- life ---------------------------------------------------------------------------------------------------------
    def __enter__(self):
        self._thread = threading.Thread(target=self._work, daemon=True, name="kubelet")
        self._thread.start()
        self._ready.wait(60)
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *_):
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)
        self.addresses.close()
        self.mount_points.close()
        self._temporary.cleanup()

    async def __aenter__(self):
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_):
        await asyncio.to_thread(self.__exit__)

    def _work(self):
        try:
            asyncio.run(self._run())
        except Exception as error:
            self._failed = error
            self._ready.set()
            raise

    async def _run(self):
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._scheduling, self._proxying = asyncio.Event(), asyncio.Event()
        async with Client(self._kubeconfig, "kubelet") as self.client:
            self.authority = self.client.authority
            told = lambda *_: self._proxying.set()  # noqa: E731
            self.config_maps = Reflector(self.client, "ConfigMap", told=self._config_changed)
            self.secrets = Reflector(self.client, "Secret", told=self._config_changed)
            self.pods = Reflector(self.client, "Pod", told=self._pod_changed)
            self.nodes = Reflector(self.client, "Node", told=lambda *_: self._scheduling.set())
            self.services = Reflector(self.client, "Service", told=told)
            self.slices = Reflector(self.client, "EndpointSlice", told=told)
            logs = LogServer(self._container, *Authority(self.folder, "kubelet").sign("node", ips=("127.0.0.1",)))
            await logs.start()
            await self._register(logs.port)
            caches = (self.config_maps, self.secrets, self.nodes, self.services, self.slices)
            tasks = [asyncio.ensure_future(one.run()) for one in caches]
            await asyncio.gather(*(one.synced.wait() for one in caches))
            works = (self.pods.run(), self._schedule(), self._renew(), self._proxy_services(), self._refresh())
            tasks += [asyncio.ensure_future(one) for one in works]
            await self.pods.synced.wait()
            await self._usable()
            self._ready.set()
            await self._stopping.wait()
            runners = list(self.runners.values())
            for runner, _ in runners:
                runner.kill()
            await asyncio.gather(*(runner.killed() for runner, _ in runners))
            await cancelled(*(task for _, task in runners), *tasks)
            await self.proxy.close()
            await logs.close()

    def _in_loop(self, act):
        """Runs `act()` in the kubelet's loop and waits."""
        done = threading.Event()

        def whole():
            act()
            done.set()

        self._loop.call_soon_threadsafe(whole)
        done.wait(30)

    # --- faults -------------------------------------------------------------------------------------------------------
    def kill_node(self, name):
        """It loses its power: its processes end at once, nobody tells the API server. `start_node` brings it back."""

        def act():
            self.dead.add(name)
            for runner, task in list(self.runners.values()):
                if runner.pod["spec"]["nodeName"] == name:
                    runner.kill()
                    self.runners.pop(runner.uid, None)
                    runner.later(runner.killed())
                    task.cancel()

        self._in_loop(act)

    def start_node(self, name):
        def act():
            self.dead.discard(name)
            for pod in list(self.pods.objects.values()):
                self._pod_changed("MODIFIED", pod)

        self._in_loop(act)

    def process_of(self, pod, namespace, container=""):
        """The pid of a container, None where it doesn't run: to be sent signals."""
        for runner, _ in list(self.runners.values()):
            if runner.key == (namespace, pod):
                for one in runner.main:
                    if container in ("", one.name) and one.running:
                        return one.process.pid
        return None

    def image_problem(self, image):
        return self.bad_images.get(image)

    def command_of(self, container):
        """Its command line; [] where none is known."""
        image = container.get("image", "")
        if found := self.stand_ins.get(image):
            return found
        return [*(container.get("command") or self.entry_points.get(image) or ()), *(container.get("args") or ())]

    # --- nodes --------------------------------------------------------------------------------------------------------
    async def _register(self, port):
        await self._make_lease_namespace()
        for name, room in self._nodes.items():
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
            conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                           "lastHeartbeatTime": timestamp(), "lastTransitionTime": timestamp()}]  # fmt: skip
            status = {
                "capacity": room,
                "allocatable": room,
                "conditions": conditions,
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
                "nodeInfo": NODE_INFO,
            }
            node = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": labels | self._labels.get(name, {})},
                "spec": {"taints": self._taints.get(name, [])},
                "status": status,
            }
            with contextlib.suppress(ApiError):
                await self.client.create(node)
            await self.client.patch("Node", name, "", {"status": status}, content_type=MERGE, subresource="status")

    async def _usable(self):
        """Until the node lifecycle controller has seen that the nodes are ready: until then they are tainted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(15):
                for name in self._nodes:
                    await self.client.until("Node", name, test=lambda node: node is not None and not is_new(node))

    async def _make_lease_namespace(self):
        with contextlib.suppress(ApiError):
            await self.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASES}})

    async def _renew(self):
        """Leases every second; a node whose Lease is old is taken for dead by the node lifecycle controller."""
        while True:
            for name in self._nodes:
                if name not in self.dead:
                    with contextlib.suppress(Exception):
                        await self.client.apply(lease_of(name), force=True)
                        await self._heal(name)
            await asyncio.sleep(1)

    async def _heal(self, name):
        node = self.nodes.objects.get(("", name)) or {}
        conditions = (node.get("status") or {}).get("conditions") or []
        if any(one["type"] == "Ready" and one["status"] != "True" for one in conditions):
            now = timestamp()
            fresh = [{**one, "status": "True", "reason": "KubeletReady", "message": "", "lastTransitionTime": now}
                     if one["type"] == "Ready" else one for one in conditions]  # fmt: skip
            await self.client.patch("Node", name, "", {"status": {"conditions": fresh}}, subresource="status")

    # --- pods ---------------------------------------------------------------------------------------------------------
    def _pod_changed(self, sort, pod):
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        found = self.runners.get(uid)
        self._scheduling.set()
        if sort == "DELETED":
            if found is not None:
                found[0].gone()
            return
        if node not in self._nodes or node in self.dead:
            return
        if found is None:
            if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                return
            runner = PodRunner(self, pod, node)
            task = asyncio.ensure_future(runner.run())
            self.runners[uid] = runner, task
            task.add_done_callback(lambda done: self._ended(uid, done))
            found = self.runners[uid]
        found[0].update(pod)

    def _ended(self, uid, task):
        self.runners.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            print("kubelet:", repr(task.exception()), file=sys.stderr)

    def _container(self, namespace, pod, name):
        for runner, _ in list(self.runners.values()):
            if runner.key == (namespace, pod):
                return next((one for one in [*runner.main, *runner.init] if one.name == name), None)
        return None

    def _config_changed(self, sort, obj):
        kind = "Secret" if "type" in obj else "ConfigMap"
        for runner, _ in list(self.runners.values()):
            if runner.key[0] == obj["metadata"]["namespace"] and runner.volumes.uses(kind, obj["metadata"]["name"]):
                runner.later(runner.refresh())

    async def _refresh(self):
        """Tokens before they end."""
        while True:
            await asyncio.sleep(60)
            for runner, _ in list(self.runners.values()):
                await runner.refresh()

    async def _proxy_services(self):
        while True:
            self._proxying.clear()
            await self.proxy.update(list(self.services.objects.values()), list(self.slices.objects.values()))
            await self._proxying.wait()

    # --- scheduling ---------------------------------------------------------------------------------------------------
    async def _schedule(self):
        while True:
            await self._scheduling.wait()
            self._scheduling.clear()
            if not self._schedules:
                continue
            waiting = [pod for pod in self.pods.objects.values() if is_unbound(pod)]
            for pod in sorted(waiting, key=lambda one: -one["spec"].get("priority", 0)):
                with contextlib.suppress(Exception):
                    await self._place(pod)

    def _states(self):
        pods = {}
        for pod in self.pods.objects.values():
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                pods.setdefault(pod["spec"].get("nodeName"), []).append(pod)
        return [
            scheduling.NodeState(node, pods.get(node["metadata"]["name"], [])) for node in self.nodes.objects.values()
        ]

    async def _place(self, pod):
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        states = self._states()
        node, why = scheduling.choose(states, pod)
        if node is not None:
            target = {"apiVersion": "v1", "kind": "Node", "name": node}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace},
                       "target": target}  # fmt: skip
            await self.client.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", binding)
            pod["spec"]["nodeName"] = node  # so that the next one sees it
            return
        if found := scheduling.victims(states, pod):
            for victim in found[1]:
                meta = victim["metadata"]
                await self.client.delete("Pod", meta["name"], meta["namespace"])
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
                     "lastTransitionTime": timestamp()}  # fmt: skip
        before = (pod.get("status") or {}).get("conditions") or []
        if any(one["type"] == "PodScheduled" and one.get("message") == why for one in before):
            return
        others = [one for one in before if one["type"] != "PodScheduled"]
        await self.client.patch("Pod", name, namespace, {"status": {"conditions": [*others, condition]}},
                                subresource="status")  # fmt: skip
        await self.event(pod, "FailedScheduling", why, "Warning", component="default-scheduler")

    # --- events -------------------------------------------------------------------------------------------------------
    async def event(self, pod, reason, message, sort="Normal", component="kubelet"):
        """Told once; the API server may be away."""
        meta = pod["metadata"]
        if (meta["uid"], reason, message) in self._told:
            return
        self._told.add((meta["uid"], reason, message))
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:12]}", "namespace": meta["namespace"]},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "namespace": meta["namespace"],
                               "uid": meta["uid"]},
            "reason": reason,
            "message": message[:1000],
            "type": sort,
            "source": {"component": component},
            "count": 1,
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
        }  # fmt: skip
        with contextlib.suppress(Exception):
            await insistent(lambda: self.client.create(event), tries=3)


def main():
    import signal

    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with Kubelet(sys.argv[1] if len(sys.argv) > 1 else os.environ["KUBECONFIG"]):
        done.wait()


if __name__ == "__main__":
    main()
