"""Gateways and replicas as a cluster runs them: processes with a pod's environment, each on a loopback address.

async with Stage(tmp_path) as stage:
    pod = stage.pod("mood-1-abcde"); await pod.ready()
    gate = stage.gateway("gateway-a"); await gate.ready()
    stage.slices("mood", pod)                      # what Kubernetes would write
    answer = await gate.post("/v2/models/mood/infer", {...})
"""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys

import pytest
from tests.kube import FakeCluster
from tests.support.certificates import Authority
from tests.support.gateway_host import Client, until

from plimsoll.backends.kubernetes.names import SERVICE_LABEL
from plimsoll.control.stream import SnapshotServer, TcpListen
from plimsoll.core.snapshot import ServiceView, Snapshot
from plimsoll.wire.http1.tls import TlsSettings, make_context

CONTROLLER = "plimsoll-controller.plimsoll-system.svc"
GATEWAY = "plimsoll-gateway.plimsoll-system.svc"
ACCOUNT = "system:serviceaccount:plimsoll-system:plimsoll-gateway"
TOKEN = "the-gateways-own-token"
NAMESPACE = "shop"

MODEL = """
import os, time

class Mood:
    def predict(self, batch):
        seconds = max(float(item.get("s", 0)) for item in batch)
        if seconds:
            time.sleep(seconds)
        return [{"pod": os.environ["POD_NAME"]} for _ in batch]
"""

_taken = 0


def address():
    """One of 127/8 that no other test of this process, and hardly another process, uses. Elsewhere than on Linux such
    addresses must be made first."""
    global _taken
    if not sys.platform.startswith("linux"):
        pytest.skip("needs the addresses 127.0.0.0/8, which Linux has")
    _taken += 1
    number = (os.getpid() * 97 + _taken) % (1 << 20)
    return f"127.{16 + (number >> 16)}.{number >> 8 & 255}.{number & 255 or 255}"


