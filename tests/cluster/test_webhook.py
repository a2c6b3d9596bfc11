"""Validating webhooks, on both API servers: what is asked, how a no reads, what happens while nobody answers."""

import asyncio
import base64
import contextlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.cluster.contract import config_map, refused, run
from tests.kube.authority import Authority
from tests.kube.errors import ApiError


@contextlib.contextmanager
def webhook(folder):
    """(URL, CA bundle, reviews asked so far): refuses whatever has data `bad`."""
    authority = Authority(folder, "webhook-ca")
    cert, key = authority.sign("webhook", dns=("localhost",), ips=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(review["request"])
            response = {"uid": review["request"]["uid"], "allowed": True}
            if "bad" in ((review["request"]["object"] or {}).get("data") or {}):
                response |= {"allowed": False, "status": {"message": "data.bad: not allowed", "code": 422}}
            raw = json.dumps({**review, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        bundle = base64.b64encode(authority.cert.read_bytes()).decode()
        yield f"https://127.0.0.1:{http.server_address[1]}/validate", bundle, asked
    finally:
        http.shutdown()
        http.server_close()


def configuration(namespace, url, bundle, policy="Ignore"):
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"{namespace}.plimsoll.dev"},
        "webhooks": [
            {
                "name": "maps.plimsoll.dev",
                "clientConfig": {"url": url, "caBundle": bundle},
                "rules": [rule],
                "failurePolicy": policy,
                "sideEffects": "None",
                "timeoutSeconds": 2,
                "admissionReviewVersions": ["v1"],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            }
        ],
    }


async def asks(api, namespace):
    """Until the webhook is asked: a real server hears of it by a watch of its own."""
    async with asyncio.timeout(20):
        while True:
            try:
                await api.create(config_map(namespace, "probe", bad="1"))
            except ApiError:
                return
            await api.delete("ConfigMap", "probe", namespace)
            await asyncio.sleep(0.05)


def test_a_webhook_is_asked_and_heard(cluster, namespace, tmp_path):
    if getattr(cluster, "given", False):
        pytest.skip("a given cluster's API server can't reach this machine's loopback")

    async def body(api):
        with webhook(tmp_path) as (url, bundle, asked):
            made = await api.create(configuration(namespace, url, bundle))
            try:
                await asks(api, namespace)
                code, _, message = await refused(api.create(config_map(namespace, bad="1")))
                assert code == 422
                assert message == 'admission webhook "maps.plimsoll.dev" denied the request: data.bad: not allowed'
                assert (asked[-1]["operation"], asked[-1]["name"], asked[-1]["oldObject"]) == ("CREATE", "a", None)
                assert asked[-1]["userInfo"]["username"] == "admin"
                await api.create(config_map(namespace, good="1"))
                assert (await refused(api.apply(config_map(namespace, bad="2"))))[0] == 422
                assert (asked[-1]["operation"], asked[-1]["oldObject"]["data"]) == ("UPDATE", {"good": "1"})
                await api.apply(config_map(namespace, other="2"), dryRun="All")
                assert asked[-1]["dryRun"]
                count = len(asked)
                await api.create(
                    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": namespace}}
                )
                await api.delete("ConfigMap", "a", namespace)
                assert len(asked) == count
            except BaseException:
                await api.delete(made["kind"], made["metadata"]["name"], api_version=made["apiVersion"])
                raise
        # nobody answers any more, and `Ignore` lets everything through
        await api.create(config_map(namespace, bad="1"))
        await api.delete(made["kind"], made["metadata"]["name"], api_version=made["apiVersion"])

    run(cluster, namespace, body)
