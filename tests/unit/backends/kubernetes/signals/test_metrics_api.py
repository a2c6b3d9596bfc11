"""The two metrics APIs over TLS, as the API server's aggregator asks: certificate, headers, permission, answers."""

import asyncio
import json
import ssl
from datetime import UTC, datetime

import httpx2
import pytest
import uvicorn
from tests.support.certificates import Authority

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.signals.access import Caller, FrontProxy, Permissions, caller_of, front_proxy
from plimsoll.backends.kubernetes.signals.api import MetricsApi
from plimsoll.backends.kubernetes.signals.book import SignalBook
from plimsoll.backends.kubernetes.signals.peer import PeerProtocol
from plimsoll.ports.signals import PodSignal, ServiceSignal

HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
HEADERS = [
    ("x-remote-user", HPA),
    ("x-remote-group", "system:serviceaccounts"),
    ("x-remote-group", "system:authenticated"),
]
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
CONFIG = {
    "data": {
        "requestheader-client-ca-file": "PEM",
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("proxy"), "front-proxy-ca")


class Stage:
    """The app served over TLS, and an API server that says who may."""

    def __init__(self, authority, **more):
        self.authority, self.now, self.allow, self.reviews = authority, 100.0, True, []
        self.proxy = front_proxy(CONFIG)
        labels = {"plimsoll.dev/service": "mood"}
        self.book = SignalBook(pod_labels=lambda namespace, pod: labels)
        pods = [PodSignal(f"mood-1-{name}", {"requests_per_second": 60.5}, 100.0) for name in "ab"]
        self.signal = ServiceSignal(
            "shop", "mood", 7, 100.0, current=4, values={"requests_per_second": 121.0}, values_at=100.0, pods=pods
        )
        self.book.publish([self.signal])
        api = Api(httpx2.AsyncClient(transport=httpx2.MockTransport(self._review), base_url="http://api"))
        self.metrics = MetricsApi(
            self.book, Permissions(api), proxy=lambda: self.proxy, clock=lambda: self.now,
            wall=lambda: datetime(2026, 3, 1, 12, 0, 9, tzinfo=UTC),
        )  # fmt: skip

    def _review(self, request):
        self.reviews.append(json.loads(request.content)["spec"])
        return httpx2.Response(500, json={}) if self.allow is None else httpx2.Response(
            201, json={"status": {"allowed": self.allow}}
        )  # fmt: skip

    async def __aenter__(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, self.authority.server("apis")))
        context.load_verify_locations(str(self.authority.cert))
        context.verify_mode = ssl.CERT_OPTIONAL
        config = uvicorn.Config(
            self.metrics.app(), host="127.0.0.1", port=0, http=PeerProtocol, lifespan="off", log_config=None,
            ssl_context_factory=lambda *_: context,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        config.load()
        self.server.lifespan = config.lifespan_class(config)
        await self.server.startup()
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.should_exit = True
        await self.server.shutdown()

    async def get(self, path, params=None, *, pair="front-proxy-client", headers=HEADERS):
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        if pair:
            context.load_cert_chain(*map(str, self.authority.client(pair)))
        async with httpx2.AsyncClient(verify=context) as client:
            return await client.get(f"https://localhost:{self.port}{path}", params=params, headers=headers)


def run(authority, test):
    async def main():
        async with Stage(authority) as stage, asyncio.timeout(30):
            await test(stage)

    asyncio.run(main())


def test_discovery_names_every_metric(authority):
    async def test(stage):
        found = (await stage.get(EXTERNAL)).json()
        assert (found["kind"], found["groupVersion"]) == ("APIResourceList", "external.metrics.k8s.io/v1beta1")
        assert found["resources"][0] == {
            "name": "plimsoll_desired_replicas", "singularName": "", "namespaced": True,
            "kind": "ExternalMetricValueList", "verbs": ["get"],
        }  # fmt: skip
        found = (await stage.get(CUSTOM)).json()
        assert "pods/requests_per_second" in [one["name"] for one in found["resources"]]
        assert (await stage.get("/apis")).json()["kind"] == "APIGroupList"
        group = (await stage.get("/apis/custom.metrics.k8s.io")).json()
        assert group["preferredVersion"]["groupVersion"] == "custom.metrics.k8s.io/v1beta2"
        assert stage.reviews == [], "what there is may be known to whoever the API server let through"

    run(authority, test)


def test_a_count_and_figures_of_services(authority):
    async def test(stage):
        path = f"{EXTERNAL}/namespaces/shop/plimsoll_desired_replicas"
        stage.now = 102.0
        answer = await stage.get(path, {"labelSelector": "service=mood"})
        assert answer.status_code == 200
        assert answer.json() == {
            "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
            "items": [
                {
                    "metricName": "plimsoll_desired_replicas", "metricLabels": {"service": "mood"},
                    "timestamp": "2026-03-01T12:00:07Z", "value": "7",
                }
            ],
        }  # fmt: skip
        assert (await stage.get(path, {"labelSelector": "service=nobody"})).json()["items"] == []
        (item,) = (await stage.get(f"{EXTERNAL}/namespaces/shop/requests_per_second")).json()["items"]
        assert item["value"] == "121"

    run(authority, test)


def test_figures_of_pods(authority):
    async def test(stage):
        path = f"{CUSTOM}/namespaces/shop/pods/*/requests_per_second"
        answer = (await stage.get(path, {"labelSelector": "plimsoll.dev/service=mood"})).json()
        assert (answer["kind"], answer["apiVersion"]) == ("MetricValueList", "custom.metrics.k8s.io/v1beta2")
        assert answer["items"][0] == {
            "describedObject": {"kind": "Pod", "namespace": "shop", "name": "mood-1-a", "apiVersion": "/v1"},
            "metric": {"name": "requests_per_second", "selector": None},
            "timestamp": "2026-03-01T12:00:09Z", "value": "60500m",
        }  # fmt: skip
        one = (await stage.get(f"{CUSTOM}/namespaces/shop/pods/mood-1-b/requests_per_second")).json()
        assert [item["describedObject"]["name"] for item in one["items"]] == ["mood-1-b"]
        assert stage.reviews[0]["resourceAttributes"] == {
            "verb": "get", "group": "custom.metrics.k8s.io", "version": "v1beta2", "namespace": "shop",
            "resource": "pods", "subresource": "requests_per_second", "name": "*",
        }  # fmt: skip

    run(authority, test)


@pytest.mark.parametrize(
    ("path", "code", "reason", "said"),
    [
        (f"{EXTERNAL}/namespaces/shop/cpu", 404, "NotFound", "there is no metric cpu"),
        (f"{EXTERNAL}/namespaces/shop/queue_length?labelSelector=a+in+b", 400, "BadRequest", "no label selector"),
        (f"{CUSTOM}/namespaces/shop/pods/nobody/requests_per_second", 404, "NotFound", "pod shop/nobody"),
        (f"{CUSTOM}/namespaces/shop/services/x/requests_per_second", 404, "NotFound", "nothing is served here"),
        ("/openapi/v2", 404, "NotFound", "nothing is served here"),
    ],
)
def test_refusals_are_statuses_in_words(authority, path, code, reason, said):
    async def test(stage):
        answer = await stage.get(path)
        status = answer.json()
        assert (answer.status_code, status["kind"], status["reason"], status["code"]) == (code, "Status", reason, code)
        assert said in status["message"]

    run(authority, test)


def test_an_old_count_is_an_error_that_an_autoscaler_understands(authority):
    async def test(stage):
        stage.now = 130.0
        answer = await stage.get(f"{EXTERNAL}/namespaces/shop/plimsoll_desired_replicas")
        assert answer.status_code == 503
        assert answer.json()["message"] == "the count of shop/mood is 30 s old: this controller stands still"

    run(authority, test)


def test_nobody_but_the_front_proxy_is_believed(authority):
    async def test(stage):
        path = f"{EXTERNAL}/namespaces/shop/plimsoll_desired_replicas"
        for more in ({"pair": None}, {"pair": "somebody"}, {"headers": []}):
            answer = await stage.get(path, **more)
            assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized"), more
        stage.proxy = None
        assert (await stage.get(path)).status_code == 503
        assert stage.reviews == []

    run(authority, test)


def test_a_certificate_of_another_authority_gets_no_connection(authority, tmp_path):
    other = Authority(tmp_path, "other")

    async def test(stage):
        context = ssl.create_default_context(cafile=str(authority.cert))
        context.load_cert_chain(*map(str, other.client("front-proxy-client")))
        async with httpx2.AsyncClient(verify=context) as client:
            with pytest.raises(httpx2.HTTPError):
                await client.get(f"https://localhost:{stage.port}{EXTERNAL}", headers=HEADERS)

    run(authority, test)


def test_who_may_not_is_told_so_and_the_word_is_kept_for_seconds(authority):
    async def test(stage):
        path = f"{EXTERNAL}/namespaces/shop/plimsoll_desired_replicas"
        stage.allow = False
        answer = await stage.get(path)
        assert answer.status_code == 403
        assert answer.json()["message"] == (
            f'{HPA} may not get plimsoll_desired_replicas.external.metrics.k8s.io in namespace "shop"'
        )
        stage.allow = True
        assert (await stage.get(path)).status_code == 403
        stage.now += 10.5
        assert (await stage.get(path)).status_code == 200
        assert len(stage.reviews) == 2
        assert stage.reviews[0]["user"] == HPA
        assert stage.reviews[0]["groups"] == ["system:serviceaccounts", "system:authenticated"]

    run(authority, test)


def test_an_api_server_that_can_not_be_asked_is_no_yes(authority):
    async def test(stage):
        stage.allow = None
        answer = await stage.get(f"{EXTERNAL}/namespaces/shop/plimsoll_desired_replicas")
        assert answer.status_code == 503

    run(authority, test)


# Pure parts.


def test_the_front_proxys_config():
    proxy = front_proxy(CONFIG)
    assert proxy == FrontProxy("PEM", frozenset({"front-proxy-client"}))
    with pytest.raises(ValueError, match="has no requestheader-client-ca-file"):
        front_proxy({"data": {}})


def test_callers():
    proxy = FrontProxy("PEM", frozenset({"front-proxy-client"}))
    peer = {"subject": ((("commonName", "front-proxy-client"),),)}
    headers = [
        ("x-remote-user", "ann"),
        ("x-remote-group", "g"),
        ("x-remote-extra-scopes%2fa", "1"),
        ("x-remote-uid", "u"),
    ]
    assert caller_of(proxy, peer, headers) == Caller("ann", ("g",), {"scopes/a": ("1",)}, "u")
    assert caller_of(FrontProxy("PEM"), {"subject": ()}, headers) is not None, "any name where none is said"
    assert caller_of(proxy, None, headers) is None
    assert caller_of(proxy, peer, [("x-remote-group", "g")]) is None
