"""The operator as its own process, with the rights that it ships with, against the API server in memory."""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request

import httpx2
from tests.support.ports import free_port

from plimsoll.backends.kubernetes.crd import crds
from plimsoll.backends.kubernetes.install.roles import accounts, authority_roles, cluster_roles, system_roles
from plimsoll.backends.kubernetes.install.surroundings import authority_namespace
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.names import OPERATOR, SYSTEM_NAMESPACE

ACCOUNT = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR}"
SHOP = "shop"


def prepared(cluster):
    """Definitions, namespaces and roles as `plimsoll install` makes them."""
    for name in (SYSTEM_NAMESPACE, "kube-system", SHOP):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    values = Values()
    cluster.apply(*authority_namespace(values), *authority_roles(values))
    cluster.apply(*crds(), *accounts(values), *cluster_roles(values), *system_roles(values))
    return cluster


def service(name="mood", namespace=SHOP, **spec):
    body = {
        "model": {"uri": "oci://registry.example.com/mood:1", "digest": f"sha256:{'a' * 64}", "format": "Python"},
        "budget": {"latency": {"p99": "100ms"}},
        "scaling": {"minReplicas": 2, "maxReplicas": 8},
    }
    body["model"]["className"] = "Mood"
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": body | spec,
    }


def with_model(obj, version):
    """Another model, so another revision."""
    model = obj["spec"]["model"] | {"digest": f"sha256:{version * 64}"}
    return obj | {"spec": obj["spec"] | {"model": model}}


class OperatorProcess:
    """`with OperatorProcess(cluster) as operator:` ends it with SIGTERM and checks that it went well."""

    def __init__(self, cluster, name="operator-0", user=ACCOUNT, **environment):
        self.cluster, self.name = cluster, name
        self.port, self.webhook_port = free_port(), free_port()
        self.log_path = cluster.folder / f"{name}.log"
        self._environment = os.environ | {
            "KUBECONFIG": str(cluster.kubeconfig_of(user)),
            "POD_NAME": name,
            "PLIMSOLL_METRICS_PORT": str(self.port),
            "PLIMSOLL_WEBHOOK_PORT": str(self.webhook_port),
            "PLIMSOLL_LEASE_SECONDS": "3",
            "PLIMSOLL_FIGURES_SECONDS": "1",
            **{key: str(value) for key, value in environment.items()},
        }
        self.child = None

    def __enter__(self):
        with self.log_path.open("a") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "plimsoll.app.cluster_operator"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *error):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
        code = self.child.wait(20)
        if error[0] is None and not self.killed:
            assert code == 0, self.log

    killed = False

    def kill(self):
        self.killed = True
        self.child.kill()
        self.child.wait(10)

    @property
    def log(self):
        return self.log_path.read_text()

    def metric(self, name):
        with contextlib.suppress(OSError), self.page("/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.split("{")[0].split(" ")[0] == name:
                    return float(line.rsplit(" ", 1)[1])
        return 0.0

    def page(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5)

    @property
    def leading(self):
        return self.metric("plimsoll_operator_leading") == 1


def until(true, what="", seconds=30.0, every_s=0.02):
    """What `true` gives once it gives something. Fails with `what`, or with what a callable `what` says."""
    ends = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(every_s)


def calm(operator, quiet_s=0.7):
    """Until it has looked at nothing for a while."""
    looks, since = -1.0, time.monotonic()
    while time.monotonic() - since < quiet_s:
        now = operator.metric("plimsoll_operator_looks_total")
        if now != looks:
            looks, since = now, time.monotonic()
        time.sleep(0.05)


def condition(obj, kind="Ready"):
    """{} for none."""
    found = ((obj or {}).get("status") or {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {})


class Shop:
    """What a test looks at: one service's objects."""

    def __init__(self, cluster, name="mood", namespace=SHOP):
        self.cluster, self.name, self.namespace = cluster, name, namespace

    @property
    def service(self):
        return self.cluster.get("ModelService", self.name, self.namespace)

    @property
    def status(self):
        return (self.service or {}).get("status") or {}

    def deployments(self):
        """By name."""
        found = self.cluster.objects("Deployment", self.namespace)
        return {
            obj["metadata"]["name"]: obj
            for obj in found
            if obj["metadata"].get("labels", {}).get("plimsoll.dev/service") == self.name
        }

    def counts(self):
        return {name: obj["spec"]["replicas"] for name, obj in self.deployments().items()}

    def ready(self, reason="Serving", count=None):
        """Waits for it."""

        def is_so():
            found = condition(self.service)
            generation = self.service["metadata"]["generation"]
            right = found.get("reason") == reason and found.get("observedGeneration") == generation
            return right and (count is None or self.status.get("readyReplicas") == count)

        until(is_so, lambda: f"{reason}: {self.status.get('conditions')} {self.counts()}")
        return self.service

    def scale(self, deployment, replicas):
        """As a scaler does: through the subresource."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{deployment}/scale?fieldManager=scaler"
        patch = {"Content-Type": "application/merge-patch+json"}
        self.request("PATCH", path, {"spec": {"replicas": replicas}}, **patch).raise_for_status()

    def delete(self):
        self.request("DELETE", f"/apis/plimsoll.dev/v1alpha1/namespaces/{self.namespace}/modelservices/{self.name}")

    def request(self, method, path, body=None, **more):
        """As admin."""
        headers = {"Authorization": "Bearer admin"}
        context = ssl.create_default_context(cafile=self.cluster.ca_file)
        return httpx2.request(method, f"{self.cluster.url}{path}", json=body, headers=headers | more, verify=context)
