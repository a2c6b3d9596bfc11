"""Plimsoll as `plimsoll install` sets it up, its pods run by the process kubelet: with the accounts, roles and
certificates that ship, on either API server.

with System.started("memory", folder) as system:
    system.become(values)
    system.plimsoll("apply", ...); system.kubectl("get", "msvc"); system.run(body)      # body(api): admin's client
"""

import asyncio
import contextlib
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.cluster import control_plane
from tests.kube import FakeCluster
from tests.kube.access import may_read_metrics
from tests.kube.client import Client
from tests.kube.kubelet import Kubelet
from tests.kube.node.containers import may_mount
from tests.kube.node.network import may_route

SYSTEM = "plimsoll-system"
COMPONENTS = ("plimsoll-operator", "plimsoll-controller", "plimsoll-gateway")
NODES = {"node-0": {}, "node-1": {}}
STAND_IN = "stand-in:1"  # and :2, :3: a replica that only says that it is ready
_STAND_IN = """
import os, signal, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        if self.path != "/plimsoll/state":
            self.send_header("content-length", "0")
        self.end_headers()
        if self.path == "/plimsoll/state":
            self.wfile.write(b'{"event": "ready"}\\n')
            threading.Event().wait()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
for port in (8080, 9090):
    server = ThreadingHTTPServer((os.environ["POD_IP"], port), Page)
    threading.Thread(target=server.serve_forever).start()
threading.Event().wait()
"""


def needs():
    """Why there can be no pods here; "" where there can."""
    if os.environ.get("KUBECONFIG"):
        return "a given cluster has nodes of its own; unset KUBECONFIG to have a control plane started"
    if not (may_mount() and may_route()):
        return "needs root: pods have mounts and addresses of their own"
    return ""


class System:
    def __init__(self, cluster, kubelet, folder):
        self.cluster, self.kubelet, self.folder = cluster, kubelet, folder
        self.real = getattr(cluster, "real", False)
        self._values = None

    @classmethod
    @contextlib.contextmanager
    def started(cls, sort, folder):
        """`sort`: memory or real."""
        if why := needs() or (sort == "real" and control_plane.missing()):
            pytest.skip(why)
        with (
            control_plane.ControlPlane() if sort == "real" else FakeCluster() as cluster,
            Kubelet(cluster.kubeconfig, nodes=NODES, backoff_s=0.2, backoff_max_s=2.0, retry_s=0.2) as kubelet,
        ):
            for number in (1, 2, 3):
                kubelet.stand_ins[f"stand-in:{number}"] = [sys.executable, "-S", "-c", _STAND_IN]
            if sort == "memory":
                cluster.apply(*may_read_metrics())  # a real API server has them from the beginning
            yield cls(cluster, kubelet, folder)

    def become(self, values):
        """Installed with these values, where it isn't, and all of it ready."""
        if values != self._values:
            self.install(values)

        async def up(api):
            try:
                for name in COMPONENTS:
                    await self.ready(api, name)
            finally:
                await self.tell(api)

        self.run(up)

    def install(self, values):
        """`values`: as of `plimsoll install --values`."""
        path = self.folder / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        self.plimsoll("install", "--context", self.context, "--values", str(path))
        # what is waited for where an operator dies, and until it sees new kinds: 15 s and 60 s as it ships
        self.kubectl("set", "env", "-n", SYSTEM, "deployment/plimsoll-operator", "PLIMSOLL_LEASE_SECONDS=4",
                     "PLIMSOLL_DISCOVER_SECONDS=2")  # fmt: skip
        self._values = values

    # --- commands -----------------------------------------------------------------------------------------------------
    @functools.cached_property
    def context(self):
        return yaml.safe_load(Path(self.cluster.kubeconfig).read_text())["current-context"]

    def _command(self, argv, check, given=None):
        env = os.environ | {"KUBECONFIG": str(self.cluster.kubeconfig), "NO_COLOR": "1"}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=110, input=given)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def plimsoll(self, *argv, check=True):
        return self._command([sys.executable, "-m", "plimsoll.cli.main", *argv], check)

    def kubectl(self, *argv, check=True, given=None):
        """`given`: its standard input, text or objects."""
        text = given if given is None or isinstance(given, str) else json.dumps(given)
        cache = self.folder / f"kubectl-{self.cluster.port}"
        return self._command(["kubectl", f"--cache-dir={cache}", *argv], check, text)

    def run(self, body, within_s=100):
        """`await body(api)`, api being admin's client."""

        async def whole():
            async with asyncio.timeout(within_s), Client(self.cluster.kubeconfig) as api:
                return await body(api)

        return asyncio.run(whole())

    # --- what runs ----------------------------------------------------------------------------------------------------
    async def pods(self, api, component, namespace=SYSTEM):
        """Those that aren't about to end."""
        found = await api.list("Pod", namespace, labelSelector=f"app.kubernetes.io/component={component}")
        return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]

    async def leader(self, api, lease="plimsoll-operator"):
        """The pod that holds it: (name, pid)."""
        async with asyncio.timeout(60):
            while True:
                found = await api.find("Lease", lease, SYSTEM)
                name = ((found or {}).get("spec") or {}).get("holderIdentity") or ""
                name = name.partition("_")[0]
                if name and (pid := self.kubelet.process_of(name, SYSTEM)):
                    return name, pid
                await asyncio.sleep(0.1)

    async def ready(self, api, deployment, count=None, within_s=90):
        """Until it runs as it should: all pods of the newest template ready."""

        def done(found):
            spec, status = found["spec"], found.get("status") or {}
            wanted = spec.get("replicas", 1) if count is None else count
            return (
                spec.get("replicas", 1) == wanted
                and status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
                and status.get("availableReplicas", 0) == status.get("replicas", 0) == wanted
                and status.get("updatedReplicas", 0) == wanted
            )

        return await api.until("Deployment", deployment, SYSTEM, test=lambda one: one is not None and done(one),
                               within_s=within_s)  # fmt: skip

    async def tell(self, api, *namespaces):
        """What there is, and the last words of Plimsoll's own pods: pytest shows it with a failure."""
        with contextlib.suppress(Exception):
            for namespace in namespaces:
                for one in (await api.list("ModelService", namespace))["items"]:
                    print(f"--- msvc {one['metadata']['name']} {json.dumps(one.get('status'))}")
                for one in (await api.list("Event", namespace))["items"]:
                    print(f"    {one['reason']} {one['involvedObject']['name']}: {one['message'][:300]}")
        for runner, _ in list(self.kubelet.runners.values()):
            for one in [*runner.init, *runner.main]:
                text = one.log_file.read_text(errors="replace") if one.log_file.exists() else ""
                print(f"--- {'/'.join(runner.key)} restarts={one.restarts} {one.state}\n{text[-2000:]}")


def condition(service, kind="Ready"):
    """{} where there is none."""
    found = ((service or {}).get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def said(kind, status, reason=None, *, after=0):
    """A test for `until`: the condition stands so, of a generation from `after` on."""

    def test(service):
        one = condition(service, kind)
        return (
            one.get("status") == status
            and reason in (None, one.get("reason"))
            and one.get("observedGeneration", 0) >= after
        )

    return test
