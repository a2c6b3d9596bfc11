"""What a thousand services cost the controller of a cluster: memory, CPU, and how soon a decision is served.

    python -m bench.signals [--services 1000] [--busy 100,1000] [--seconds 120] [--keda 10]

The controller is its real process, with KEDA's scaler and the metrics APIs open; its API server is the in-memory one of
`tests/kube` in a process of its own, whose pods are hollow: they say each second what a replica says of itself, and no
more. A gateway reports each second for every service; of the busy ones with requests that rise and fall. Prints a
table, asserts nothing.

decided -> served: from the controller's own event to the metrics API's first answer with that count, asked each 20 ms.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import sin

import httpx2
import msgspec
import psutil

from plimsoll.backends.kubernetes.names import REVISION_LABEL, SERVICE_LABEL
from plimsoll.core.snapshot import GatewayReport, ServiceReport

NAMESPACES = 20
HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"


def namespace(index: int) -> str:
    return f"team-{index % NAMESPACES}"


def objects(index: int, state_port: int, keda: int = 10) -> list[dict]:
    name, target = f"model-{index}", f"model-{index}-1111111111"
    labels = {SERVICE_LABEL: name, REVISION_LABEL: target}
    service = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": namespace(index)},
        "spec": {
            "model": {
                "uri": f"oci://registry.example.com/models/{name}:1",
                "digest": f"sha256:{index:064x}",
                "format": "Python",
                "className": "Model",
            },
            "routes": [{"path": f"/{name}"}],
            "budget": {"latency": {"p99": "100ms"}, "errorRate": "0.1%"},
            "scaling": {
                "minReplicas": 1,
                "maxReplicas": 8,
                **({"writer": "KEDA"} if keda and not index % keda else {}),
            },
        },
    }
    container = {"name": "model", "image": "plimsoll:0", "ports": [{"name": "metrics", "containerPort": state_port}]}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": target, "namespace": namespace(index), "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod},
    }
    return [service, deployment]


# --- the API server's process -----------------------------------------------------------------------------------------


def serve(count: int, state_port: int, keda: int) -> None:
    from tests.kube import FakeCluster
    from tests.kube.hollow import HollowKubelet
    from tests.unit.app.controller_process import stage_of, token_of

    make_ready = HollowKubelet.set

    def at_loopback(self: HollowKubelet, name: str, space: str, ready: bool = True) -> None:
        make_ready(self, name, space, ready)
        kind = self.api.kind("v1", "Pod")
        self.api.change_now(kind, space, name, lambda pod: pod["status"].update(podIP="127.0.0.1"), "status")

    HollowKubelet.set = at_loopback  # type: ignore[method-assign]
    gc.disable()
    with FakeCluster(hollow=True) as cluster:
        authority = stage_of(cluster)
        for index in range(NAMESPACES):
            cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{index}"}})
        for index in range(count):
            cluster.apply(*objects(index, state_port, keda))
        context = ssl.create_default_context(cafile=str(cluster.ca_file))
        with httpx2.Client(verify=context, headers={"Authorization": "Bearer admin"}) as client:
            for index in range(count):
                path = f"/apis/plimsoll.dev/v1alpha1/namespaces/{namespace(index)}/modelservices/model-{index}/status"
                client.patch(
                    cluster.url + path,
                    content=json.dumps({"status": {"scaleTarget": f"model-{index}-1111111111"}}),
                    headers={"Content-Type": "application/merge-patch+json"},
                ).raise_for_status()
        told = {
            "kubeconfig": str(cluster.kubeconfig_of("system:serviceaccount:plimsoll-system:plimsoll-controller")),
            "folder": str(cluster.folder),
            "ca": str(authority.cert),
            "token": token_of(cluster),
        }
        cert, key = authority.server("controller")
        for name, file in (("tls.crt", cert), ("tls.key", key)):
            (cluster.folder / name).write_bytes(file.read_bytes())
        authority.client("front-proxy-client")
        print(json.dumps(told), flush=True)
        for _ in sys.stdin:
            patched = cluster.log.counts(user="system:serviceaccount:plimsoll-system:plimsoll-controller")
            print(json.dumps({" ".join(key): value for key, value in patched.items()}), flush=True)
            cluster.log.clear()


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[subprocess.Popen]:
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


# --- what replicas say ------------------------------------------------------------------------------------------------


class States:
    """The second port of every replica there is."""

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._say(writer)
        writer.close()

    async def _say(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{"event": "ready"}\n')
        requests = 0
        while not writer.is_closing():
            requests += 30
            load = {
                "event": "load", "in_flight": 1, "queued": 0, "loop_lag_p99_s": 0.001, "rss_bytes": 10**8,
                "requests": requests, "service_time": {"a_s": 0.004, "c_s": 0.004, "sd_s": 0.0, "samples": 900},
            }  # fmt: skip
            writer.write(json.dumps(load).encode() + b"\n")
            await asyncio.sleep(1.0)


# --- the gateway ------------------------------------------------------------------------------------------------------


class Gateway:
    """Reports for all services each second. `busy`: how many of them have requests."""

    def __init__(self, services: int, ca: str, port: int, token: str) -> None:
        self.services, self.busy, self._ca, self._port, self._token = services, 0, ca, port, token
        self.names = [f"{namespace(index)}/model-{index}" for index in range(services)]
        self._totals = [[0, 0.0] for _ in range(services)]
        self.shocked: dict[int, float] = {}  # rates by service, instead of its own
        self._random = random.Random(1)

    async def run(self) -> None:
        context = ssl.create_default_context(cafile=self._ca)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=context, server_hostname="localhost", limit=1 << 26
        )
        writer.write(json.dumps({"token": self._token}).encode() + b"\n")
        reading = asyncio.create_task(self._read(reader))
        try:
            while True:
                writer.write(msgspec.json.encode(self._report()) + b"\n")
                await asyncio.sleep(1.0)
        finally:
            reading.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while await reader.readline():
            pass

    def _report(self) -> GatewayReport:
        now, entries = time.monotonic(), []
        for index, name in enumerate(self.names):
            rate = 0.0
            if index < self.busy:
                rate = 60.0 + 40.0 * sin(now / 60.0 + index) + self._random.uniform(-10.0, 10.0)
            rate = self.shocked.get(index, rate)
            total = self._totals[index]
            total[0] += round(rate)
            total[1] += rate * 0.02
            entries.append(
                ServiceReport(name, rate, {"ok": round(rate)}, p99_s=0.04, arrived=total[0], busy_s=total[1])
            )
        return GatewayReport("gateway-0", 1, tuple(entries), at=now)


# --- the measurement --------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, told: dict, ports: dict[str, int], child: psutil.Process) -> None:
        self._ports, self._child = ports, child
        context = ssl.create_default_context(cafile=told["ca"])
        folder = told["folder"]
        context.load_cert_chain(f"{folder}/front-proxy-client.pem", f"{folder}/front-proxy-client.key")
        self._api = httpx2.AsyncClient(verify=context)
        self._pages = httpx2.AsyncClient()

    def rss_mb(self) -> float:
        return self._child.memory_info().rss / 2**20

    def cpu_s(self) -> float:
        times = self._child.cpu_times()
        return times.user + times.system

    async def page(self, path: str) -> httpx2.Response:
        return await self._pages.get(f"http://127.0.0.1:{self._ports['METRICS']}{path}", timeout=20)

    async def ready(self) -> float:
        began = time.monotonic()
        while True:
            try:
                if (await self.page("/v2/health/ready")).status_code == 200:
                    return time.monotonic() - began
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.1)

    async def count(self, index: int) -> float:
        url = f"https://localhost:{self._ports['METRICS_API']}/apis/external.metrics.k8s.io/v1beta1"
        answer = await self._api.get(
            f"{url}/namespaces/{namespace(index)}/plimsoll_desired_replicas",
            params={"labelSelector": f"service=model-{index}"},
            headers=[("x-remote-user", HPA), ("x-remote-group", "system:authenticated")],
            timeout=20,
        )
        answer.raise_for_status()
        return float(answer.json()["items"][0]["value"].removesuffix("m"))

    async def served_after(self, gateway: Gateway, index: int) -> tuple[float, float]:
        """(from the decision, from the report) to the answer, in seconds; a service's requests rise at once."""
        before = await self.count(index)
        events = (await self.page(f"/plimsoll/events?service={gateway.names[index]}")).json()
        seen = max((event["seq"] for event in events), default=0)
        gateway.shocked[index] = 900.0
        asked = time.time()
        while await self.count(index) == before:  # noqa: ASYNC110 - a process is asked
            await asyncio.sleep(0.02)
        served = time.time()
        told = (await self.page(f"/plimsoll/events?service={gateway.names[index]}&since={seen}")).json()
        decided = next(event["at"] for event in told if event["kind"] == "scaled")
        del gateway.shocked[index]
        return served - decided, served - asked


