"""Which service gets a request, by path and by host; the pages of the gateway's own."""

import json
import re

import pytest
from tests.support.gateway_host import GatewayHost, view

from plimsoll.core.snapshot import Route, ServiceView, Snapshot
from plimsoll.gateway.table import RoutingTable


def find(table, path, host=None):
    found = table.find(path, [] if host is None else [(b"accept", b"*/*"), (b"host", host)])
    return found and found.name


def table(*services):
    return RoutingTable(Snapshot(1, services))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v2/models/mood", "mood"),
        ("/v2/models/mood/infer", "mood"),
        ("/v2/models/mood/versions/mood-1111111/infer", "mood"),
        ("/v2/models/mood/", "mood"),
        ("/v1/models/mood", "mood"),
        ("/v1/models/mood:predict", "mood"),
        ("/v2/models/moods/infer", None),
        ("/v2/models/mood%2Finfer", None),
        ("/v2/models/", None),
        ("/v2/models", None),
        ("/v1/models/mood/infer", None),
        ("/V2/models/mood", None),
        ("/analyze", "mood"),
        ("/analyze/", None),
        ("/analyze/x", None),
        ("/caf%C3%A9", "mood"),
        ("/caf%c3%a9", None),
        ("/", None),
    ],
)
def test_by_path(path, name):
    mood = ServiceView("mood", "r", (Route("/analyze"), Route("/caf%C3%A9")))
    assert find(table(mood, ServiceView("other", "r")), path) == name


def test_by_host():
    one = ServiceView("one", "r", (Route("/ask", "One.example"), Route("/ask", "[::1]")))
    two = ServiceView("two", "r", (Route("/ask", "two.example"),))
    rest = ServiceView("rest", "r", (Route("/ask"),))
    routes = table(one, two, rest)
    assert find(routes, "/ask", b"one.example") == "one"
    assert find(routes, "/ask", b"ONE.EXAMPLE:8080") == "one"
    assert find(routes, "/ask", b"[::1]:80") == "one"
    assert find(routes, "/ask", b"[::1]") == "one"
    assert find(routes, "/ask", b"two.example") == "two"
    assert find(routes, "/ask", b"three.example") == "rest"
    assert find(routes, "/ask") == "rest"
    assert find(routes, "/v2/models/two/infer", b"one.example") == "two"
    assert not routes.clashes


def test_the_first_keeps_a_route_that_two_claim():
    routes = table(ServiceView("a", "r", (Route("/x"),)), ServiceView("b", "r", (Route("/x"),)))
    assert find(routes, "/x") == "a"
    assert len(routes.clashes) == 1


def test_whole_requests_reach_the_service_that_they_name(play):
    async def main():
        async with GatewayHost(tcp=True) as host:
            mood, digits = await host.replica("m"), await host.replica("d")
            host.serve(view("mood", mood, routes=["/analyze"]), view("digits", digits, routes=[("/d", "d.example")]))
            assert (await host.post("/v2/models/mood/infer?x=1&y=%20z", b"body")).body == b"body"
            assert (mood.requests[-1].method, mood.requests[-1].path) == ("POST", "/v2/models/mood/infer")
            assert mood.requests[-1].query == "x=1&y=%20z"
            assert mood.requests[-1].body == b"body"
            assert (await host.post("/analyze", b"a")).status == 200
            assert (await host.ask("GET", "/v2/models/mood/versions/mood-1111111")).status == 200
            assert mood.requests[-1].method == "GET"
            assert (await host.post("/v1/models/digits:predict")).status == 200
            assert (await host.post("/d", b"x", [("Host", "d.example:80")])).status == 200
            assert len(digits.requests) == 2
            assert digits.header("host") == b"d.example:80"
            missing = await host.post("/d")
            assert (missing.status, missing.outcome) == (404, "not_found")
            assert json.loads(missing.body)["error"] == "no service answers /d"
            assert host.counted(service="") == {"not_found": 1}

    play(main())


