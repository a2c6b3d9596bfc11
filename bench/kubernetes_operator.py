"""What a thousand services cost the operator: CPU seconds, memory, how soon objects follow a spec, calls when idle.

    python -m bench.kubernetes_operator [--services 1000] [--idle 30] [--paced 200]

The operator is its real process; its API server is the in-memory one of `tests/kube` in a process of its own, whose
time is told apart. Pods are hollow: ready at once. Prints a table, asserts nothing.
"""

import argparse
import asyncio
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from lightkube.config.kubeconfig import KubeConfig

from plimsoll.backends.kubernetes.api import APPLY_PATCH, Api, path_of
from plimsoll.backends.kubernetes.crd.definitions import crd
from plimsoll.backends.kubernetes.names import API_VERSION, SERVICE_LABEL
from plimsoll.backends.kubernetes.watching import Watch

NAMESPACES = 20
MADE = (
    ("v1", "serviceaccounts"),
    ("v1", "configmaps"),
    ("v1", "services"),
    ("networking.k8s.io/v1", "networkpolicies"),
    ("policy/v1", "poddisruptionbudgets"),
    ("apps/v1", "deployments"),
    (API_VERSION, "revisions"),
)


def service(index: int) -> dict:
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelService",
        "metadata": {"name": f"model-{index}", "namespace": f"team-{index % NAMESPACES}"},
        "spec": {
            "model": {
                "uri": f"oci://registry.example.com/models/model-{index}:1",
                "digest": f"sha256:{index:064x}",
                "format": "Python",
                "className": "Model",
            },
            "routes": [{"path": f"/model-{index}"}],
            "budget": {"latency": {"p50": "20ms", "p95": "50ms", "p99": "100ms"}, "errorRate": "0.1%"},
            "scaling": {"minReplicas": 1, "maxReplicas": 8},
            "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
            "access": {"anonymous": True},
        },
    }


# --- the two processes ------------------------------------------------------------------------------------------------


def serve() -> None:
    """The API server's process: says where it is, then how often it was asked what, and forgets, at each line."""
    from tests.kube import FakeCluster

    gc.disable()  # a full collection of its 10,000 objects stops it for half a second; an API server is written in Go
    with FakeCluster(hollow=True) as cluster:
        print(json.dumps(str(cluster.kubeconfig)), flush=True)
        for _ in sys.stdin:
            counts = {" ".join(key): count for key, count in cluster.log.counts().items()}
            cluster.log.clear()
            print(json.dumps(counts), flush=True)


class Process:
    def __init__(self, command: list[str], environment: dict[str, str], **pipes) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", *command], env=os.environ | environment, text=True, **pipes
        )
        self._watched = psutil.Process(self.child.pid)

    @property
    def cpu_s(self) -> float:
        times = self._watched.cpu_times()
        return times.user + times.system

    @property
    def rss_mb(self) -> float:
        return self._watched.memory_info().rss / 1e6

    @property
    def peak_mb(self) -> float:
        text = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait(15)