async def measure(options: argparse.Namespace, told: dict, ports: dict[str, int], child: subprocess.Popen) -> None:
    bench = Bench(told, ports, psutil.Process(child.pid))
    print(f"{options.services} services: ready after {await bench.ready():.1f} s, {bench.rss_mb():.0f} MB", flush=True)
    gateway = Gateway(options.services, told["ca"], ports["CONTROL"], told["token"])
    reporting = asyncio.create_task(gateway.run())
    titles = "   decided -> served    report -> served"
    print(f"\n{'busy':>5} {'seconds':>8} {'RSS MB':>7} {'CPU s/s':>8} {'turn ms':>8}{titles}", flush=True)
    try:
        for busy in [0, *(int(one) for one in options.busy.split(","))]:
            gateway.busy = busy
            cpu, began = bench.cpu_s(), time.monotonic()
            await asyncio.sleep(options.seconds if busy else min(20, options.seconds))
            cpu_share = (bench.cpu_s() - cpu) / (time.monotonic() - began)
            text = (await bench.page("/metrics")).text
            turn_s = _mean(text, "plimsoll_reconcile_seconds")
            lags = [await bench.served_after(gateway, options.services - 1 - at) for at in range(5 if busy else 0)]
            told_lags = "   ".join(
                f"{statistics.median(one) * 1e3:5.0f} ms (most {max(one) * 1e3:.0f})" for one in zip(*lags, strict=True)
            )
            seconds = time.monotonic() - began
            print(
                f"{busy:5d} {seconds:8.0f} {bench.rss_mb():7.0f} {cpu_share:8.2f} {turn_s * 1e3:8.0f}   {told_lags}",
                flush=True,
            )
    finally:
        reporting.cancel()


