"""What the API server in memory must not do, and a real one doesn't."""

import asyncio

from tests.kube import FakeCluster


def test_a_request_that_breaks_off_asks_for_nothing():
    """Who is killed while it sends leaves no object without a content."""
    scope = {
        "type": "http",
        "method": "PATCH",
        "raw_path": b"/api/v1/namespaces/default/configmaps/half",
        "query_string": b"fieldManager=test&force=true",
        "headers": [(b"authorization", b"Bearer admin"), (b"content-type", b"application/apply-patch+yaml")],
    }
    coming = [
        {"type": "http.request", "body": b'{"apiVersion": "v1"', "more_body": True},
        {"type": "http.disconnect"},
    ]
    answers = []

    async def receive():
        return coming.pop(0)

    async def send(message):
        answers.append(message)

    with FakeCluster() as cluster:
        asyncio.run(cluster.server.app(scope, receive, send))
        assert cluster.get("ConfigMap", "half", "default") is None
    assert answers == []