class Server(Process):
    def __init__(self) -> None:
        super().__init__(["bench.kubernetes_operator", "--serve"], {}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.kubeconfig = self._line()

    def counts(self) -> dict[str, int]:
        """Since it was asked last."""
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self._line()

    def _line(self):
        return json.loads(self.child.stdout.readline())


class Operator(Process):
    def __init__(self, kubeconfig: str, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._log = log.open("w")
        environment = {
            "KUBECONFIG": kubeconfig,
            "PLIMSOLL_METRICS_PORT": str(self.port),
            "PLIMSOLL_WEBHOOK_PORT": "0",
            "PLIMSOLL_LOG_LEVEL": "warning",
        }
        super().__init__(["plimsoll.app.cluster_operator"], environment, stdout=self._log, stderr=self._log)

    def metric(self, name: str) -> float:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                for line in answer.read().decode().splitlines():
                    if line.split("{")[0].split(" ")[0] == name:
                        return float(line.rsplit(" ", 1)[1])
        except OSError:
            pass
        return 0.0


@contextmanager
def running(server: Server, folder: Path) -> Iterator[Operator]:
    operator = Operator(server.kubeconfig, folder / "operator.log")
    try:
        yield operator
    finally:
        operator.stop()


async def until(true, seconds: float, what: str) -> None:
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.05)


async def calm(operator: Operator, quiet_s: float = 3.0) -> None:
    """Until it does nothing more."""
    looks, since = -1.0, time.monotonic()
    while time.monotonic() - since < quiet_s:
        now = operator.metric("plimsoll_operator_looks_total")
        if now != looks:
            looks, since = now, time.monotonic()
        await asyncio.sleep(0.2)


# --- what is measured -------------------------------------------------------------------------------------------------


class Bench:
    """Watches what it measures as anybody would."""

    def __init__(self, api: Api, server: Server) -> None:
        self.api, self.server = api, server
        self.made: dict[str, set[str]] = {}
        self.complete: dict[str, float] = {}
        self.ready: set[str] = set()
        self._watches = [
            Watch(api, path_of(group, plural), keep=self._kept(plural), label_selector=SERVICE_LABEL)
            for group, plural in MADE
        ]
        self._watches.append(Watch(api, path_of(API_VERSION, "modelservices"), keep=self._seen))
        self._tasks = [asyncio.create_task(one.run()) for one in self._watches]

    async def synced(self) -> None:
        for one in self._watches:
            await one.synced.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.api.close()

    def _kept(self, plural: str):
        def keep(obj: dict) -> bool:
            name = obj["metadata"]["labels"][SERVICE_LABEL]
            made = self.made.setdefault(name, set())
            made.add(plural)
            if len(made) == len(MADE):
                self.complete.setdefault(name, time.monotonic())
            return True

        return keep

    def _seen(self, obj: dict) -> bool:
        conditions = obj.get("status", {}).get("conditions", ())
        if any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
            self.ready.add(obj["metadata"]["name"])
        return True

    async def apply(self, obj: dict) -> None:
        meta = obj["metadata"]
        plurals = {"ModelService": "modelservices", "Namespace": "namespaces",
                   "CustomResourceDefinition": "customresourcedefinitions"}  # fmt: skip
        path = path_of(obj["apiVersion"], plurals[obj["kind"]], meta.get("namespace", ""), meta["name"])
        await self.api.patch(path, obj, kind=APPLY_PATCH, params={"fieldManager": "bench"})

    async def burst(self, operator: Operator, count: int) -> dict[str, float]:
        cpu_s, served_s, began = operator.cpu_s, self.server.cpu_s, time.monotonic()
        for index in range(count):
            await self.apply(service(index))
        await until(lambda: len(self.ready) == count, 600, f"{count} services are ready")
        took = time.monotonic() - began
        await calm(operator)
        return {
            "all at once: until all are ready, s": took,
            "all at once: CPU, s": operator.cpu_s - cpu_s,
            "all at once: the API server's CPU, s": self.server.cpu_s - served_s,
        }

    async def idle(self, operator: Operator, seconds: float) -> dict[str, float]:
        self.server.counts()
        cpu_s = operator.cpu_s
        await asyncio.sleep(seconds)
        counts = self.server.counts()
        return {
            f"idle for {seconds:.0f} s: lists": sum(count for key, count in counts.items() if key.startswith("list ")),
            "idle: calls a minute": 60 * sum(counts.values()) / seconds,
            "idle: CPU, ms a minute": 60_000 * (operator.cpu_s - cpu_s) / seconds,
        }

    async def paced(self, count: int, first: int, every_s: float) -> dict[str, float]:
        """New services beside those that are there: from the request with the spec to the last of its objects, as a
        watcher hears of it."""
        began = {}
        for index in range(first, first + count):
            began[f"model-{index}"] = time.monotonic()
            await self.apply(service(index))
            await asyncio.sleep(every_s)
        await until(lambda: all(name in self.complete for name in began), 60, "all objects are there")
        took = [1000 * (self.complete[name] - at) for name, at in began.items()]
        quantiles = statistics.quantiles(took, n=100, method="inclusive")
        name = f"one each {every_s:g} s: spec to objects"
        return {f"{name}, p50, ms": quantiles[49], f"{name}, p99, ms": quantiles[98], f"{name}, worst, ms": max(took)}


async def measure(given: argparse.Namespace, server: Server, folder: Path) -> dict[str, float]:
    config = KubeConfig.from_file(server.kubeconfig).get()
    setup = Api.connect(config)
    rows: dict[str, float] = {"services": given.services}
    for kind in ("ModelService", "Revision", "Platform", "Tenant"):
        path = path_of("apiextensions.k8s.io/v1", "customresourcedefinitions", "", crd(kind)["metadata"]["name"])
        await setup.patch(path, crd(kind), kind=APPLY_PATCH, params={"fieldManager": "bench"})
    bench = Bench(setup, server)
    for name in ("plimsoll-system", *(f"team-{index}" for index in range(NAMESPACES))):
        await bench.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await bench.synced()
    with running(server, folder) as operator:
        await until(lambda: operator.metric("plimsoll_operator_leading") == 1, 30, "the operator leads")
        rows["started: RSS, MB"] = operator.rss_mb
        rows |= await bench.burst(operator, given.services)
        rows |= {"RSS, MB": operator.rss_mb, "peak RSS, MB": operator.peak_mb}
        rows |= await bench.idle(operator, given.idle)
        rows |= await bench.paced(given.paced, given.services, 0.2)
        rows |= {"RSS at the end, MB": operator.rss_mb, "CPU in all, s": operator.cpu_s}
    with running(server, folder) as operator:
        total = given.services + given.paced
        await until(lambda: operator.metric("plimsoll_operator_services") >= total, 60, "all services are seen")
        await calm(operator)
        rows |= {"started again: CPU, s": operator.cpu_s, "started again: peak RSS, MB": operator.peak_mb}
        rows["started again: calls about objects"] = operator.metric("plimsoll_operator_calls_total")
    await bench.close()
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--services", type=int, default=1000)
    options.add_argument("--idle", type=float, default=30.0)
    options.add_argument("--paced", type=int, default=200)
    options.add_argument("--json", action="store_true")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        serve()
        return
    server = Server()
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = asyncio.run(measure(given, server, Path(folder)))
    finally:
        server.stop()
    if given.json:
        print(json.dumps(rows))
        return
    for name, value in rows.items():
        print(f"{name:<50} {value:>10.1f}")


if __name__ == "__main__":
    main()