class Process:
    """One container. `log`: a file."""

    def __init__(self, stage, name, module, **environment):
        self.stage, self.name, self.ip = stage, name, environment["POD_IP"]
        self.log = stage.folder / f"{name}.log"
        self.termination = stage.folder / f"{name}.termination"
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PLIMSOLL_", "KUBE"))}
        env |= {
            "POD_NAME": name,
            "PLIMSOLL_TERMINATION_LOG": str(self.termination),
            "PYTHONPATH": os.pathsep.join(sys.path),
        } | environment
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", module], env=env, stdout=log, stderr=log)

    async def ready(self):
        await until(lambda: self.process.poll() is not None or self._listens(), 60)
        assert self.process.poll() is None, self.log.read_text()
        async with asyncio.timeout(60):
            while await self.status("/v2/health/ready") != 200:  # another process's state
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.02)
        return self

    def _listens(self):
        with socket.socket() as probe:
            return probe.connect_ex((self.ip, 9090)) == 0

    async def ask(self, method, path, body=b"", headers=(), port=8080):
        client = await Client.connect(f"tcp:{self.ip}:{port}")
        try:
            return await asyncio.wait_for(client.ask(method, path, body, headers), 30)
        finally:
            client.close()

    async def post(self, path, value=None, headers=()):
        return await self.ask("POST", path, json.dumps(value or {}).encode(), headers)

    async def status(self, path):
        """Of a page on the metrics port; 0 where nobody answers."""
        try:
            return (await self.ask("GET", path, port=9090)).status
        except (OSError, EOFError):
            return 0

    def lines(self, message):
        """Its log's lines with this message."""
        found = []
        for line in self.log.read_text().splitlines():
            if line.startswith("{") and message in json.loads(line)["message"]:
                found.append(json.loads(line))
        return found

    async def end(self, within=30):
        """As the kubelet: SIGTERM. The exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, within)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Controller:
    """The stream of one controller."""

    def __init__(self, stage):
        self.stage, self.reports = stage, []
        self.pair = stage.authority.sign("controller", "/CN=controller", f"DNS:{CONTROLLER}", "serverAuth")
        listen = TcpListen("127.0.0.1", 0, self._context, self._check)
        self.server = SnapshotServer(None, on_report=self.reports.append, tcp=listen)

    def _context(self):
        return make_context(TlsSettings(*map(str, self.pair)))

    async def _check(self, token):
        return token == TOKEN

    def publish(self, *views, **more):
        self.server.publish(Snapshot(self.server.snapshot.version + 1, views, **more))

    @property
    def held(self):
        """By service, as the last report of each gateway said."""
        last = {report.gateway: report for report in self.reports}
        return sum(service.held for report in last.values() for service in report.services)


class Stage:
    """An API server in memory, a controller's stream, and whatever pods a test starts."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.authority = Authority(folder, "authority")
        self.cluster = FakeCluster(controllers=False)
        (folder / "token").write_text(TOKEN)
        (folder / "certificates").mkdir()
        (folder / "certificates" / "ca.crt").write_bytes(self.authority.cert.read_bytes())

    async def __aenter__(self):
        await self.cluster.__aenter__()
        from plimsoll.backends.kubernetes.install.roles import cluster_roles
        from plimsoll.backends.kubernetes.install.values import Values

        for name in ("plimsoll-system", NAMESPACE, "team-a"):
            self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.cluster.apply(
            *(role for role in cluster_roles(Values()) if role["metadata"]["name"] == "plimsoll-gateway")
        )
        self.controller = Controller(self)
        await self.controller.server.start()
        return self

    async def __aexit__(self, kind, error, traceback):
        for process in self.processes:
            process.kill()
        if kind is not None:
            for process in self.processes:
                print(f"--- {process.name}\n{process.log.read_text()[-3000:]}")  # pytest shows it
        await self.controller.server.close()
        await self.cluster.__aexit__(None, None, None)

    def pod(self, name, *, service="mood", spec=None, model=MODEL, **environment):
        """A replica."""
        config, place = self.folder / f"{name}-config", self.folder / f"{name}-model"
        config.mkdir()
        place.mkdir()
        (place / "mood.py").write_text(model)
        document = {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": service, "namespace": NAMESPACE},
            "spec": {"model": {"path": "./mood.py"}, "routes": [{"path": f"/{service}"}]} | (spec or {}),
        }
        (config / "service.json").write_text(json.dumps(document))
        given = {
            "PLIMSOLL_REVISION": name.rpartition("-")[0],
            "PLIMSOLL_CONFIG_DIR": str(config),
            "PLIMSOLL_MODEL_PATH": str(place),
        }
        process = Process(self, name, "plimsoll.app.pod_replica", **({"POD_IP": address()} | given | environment))
        self.processes.append(process)
        return process

    def gateway(self, name, **environment):
        process = Process(
            self, name, "plimsoll.app.cluster_gateway", POD_IP=environment.pop("POD_IP", None) or address(),
            POD_NAMESPACE="plimsoll-system",
            KUBECONFIG=str(self.cluster.kubeconfig_of(ACCOUNT)),
            PLIMSOLL_CONTROL=f"tls:{CONTROLLER}@127.0.0.1:{self.controller.server.port}",
            PLIMSOLL_CERTIFICATES=str(self.folder / "certificates"),
            PLIMSOLL_TOKEN_FILE=str(self.folder / "token"),
            **{"PLIMSOLL_DRAIN_LINGER": "0.5"} | environment,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def slices(self, service, *pods, ending=(), unready=(), name="", namespace=NAMESPACE, secure=False):
        """Writes what the endpoints controller would: `pods` are ready, `ending` are terminating and still serve."""

        def endpoint(pod, ready, serving, terminating):
            return {
                "addresses": [pod.ip],
                "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod.name},
            }

        self.cluster.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name or f"{service}-1",
                    "namespace": namespace,
                    "labels": {SERVICE_LABEL: service, "kubernetes.io/service-name": service},
                },
                "addressType": "IPv4",
                "endpoints": [
                    *(endpoint(pod, True, True, False) for pod in pods),
                    *(endpoint(pod, False, True, True) for pod in ending),
                    *(endpoint(pod, False, False, False) for pod in unready),
                ],
                "ports": [
                    {"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "https" if secure else "http"}
                ],
            }
        )

    def secret(self, folder, pair=None, *authorities):
        """Swaps what a mounted Secret holds, as the kubelet does: a new folder, then a link, renamed into place."""
        folder.mkdir(exist_ok=True)
        generation = len(list(folder.glob("..v*")))
        fresh = folder / f"..v{generation}"
        fresh.mkdir()
        if pair is not None:
            (fresh / "tls.crt").write_bytes(pair[0].read_bytes())
            (fresh / "tls.key").write_bytes(pair[1].read_bytes())
        if authorities:
            (fresh / "ca.crt").write_bytes(b"".join(one.cert.read_bytes() for one in authorities))
        link = folder / "..new"
        link.symlink_to(fresh.name)
        link.rename(folder / "..data")
        for one in fresh.iterdir():
            if not (folder / one.name).is_symlink():
                (folder / one.name).symlink_to(f"..data/{one.name}")
        return folder


def view(name="mood", namespace=NAMESPACE, **fields):
    fields = {"timeout_s": 20.0, "hold_s": 20.0} | fields
    return ServiceView(f"{namespace}/{name}", f"{name}-1", namespace=namespace, **fields)


class Load:
    """`plimsoll load` beside a test."""

    def __init__(self, url, *, rate=60, seconds=60, body='{"a": 1}', ca=None, headers=()):
        command = [sys.executable, "-m", "plimsoll.cli.main", "load", url, "--rate", str(rate), "--for", f"{seconds}s"]
        command += ["--body", body, "--json", "--seed", "7", *(("--ca", str(ca)) if ca else ())]
        command += [part for one in headers for part in ("--header", one)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def runs(self):
        """True; an AssertionError with its words where it has ended."""
        assert self.process.poll() is None, self.process.communicate()[1].decode()
        return True

    async def report(self):
        """Ends it, and gives its report."""
        self.process.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(self.process.communicate, timeout=60)
        assert out, err.decode()
        return json.loads(out)

    def kill(self):
        self.process.kill()
        self.process.communicate()


def tls_context(authority):
    return ssl.create_default_context(cafile=str(authority.cert))
