"""The backends that one suite runs over: each can be waited for, and its replicas do what they are told."""

import asyncio
import contextlib
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path

import psutil
import uvloop
from lightkube.config.kubeconfig import KubeConfig
from tests.kube import FakeCluster
from tests.kube.kubelet import Kubelet

from plimsoll.backends.fake.backend import FakeBackend, Life, ManualClock
from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.backend import KubernetesBackend
from plimsoll.backends.kubernetes.names import LIVE_PATH, METRICS_PORT, READY_PATH, REVISION_LABEL, SERVICE_LABEL
from plimsoll.backends.local.backend import LocalBackend
from plimsoll.backends.local.settings import LocalSettings
from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.restart.backoff import Backoff
from plimsoll.ports.backend import DesiredReplicas, ReplicaPhase, ReplicaTemplate

SUPPORT = str(Path(__file__).parents[1] / "support")
LEARNED = ServiceTime(a_s=0.004, c_s=0.001, sd_s=0.0, samples=12)
FIRST_S = 0.2  # the first wait before a restart


def as_script(template, replica, restarts):
    """The fake's version of tiny_replica."""
    how, log = template.args.get("how", ""), (f"hello from {replica}",)
    report = {"load": {"in_flight": 2.0, "queued": 1.0}, "service_time": LEARNED}
    match how:
        case "fail":
            log = (*log, "line before the failure")
            return Life(startup_s=0.1, fails="model.py:12 the weights are missing", log=log)
        case "fail-once" if restarts == 0:
            return Life(startup_s=0.1, fails="ended with exit status 7 before it was ready", log=log)
        case "hang":
            return Life(startup_s=None, log=log)
        case "crash":
            return Life(startup_s=0.1, lives_s=0.2, death="ended by itself with exit status 9", log=log, **report)
        case "stubborn":
            return Life(startup_s=0.1, drain_takes_s=None, log=log, **report)
    return Life(startup_s=0.1, drain_takes_s=template.args.get("drain_takes_s", 0.0), log=log, **report)


class Fake:
    numbered = True  # ids are REVISION-NUMBER
    lives_s = 0.3  # long enough to be seen ready
    address = "unix:/"

    def __init__(self):
        self.clock = ManualClock()
        self.backend = FakeBackend(self.clock, script=as_script, backoff=lambda: Backoff(FIRST_S, 2.0, 1.0, 60.0))

    async def next(self):
        """Returns when something has changed."""
        due = self.backend.next_event()
        assert due is not None, f"nothing will ever happen to {self.backend.observe()}"
        self.clock.move_to(due)
        self.backend.settle()
        await asyncio.wait_for(self.backend.changed(), 1)

    def now(self):
        return self.clock.now()

    def has_settled(self, seen):
        return seen[0].load != {}

    def process(self, replica):
        return replica.pid

    async def quiet(self):
        pass

    async def close(self):
        await self.backend.close()


class Local:
    numbered = True
    lives_s = 0.3
    address = "unix:/"

    def __init__(self, kind):
        self.run_dir = Path(tempfile.mkdtemp(prefix="pl-", dir="/tmp"))
        self.spawner = ForkSpawner(self.run_dir) if kind == "fork" else ExecSpawner()
        self.before = set(psutil.Process().children(recursive=True))
        settings = LocalSettings(
            restart_first_s=FIRST_S, restart_cap_s=1.0, drain_margin_s=0.0, abandon_s=0.5, memory_check_s=0.05,
            watch_s=0.05, silent_s=0.3, unready_s=0.2,
        )  # fmt: skip
        self.backend = LocalBackend(self.run_dir, entry="tiny_replica:main", spawner=self.spawner, settings=settings)

    async def next(self):
        await asyncio.wait_for(self.backend.changed(), 40)

    def now(self):
        return asyncio.get_running_loop().time()

    def has_settled(self, seen):
        return seen[0].reason != ""  # reports will not come, and that has been said

    def process(self, replica):
        return replica.pid

    async def quiet(self):
        """Long enough for something unwanted to happen."""
        await asyncio.sleep(0.1)

    async def close(self):
        await self.backend.close()
        await self.spawner.close()
        await self.backend.close()  # once more does no harm
        left = set(psutil.Process().children(recursive=True)) - self.before
        assert not left, f"left behind: {left}"
        assert not list((self.run_dir / "r").iterdir()), "a socket was left behind"
        shutil.rmtree(self.run_dir)


