"""The controller as its own process, with the rights that it ships with, against the API server in memory; and those
that speak with it: a gateway, the API server's aggregator, KEDA."""

import asyncio
import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request

import httpx2
import msgspec
from tests.kube.access import may_read_metrics
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.unit.backends.kubernetes.operator.running import prepared

from plimsoll.backends.kubernetes.names import (
    CONTROLLER,
    GATEWAY,
    REVISION_LABEL,
    SERVICE_LABEL,
    SYSTEM_NAMESPACE,
)
from plimsoll.core.snapshot import GatewayReport, ServiceReport, Snapshot

ACCOUNT = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{CONTROLLER}"
HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
SHOP = "shop"


def stage_of(cluster):
    """What `plimsoll install` and Kubernetes itself put there; returns the front proxy's authority."""
    prepared(cluster)
    authority = Authority(cluster.folder, "front-proxy-ca")
    data = {
        "requestheader-client-ca-file": authority.cert.read_text(),
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
    meta = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    reader = {"name": "extension-apiserver-authentication-reader", "namespace": "kube-system"}
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": reader,
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["configmaps"],
                    "resourceNames": [meta["name"]],
                    "verbs": ["get", "list", "watch"],
                }
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "plimsoll-controller-proxy", "namespace": "kube-system"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": reader["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": SYSTEM_NAMESPACE}],
        },
        *may_read_metrics(),
    )
    return authority


def service(cluster, name="mood", replicas=1, **scaling):
    """A ModelService as the operator leaves it: with its Deployment, and named as the scaler's in its status."""
    target = f"{name}-1111111111"
    labels = {SERVICE_LABEL: name, REVISION_LABEL: target}
    cluster.apply(
        {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": name, "namespace": SHOP},
            "spec": {
                "model": {
                    "uri": "oci://registry.example.com/mood:1",
                    "digest": f"sha256:{'a' * 64}",
                    "format": "Python",
                    "className": "M",
                },
                "budget": {"latency": {"p99": "100ms"}},
                "scaling": {"minReplicas": 1, "maxReplicas": 8} | scaling,
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": target, "namespace": SHOP, "labels": labels},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "model", "image": "x"}]}},
            },
        },
    )  # fmt: skip
    patch_status(cluster, name, target)
    return target


def patch_status(cluster, name, target):
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    path = f"/apis/plimsoll.dev/v1alpha1/namespaces/{SHOP}/modelservices/{name}/status"
    request = urllib.request.Request(
        cluster.url + path, method="PATCH", data=json.dumps({"status": {"scaleTarget": target}}).encode(),
        headers={"Content-Type": "application/merge-patch+json", "Authorization": "Bearer admin"},
    )  # fmt: skip
    with urllib.request.urlopen(request, context=context) as answer:
        answer.read()