def _mean(text: str, family: str) -> float:
    values = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith((f"{family}_sum", f"{family}_count"))
    }
    return values.get(f"{family}_sum", 0.0) / max(1.0, values.get(f"{family}_count", 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--busy", default="100,1000", help="how many have requests, one after the other")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each")
    parser.add_argument("--keda", type=int, default=10, help="every so manyth has writer KEDA; 0: none, and no gRPC")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--state-port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.services, options.state_port, options.keda)
    else:
        asyncio.run(run(options))


async def run(options: argparse.Namespace) -> None:
    from tests.support.ports import free_port

    ports = {name: free_port() for name in ("METRICS", "CONTROL", "METRICS_API", "SCALER")}
    states = States()
    port = await states.start()
    command = [
        sys.executable,
        "-m",
        "bench.signals",
        "--serve",
        "--services",
        str(options.services),
        "--keda",
        str(options.keda),
    ]
    with running([*command, "--state-port", str(port)]) as server:
        assert server.stdout is not None
        told = json.loads(await asyncio.to_thread(server.stdout.readline))
        environment = {f"PLIMSOLL_{name}_PORT": str(port) for name, port in ports.items()}
        with running(
            [sys.executable, "-m", "plimsoll.app.cluster_controller"],
            KUBECONFIG=told["kubeconfig"], PLIMSOLL_CERTIFICATES=told["folder"], PLIMSOLL_LOG_LEVEL="warning",
            **environment,
        ) as child:  # fmt: skip
            await measure(options, told, ports, child)


if __name__ == "__main__":
    main()