def pod_objects(template, namespace):
    """A Deployment of `tests/support/tiny_pod.py`."""
    labels = {SERVICE_LABEL: template.service, REVISION_LABEL: template.revision}
    probe = {"port": METRICS_PORT}
    container = {
        "name": "model",
        "image": "tiny",
        "command": [sys.executable, f"{SUPPORT}/tiny_pod.py"],
        "env": [
            {"name": "TINY_ARGS", "value": json.dumps(dict(template.args))},
            {"name": "PYTHONPATH", "value": SUPPORT},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "startupProbe": {
            "httpGet": probe | {"path": READY_PATH},
            "periodSeconds": 1,
            "failureThreshold": math.ceil(template.startup_s) + 1,
        },
        "readinessProbe": {"httpGet": probe | {"path": READY_PATH}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": probe | {"path": LIVE_PATH}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": str(template.cpus)}},
    }
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": math.ceil(template.drain_s),
        "automountServiceAccountToken": False,
    }
    return (
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": template.revision, "namespace": namespace, "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    )


class Kubernetes:
    """The server in memory, with a kubelet whose containers are processes."""

    numbered = False
    lives_s = 3.0  # a kubelet looks once a second
    address = "tcp:"

    def __init__(self):
        self.cluster = FakeCluster().open()
        self.kubelet = Kubelet(self.cluster.kubeconfig, backoff_s=FIRST_S, retry_s=0.1)
        self.kubelet.__enter__()
        self.api = Api.connect(KubeConfig.from_file(self.cluster.kubeconfig).get())
        self.backend = KubernetesBackend(self.api, namespace="default", make=pod_objects)

    async def next(self):
        with contextlib.suppress(TimeoutError):  # what settles is no change
            await asyncio.wait_for(self.backend.changed(), 0.5)

    def now(self):
        return asyncio.get_running_loop().time()

    def has_settled(self, seen):
        return bool(seen) and seen[0].phase is ReplicaPhase.READY and seen[0].reason != ""

    def process(self, replica):
        return self.kubelet.process_of(replica.id, "default")

    async def quiet(self):
        await asyncio.sleep(0.5)

    async def close(self):
        await self.backend.close()
        await self.backend.close()  # once more does no harm
        await self.api.close()
        await asyncio.to_thread(self.kubelet.__exit__)
        await asyncio.to_thread(self.cluster.close)


def run(new_host, test):
    async def body():
        host = new_host()
        try:
            await host.backend.start()
            async with asyncio.timeout(60):
                await test(host)
        finally:
            await host.close()

    with asyncio.Runner(loop_factory=None if new_host is Fake else uvloop.new_event_loop) as runner:  # as live
        runner.run(body())


def template(
    revision="echo-1",
    *,
    service="echo",
    drain_s=5.0,
    startup_s=20.0,
    memory_limit=None,
    cpus=0.1,
    silent_s=None,
    **args,
):
    return ReplicaTemplate(
        service, revision, args, cpus=cpus, drain_s=drain_s, startup_s=startup_s, memory_limit=memory_limit,
        silent_s=silent_s,
    )  # fmt: skip


def wish(count, *args, **more):
    return DesiredReplicas(template(*args, **more), count)


async def until(host, condition):
    """The first observation for which the condition holds."""
    while not condition(seen := host.backend.observe()):
        await host.next()
    return seen


def all_ready(count, revision="echo-1"):
    def condition(seen):
        return [(r.revision, r.phase) for r in seen] == [(revision, ReplicaPhase.READY)] * count

    return condition


def in_phase(phase):
    return lambda seen: any(replica.phase is phase for replica in seen)