class ControllerProcess:
    """`with ControllerProcess(cluster, authority) as controller:` ends it with SIGTERM and checks that it went well."""

    def __init__(self, cluster, authority, name="controller-0", **environment):
        self.cluster, self.authority, self.name = cluster, authority, name
        self.metrics, self.control, self.api, self.scaler = (free_port() for _ in range(4))
        self.certificates = cluster.folder / f"{name}-certificates"
        self.certificates.mkdir(exist_ok=True)
        self.rotate()
        self.log_path = cluster.folder / f"{name}.log"
        self._environment = os.environ | {
            "KUBECONFIG": str(cluster.kubeconfig_of(ACCOUNT)),
            "POD_NAME": name,
            "PLIMSOLL_CERTIFICATES": str(self.certificates),
            "PLIMSOLL_METRICS_PORT": str(self.metrics),
            "PLIMSOLL_CONTROL_PORT": str(self.control),
            "PLIMSOLL_METRICS_API_PORT": str(self.api),
            "PLIMSOLL_SCALER_PORT": str(self.scaler),
            **{key: str(value) for key, value in environment.items()},
        }
        self.child = None

    def rotate(self, version=0):
        cert, key = self.authority.server(f"{self.name}-{version}")
        (self.certificates / "tls.key").write_bytes(key.read_bytes())
        (self.certificates / "tls.crt").write_bytes(cert.read_bytes())

    def __enter__(self):
        with self.log_path.open("a") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "plimsoll.app.cluster_controller"], env=self._environment, stdout=log, stderr=log
            )
        return self

    def __exit__(self, kind, *_):
        code = self.end()
        assert kind is not None or code == 0, self.log
        assert kind is not None or "Traceback" not in self.log, self.log

    def end(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise

    @property
    def log(self):
        return self.log_path.read_text()

    def page(self, path):
        """(status, text); status 0: it doesn't listen yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def figures(self, name="mood"):
        _, text = self.page("/plimsoll/status")
        return next((one for one in json.loads(text or "[]") if one["name"] == name), None)

    def ask(self, path, **params):
        """Through the aggregator, as the HPA."""
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        context.load_cert_chain(*map(str, self.authority.client("front-proxy-client")))
        headers = [
            ("x-remote-user", HPA),
            ("x-remote-group", "system:serviceaccounts:kube-system"),
            ("x-remote-group", "system:authenticated"),
        ]
        with httpx2.Client(verify=context) as client:
            return client.get(f"https://localhost:{self.api}{path}", params=params, headers=headers)

    def until(self, condition, timeout_s=40.0):
        """Fails with the log."""
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            assert self.child.poll() is None, self.log
            assert time.monotonic() < deadline, self.log[-4000:]
            time.sleep(0.05)
        return found

    def ready(self):
        return self.until(lambda: self.page("/v2/health/ready")[0] == 200)


class Gateway:
    """Speaks the stream: a token, then reports each tenth of a second; keeps the last snapshot."""

    def __init__(self, controller, rates, *, name="gateway-0", token=None):
        self.controller, self.rates, self.name, self.held = controller, rates, name, {}
        self.token = token or token_of(controller.cluster)
        self.snapshot, self._totals = None, {}

    async def __aenter__(self):
        context = ssl.create_default_context(cafile=str(self.controller.authority.cert))
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.controller.control, ssl=context, server_hostname="localhost", limit=1 << 26
        )
        self.writer.write(json.dumps({"token": self.token}).encode() + b"\n")
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._report())]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.writer.close()

    @property
    def refused(self):
        return self._tasks[0].done()

    async def _read(self):
        while line := await self.reader.readline():
            self.snapshot = msgspec.json.decode(line, type=Snapshot)

    async def _report(self):
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0.25)
            now = loop.time()
            entries = []
            for service, rate in self.rates.items():
                total = self._totals.setdefault(service, [0.0, 0.0])
                total[0] += rate * (now - last)
                total[1] += rate * (now - last) * 0.02
                entries.append(
                    ServiceReport(service, rate, {"ok": int(total[0])}, p50_s=0.01, p99_s=0.04,
                                  held=self.held.get(service, 0), arrived=int(total[0]), busy_s=total[1])
                )  # fmt: skip
            last = now
            self.writer.write(msgspec.json.encode(GatewayReport(self.name, 1, tuple(entries), at=now)) + b"\n")

    async def until(self, condition, timeout_s=30.0):
        async with asyncio.timeout(timeout_s):
            while not (found := condition()):  # noqa: ASYNC110 - nobody else is told of what a process does
                await asyncio.sleep(0.05)
            return found


def token_of(cluster, account=GATEWAY, audience=CONTROLLER):
    """A projected ServiceAccount token, as the kubelet asks for it."""
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{account}/token"
    request = urllib.request.Request(
        cluster.url + path, method="POST",
        data=json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                         "spec": {"audiences": [audience], "expirationSeconds": 3600}}).encode(),
        headers={"Content-Type": "application/json", "Authorization": "Bearer admin"},
    )  # fmt: skip
    with urllib.request.urlopen(request, context=context) as answer:
        return json.loads(answer.read())["status"]["token"]


def secret(name, namespace=SYSTEM_NAMESPACE, **values):
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}