def test_head_has_no_body_and_the_length_that_get_would_have(play):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a")
            host.serve(view("mood", replica))
            got = await host.ask("GET", "/v2/models/mood")
            head = await host.ask("HEAD", "/v2/models/mood")
            assert replica.requests[-1].method == "HEAD"
            assert head.status == 200
            assert head["content-length"] == got["content-length"] == str(len(got.body))
            client = await host.client()
            for method in ("HEAD", "GET", "HEAD"):  # the framing of one connection survives it
                assert (await client.ask(method, "/v2/models/mood")).status == 200
                host.seen["ok"] += 1
            client.close()

    play(main())


def test_the_gateways_own_pages(play):
    async def main():
        async with GatewayHost() as host:
            assert json.loads((await host.ask("GET", "/v2", page=True)).body)["name"] == "plimsoll"
            assert (await host.ask("GET", "/v2/health/live", page=True)).status == 200
            unready = await host.ask("GET", "/v2/health/ready", page=True)
            assert (unready.status, json.loads(unready.body)) == (503, {"ready": False})
            host.serve()
            ready = await host.ask("GET", "/v2/health/ready", b"", [("x-request-id", "mine")], page=True)
            assert (ready.status, ready["x-request-id"], ready.outcome) == (200, "mine", "ok")
            assert json.loads(ready.body) == {"ready": True}
            assert (await host.ask("HEAD", "/v2/health/ready", page=True)).status == 200
            refused = await host.post("/v2/health/ready")
            assert (refused.status, refused["allow"], refused.outcome) == (405, "GET, HEAD", "invalid")
            metrics = await host.ask("GET", "/metrics", page=True)
            assert metrics["content-type"].startswith("text/plain")
            assert b"plimsoll_requests_total" in metrics.body
            newer = await host.ask("GET", "/metrics", b"", [("accept", "application/openmetrics-text")], page=True)
            assert newer["content-type"].startswith("application/openmetrics-text")

    play(main())


def test_no_metrics_at_the_door_unless_it_is_local(play):
    async def main():
        async with GatewayHost(metrics_on_door=False, metrics=None) as host:
            assert (await host.ask("GET", "/metrics")).status == 404

    play(main())


def test_metrics_on_a_socket_of_their_own(play):
    async def main():
        async with GatewayHost(start=False) as host:
            host.gateway._settings = host.gateway._settings.__class__(
                **(host._settings | {"metrics": f"unix:{host.folder}/m.sock"})
            )
            host.addresses = await host.gateway.start()
            host.address = f"unix:{host.folder}/m.sock"
            got = await host.ask("GET", "/metrics", page=True)
            assert re.search(rb"^plimsoll_snapshot_version 0.0$", got.body, re.MULTILINE)
            client = await host.client()
            assert (await client.ask("GET", "/v2")).status == 404
            client.close()

    play(main())


def test_bodies_of_every_kind_pass_unchanged(play):
    async def main():
        async with GatewayHost(tcp=True) as host:
            replica = await host.replica("a")
            host.serve(view("mood", replica))
            large = bytes(range(256)) * 4096 * 3  # 3 MB, no text
            client = await host.client()
            for body in (b"", b"{}", large, b"\r\n\r\n"):
                got = await client.ask("POST", host.PATH, body)
                assert got.body == (body or b'{"from":"a"}')
                assert replica.header("content-length") == b"%d" % len(body)
            client.writer.write(
                b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntrailer: plimsoll-tenant\r\n\r\n"
                b"3\r\nabc\r\n2\r\nde\r\n0\r\nplimsoll-tenant: root\r\n\r\n" % host.PATH.encode()
            )
            assert (await client.receive()).body == b"abcde"
            assert replica.header("content-length") == b"5"
            assert replica.header("transfer-encoding") is None
            assert replica.header("plimsoll-tenant") is None
            got = await client.ask("POST", host.PATH, b"old", version="1.0")
            assert (got.body, got.status) == (b"old", 200)
            host.seen["ok"] += 6
            assert await client.ended()
            client.close()

    play(main())
