"""Our metrics APIs behind the API server's own aggregator, and autoscalers that follow them, on both API servers."""

import asyncio
import base64
import contextlib
from datetime import UTC, datetime

import pytest
from lightkube.config.kubeconfig import KubeConfig
from tests.cluster.contract import deployment, run
from tests.cluster.test_metrics_api import active, available, follower
from tests.kube.access import may_read_metrics
from tests.kube.authority import Authority
from tests.kube.client import MERGE
from tests.kube.errors import ApiError as Refused

from plimsoll.app.controller_tls import Certificates
from plimsoll.app.operator_pages import Page
from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.signals.access import Permissions, front_proxy
from plimsoll.backends.kubernetes.signals.api import MetricsApi
from plimsoll.backends.kubernetes.signals.book import SignalBook
from plimsoll.backends.kubernetes.signals.ownership import CUSTOM, EXTERNAL
from plimsoll.backends.kubernetes.signals.peer import PeerProtocol
from plimsoll.ports.signals import PodSignal, ServiceSignal

HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
METRIC = "plimsoll_desired_replicas"


class Signals:
    """A book behind our API. The clock stands still unless it is told to move: nothing gets old by itself."""

    def __init__(self, cluster, namespace, folder):
        self.namespace, self.folder, self.now, self.labels = namespace, folder, 100.0, {}
        self.api = Api.connect(KubeConfig.from_file(str(cluster.kubeconfig)).get())
        self.book = SignalBook(pod_labels=lambda space, pod: self.labels.get(pod))
        self.asked = []

    def publish(self, desired, *, current=None, pods=()):
        signals = [PodSignal(name, {"requests_per_second": rate}, self.now) for name, rate in pods]
        self.book.publish(
            [ServiceSignal(self.namespace, "web", desired, self.now, current, pods=signals, values_at=self.now)]
        )

    async def __aenter__(self):
        known = await self.api.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
        proxy = front_proxy(known)
        authority = Authority(self.folder, "metrics-ca")
        self.ca = authority.cert.read_bytes()
        cert, key = authority.sign("metrics", dns=(f"metrics.{self.namespace}.svc",))
        for name, file in (("tls.crt", cert), ("tls.key", key)):
            (self.folder / name).write_bytes(file.read_bytes())
        certificates = Certificates(str(self.folder), lambda: proxy.ca)
        permissions = Permissions(self.api)
        ask = permissions.allows

        async def allows(caller, what, now):
            self.asked.append((caller.user, what["resource"]))
            return await ask(caller, what, now)

        permissions.allows = allows
        metrics = MetricsApi(self.book, permissions, proxy=lambda: proxy, clock=lambda: self.now)
        self.page = Page(metrics.app(), "127.0.0.1", 0, certificates.listening(certificates.apis), http=PeerProtocol)
        await self.page.start()
        self.port = self.page.port
        return self

    async def __aexit__(self, *_):
        await self.page.close()
        await self.api.close()


def api_service(name, namespace, signals):
    version, _, group = name.partition(".")
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": name},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": base64.b64encode(signals.ca).decode(),
            "service": {"namespace": namespace, "name": "metrics", "port": signals.port},
        },
    }


@contextlib.asynccontextmanager
async def served(api, cluster, namespace, folder, name):
    if getattr(cluster, "given", False):
        pytest.skip("a given cluster's API server can't reach this machine's loopback")
    async with Signals(cluster, namespace, folder) as signals:
        spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": signals.port}]}
        meta = {"name": "metrics", "namespace": namespace}
        if not getattr(cluster, "real", False):
            cluster.apply(*may_read_metrics())
        await api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        await api.create(api_service(name, namespace, signals))
        try:
            await api.until("APIService", name, test=available, api_version="apiregistration.k8s.io/v1")
            yield signals
        finally:
            await api.delete("APIService", name, api_version="apiregistration.k8s.io/v1")


async def running(api, namespace):
    """Metadata of the pods that there are, all made ready: an HPA leaves out those that aren't."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = []
    for pod in (await api.list("Pod", namespace))["items"]:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        found.append(pod["metadata"])
        if (pod.get("status") or {}).get("phase") != "Running":
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
            status = {"phase": "Running", "startTime": now, "conditions": [ready]}
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/status"
            await api.request("PATCH", path, {"status": status}, content_type=MERGE)
    return found


def replicas(count):
    return lambda found: found["spec"]["replicas"] == count


@pytest.mark.timeout(240)
def test_an_hpa_follows_our_count_and_keeps_it_when_it_gets_old(cluster, namespace, tmp_path):
    async def body(api):
        async with served(api, cluster, namespace, tmp_path, EXTERNAL) as signals:
            signals.publish(4)
            path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{METRIC}"
            assert (await api.request("GET", path))["items"][0]["value"] == "4"
            with pytest.raises(Refused) as refused:
                await api.request("GET", f"{path}x")
            assert (refused.value.code, "there is no metric" in refused.value.message) == (404, True)
            await api.create(deployment(namespace, replicas=1))
            await api.create(follower(namespace))
            for wanted in (4, 12):
                signals.publish(wanted)
                await api.until("Deployment", "web", namespace, within_s=60, test=replicas(wanted))
            assert (HPA, METRIC) in signals.asked
            signals.now += 60  # nobody publishes any more
            found = await api.until(
                "HorizontalPodAutoscaler", "web", namespace, within_s=60,
                test=lambda found: active(found)["status"] == "False",
            )  # fmt: skip
            assert active(found)["reason"] == "FailedGetExternalMetric"
            assert "60 s old: this controller stands still" in active(found)["message"]
            assert replicas(12)(await api.get("Deployment", "web", namespace)), "it keeps the count it has"

    run(cluster, namespace, body)


@pytest.mark.timeout(240)
def test_an_hpa_of_an_old_cluster_takes_a_small_step_too(cluster, namespace, tmp_path):
    """Its tolerance is left at a tenth: 11 -> 12 is inside of it."""

    async def body(api):
        async with served(api, cluster, namespace, tmp_path, EXTERNAL) as signals:
            signals.book.tolerance = 0.1
            await api.create(deployment(namespace, replicas=11))
            hpa = follower(namespace)
            for direction in hpa["spec"]["behavior"].values():
                direction.pop("tolerance", None)
            await api.create(hpa)
            signals.publish(12, current=11)
            await api.until("Deployment", "web", namespace, within_s=60, test=replicas(13))

    run(cluster, namespace, body)


@pytest.mark.timeout(240)
def test_an_hpa_follows_our_pods_own_metric(cluster, namespace, tmp_path):
    async def body(api):
        async with served(api, cluster, namespace, tmp_path, CUSTOM) as signals:
            await api.create(deployment(namespace, replicas=1))
            hpa = follower(namespace)
            metric = {
                "metric": {"name": "requests_per_second"},
                "target": {"type": "AverageValue", "averageValue": "100"},
            }
            hpa["spec"]["metrics"] = [{"type": "Pods", "pods": metric}]
            await api.create(hpa)
            async with asyncio.timeout(90):
                while not replicas(3)(await api.get("Deployment", "web", namespace)):
                    pods = await running(api, namespace)
                    signals.labels = {pod["name"]: pod["labels"] for pod in pods}
                    # 250/s come, whatever number of pods there is
                    signals.publish(1, pods=[(pod["name"], 250 / len(pods)) for pod in pods])
                    await asyncio.sleep(0.5)
            assert (HPA, "pods") in signals.asked

    run(cluster, namespace, body)
