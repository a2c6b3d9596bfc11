"""An aggregated metrics API and an HPA that follows it, on both API servers; what our controller's API relies on."""

import base64
import contextlib
import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.cluster.contract import deployment, run
from tests.kube.authority import Authority
from tests.kube.errors import ApiError

GROUP, METRIC = "external.metrics.k8s.io", "plimsoll_desired_replicas"


class MetricsServer:
    """`wanted`: the metric's value. Takes only callers with a certificate of the front proxy's authority."""

    def __init__(self, folder, namespace, front_proxy_ca):
        self.wanted, self.users = 1, set()
        self.authority = Authority(folder, "metrics-ca")
        cert, key = self.authority.sign("metrics", dns=(f"metrics.{namespace}.svc",))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=front_proxy_ca)
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.users.add(self.headers["X-Remote-User"])
                code, body = server.answer(self.path.partition("?")[0])
                raw = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        return Handler

    def answer(self, path):
        root = f"/apis/{GROUP}/v1beta1"
        if path == root:
            resource = {"name": METRIC, "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList",
                        "verbs": ["get"]}  # fmt: skip
            return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1beta1",
                         "resources": [resource]}  # fmt: skip
        if re.fullmatch(rf"{root}/namespaces/[^/]+/{METRIC}", path):
            item = {"metricName": METRIC, "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z",
                    "value": str(self.wanted)}  # fmt: skip
            return 200, {"kind": "ExternalMetricValueList", "apiVersion": f"{GROUP}/v1beta1", "metadata": {},
                         "items": [item]}  # fmt: skip
        return 404, {}


@contextlib.contextmanager
def metrics_server(folder, namespace, front_proxy_ca):
    server = MetricsServer(folder, namespace, front_proxy_ca)
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()


def api_service(namespace, server):
    bundle = base64.b64encode(server.authority.cert.read_bytes()).decode()
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta1.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": bundle,
            "service": {"namespace": namespace, "name": "metrics", "port": server.port},
        },
    }


def follower(namespace):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    metric = {"metric": {"name": METRIC, "selector": {"matchLabels": {"service": "web"}}},
              "target": {"type": "AverageValue", "averageValue": "1"}}  # fmt: skip
    # by default a scale-up takes 15 s for four pods or as many as there are
    rate = {"type": "Pods", "value": 20, "periodSeconds": 15}
    at_once = {"stabilizationWindowSeconds": 0, "tolerance": "0", "policies": [rate]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": 1,
            "maxReplicas": 20,
            "metrics": [{"type": "External", "external": metric}],
            "behavior": {"scaleUp": at_once, "scaleDown": at_once},
        },
    }


@pytest.mark.timeout(180)
def test_an_autoscaler_follows_a_metric_of_an_aggregated_api(cluster, namespace, tmp_path):
    if getattr(cluster, "given", False):
        pytest.skip("a given cluster's API server can't reach this machine's loopback")

    async def body(api):
        known = await api.get("ConfigMap", "extension-apiserver-authentication", "kube-system")
        authority = known["data"]["requestheader-client-ca-file"]
        with metrics_server(tmp_path, namespace, authority) as server:
            spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": server.port}]}
            meta = {"name": "metrics", "namespace": namespace}
            await api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
            await api.create(api_service(namespace, server))
            try:
                await follows(api, namespace, server)
            finally:
                await api.delete("APIService", f"v1beta1.{GROUP}", api_version="apiregistration.k8s.io/v1")

    run(cluster, namespace, body)


async def follows(api, namespace, server):
    service = {"api_version": "apiregistration.k8s.io/v1"}
    await api.until("APIService", f"v1beta1.{GROUP}", test=available, **service)
    path = f"/apis/{GROUP}/v1beta1/namespaces/{namespace}/{METRIC}"
    assert (await api.request("GET", path))["items"][0]["value"] == "1"
    with pytest.raises(ApiError) as refused:
        await api.request("GET", path + "x")
    assert refused.value.code == 404
    assert "admin" in server.users
    await api.create(deployment(namespace, replicas=1))
    await api.create(follower(namespace))
    for wanted in (4, 11, 12, 3):  # 11 -> 12 is within the default tolerance
        server.wanted = wanted
        await api.until("Deployment", "web", namespace, within_s=60,
                        test=lambda found, wanted=wanted: found["spec"]["replicas"] == wanted)  # fmt: skip
    assert "system:serviceaccount:kube-system:horizontal-pod-autoscaler" in server.users
    # whoever writes 0 suspends it, 1 wakes it
    await api.scale("Deployment", "web", namespace, 0)
    found = await api.until("HorizontalPodAutoscaler", "web", namespace, within_s=60,
                            test=lambda found: active(found)["status"] == "False")  # fmt: skip
    assert active(found)["reason"] == "ScalingDisabled"
    assert (await api.get("Deployment", "web", namespace))["spec"]["replicas"] == 0
    await api.scale("Deployment", "web", namespace, 1)
    await api.until("Deployment", "web", namespace, test=lambda found: found["spec"]["replicas"] == 3, within_s=60)


def available(found):
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Available" and one["status"] == "True" for one in conditions)


def active(found):
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "ScalingActive"), {"status": "Unknown"})
