"""What passes the door in a head, both ways, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_host import GatewayHost, answer, raw, view

from plimsoll.gateway import heads
from plimsoll.gateway.heads import read_answer, request_lines

HOP = [
    ("Connection", "x-private, Keep-Alive"),
    ("X-Private", "1"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authorization", "Basic eA=="),
    ("TE", "trailers"),
    ("Trailer", "x-t"),
    ("Plimsoll-Tenant", "root"),
    ("Plimsoll-Alone", "1"),
    ("Plimsoll-Priority", "9"),
    ("Plimsoll-Outcome", "ok"),
    ("Plimsoll-Anything", "x"),
]
KEPT = [
    ("accept", "*/*"),
    ("content-type", "application/json"),
    ("x-twice", "1"),
    ("x-twice", "2"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("authorization", "Bearer t"),
    ("cookie", "a=b"),
]


def test_a_requests_head_is_rebuilt(play):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a")
            host.serve(view("mood", replica))
            for _ in range(2):  # the second time from memory
                await host.post(body=b"{}", headers=[*HOP, *KEPT, ("x-request-id", "mine-1")])
                names = [name.decode() for name, _ in replica.requests[-1].headers]
                assert sorted(names) == sorted(
                    ["host", "content-length", "x-request-id", "plimsoll-deadline-ms", *(name for name, _ in KEPT)]
                )
                for name, value in KEPT:
                    assert (name.encode(), value.encode()) in replica.requests[-1].headers
                assert replica.header("x-request-id") == b"mine-1"
                assert replica.header("host") == b"test"

    play(main())


@pytest.mark.parametrize("sent", [None, "", "two words", "x" * 129, 'quo"te'])
def test_a_request_id_is_made_where_none_can_be_used(play, sent):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a")
            host.serve(view("mood", replica))
            got = await host.post(headers=[("x-request-id", sent)] if sent is not None else [])
            assert len(got["x-request-id"]) == 16
            assert replica.header("x-request-id").decode() == got["x-request-id"]

    play(main())


def test_an_answers_head_is_rebuilt(play):
    async def main():
        foreign = (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, x-private\r\nx-private: 1\r\n"
            b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: other\r\nendpoint-load-metrics: JSON {}\r\n"
            b"server-timing: db;dur=5\r\nserver-timing: cpu;dur=7\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"
            b"x-request-id: theirs\r\nplimsoll-revision: theirs\r\nkeep-alive: timeout=5\r\ntrailer: x\r\n\r\nok"
        )
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a", raw(foreign))))
            for _ in range(2):
                got = await host.post(headers=[("x-request-id", "mine")])
                assert got.body == b"ok"
                assert got["server"] == "other"
                assert [value for name, value in got.headers if name == "set-cookie"] == ["a=1", "b=2"]
                assert got["x-request-id"] == "mine"
                assert got["plimsoll-revision"] == "mood-1111111"
                assert got.outcome == "ok"
                assert got.timing.keys() == {"gateway", "db", "cpu"}
                left = {"x-private", "date", "endpoint-load-metrics", "keep-alive", "trailer", "connection"}
                assert not left & {name for name, _ in got.headers}

    play(main())


def test_server_timing_says_where_the_time_went(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a")))
            got = await host.post()
            assert list(got.timing) == ["gateway", "queue", "compute"]
            assert got.timing["queue"] == 0.0015
            assert got.timing["compute"] == 0.0025
            assert 0 < got.timing["gateway"] < 1

    play(main())


def test_every_answer_says_outcome_id_and_timing(play):
    async def main():
        async with GatewayHost(tcp=True) as host:
            replica = await host.replica("a")
            host.serve(view("mood", replica), view("empty", failed="it broke"))
            replica.scripts = [answer(400, "invalid"), answer(500, "model_error"), raw(b"junk\r\n\r\n")] + [
                raw(b"junk\r\n\r\n")
            ] * 3
            answers = [
                await host.post(),
                await host.post(),
                await host.post(),
                await host.post("/nowhere"),
                await host.post("/v2/models/empty/infer"),
                await host.post(headers=[("plimsoll-deadline-ms", "soon")]),
                await host.post(headers=[("plimsoll-deadline-ms", "0")]),
                await host.ask("GET", "/x", headers=[("content-length", "1"), ("content-length", "2")]),  # refused by
                await host.ask("GET", "/x", headers=[("x", "y" * 40_000)]),  # the connection
                await host.ask("GET", "/x", headers=[("host", "a"), ("host", "b")]),
                await host.post(headers=[("transfer-encoding", "gzip")]),
            ]
            for got in answers:
                assert got["x-request-id"]
                assert got.outcome
                assert "gateway" in got.timing
            assert [(got.status, got.outcome) for got in answers] == [
                (400, "invalid"),
                (500, "model_error"),
                (503, "replica_lost"),
                (404, "not_found"),
                (503, "no_replica"),
                (400, "invalid"),
                (504, "expired"),
                (400, "invalid"),
                (431, "invalid"),
                (400, "invalid"),
                (400, "invalid"),
            ]
            for got in answers[:3] + answers[4:7]:
                assert got["plimsoll-revision"] == "mood-1111111"

    play(main())


@pytest.mark.parametrize("status", [301, 401, 404, 429, 500, 503, 504, 200])
def test_a_server_that_knows_no_outcomes_gets_one(play, status):
    outcomes = {301: "ok", 200: "ok", 401: "unauthorized", 404: "not_found", 429: "throttled", 500: "model_error"}
    outcomes |= {503: "shed", 504: "expired"}

    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a", lambda _, exchange: exchange.respond(status, b"", b""))))
            got = await host.post()
            assert (got.status, got.outcome) == (status, outcomes[status])

    play(main())


def test_the_time_that_is_left_travels(play):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a")
            host.serve(view("mood", replica, timeout_s=2.0))

            async def left(*headers):
                await host.post(headers=headers)
                assert (
                    not {b"grpc-timeout", b"x-envoy-upstream-rq-timeout-ms"} & dict(replica.requests[-1].headers).keys()
                )
                values = [value for name, value in replica.requests[-1].headers if name == b"plimsoll-deadline-ms"]
                (value,) = values
                return float(value)

            assert 1000 < await left() < 2000
            assert 100 < await left(("Plimsoll-Deadline-Ms", "900")) < 900
            assert 1000 < await left(("plimsoll-deadline-ms", "60000")) < 2000  # the service's timeout bounds it
            assert 100 < await left(("grpc-timeout", "900m")) < 900
            assert 100 < await left(("x-envoy-upstream-rq-timeout-ms", "900")) < 900
            # Ours is read first, wherever it stands.
            assert 100 < await left(("grpc-timeout", "1S"), ("plimsoll-deadline-ms", "900")) < 900
            assert 100 < await left(("plimsoll-deadline-ms", "900"), ("grpc-timeout", "1S")) < 900

    play(main())


def test_a_deadline_that_has_passed_reaches_nobody(play):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a")
            host.serve(view("mood", replica))
            got = await host.post(headers=[("plimsoll-deadline-ms", "0.0")])
            assert (got.status, got.outcome) == (504, "expired")
            assert not replica.requests
            assert host.counted(service="mood") == {"expired": 1}

    play(main())


names = st.sampled_from(
    [
        b"accept",
        b"connection",
        b"te",
        b"x-a",
        b"x-b",
        b"plimsoll-tenant",
        b"host",
        b"content-length",
        b"date",
        b"cookie",
    ]
)
values = st.sampled_from([b"x-a", b"close", b"Keep-Alive", b"x-b, x-a", b"1", b"", b"y" * 300])


@given(st.lists(st.lists(st.tuples(names, values), max_size=6), max_size=10))
def test_remembered_lines_are_those_that_would_be_built(batches):
    def plain(headers, dropped, prefix):
        named = set()
        for name, value in headers:
            if name == b"connection":
                named |= {token.strip() for token in value.lower().split(b",")} - {b"close", b"keep-alive"}
        return b"".join(
            b"%b: %b\r\n" % (name, value)
            for name, value in headers
            if name not in dropped and name not in named and not (prefix and name.startswith(prefix))
        )

    for headers in batches:
        assert request_lines(headers) == plain(headers, heads._NOT_FORWARDED, b"plimsoll-")
        assert read_answer(headers)[0] == plain(headers, heads._NOT_ANSWERED, None)


def test_the_memory_of_lines_is_bounded():
    for n in range(3 * heads._REMEMBERED):
        request_lines([(b"x-n", b"%d" % n), (b"accept", b"*/*"), (b"plimsoll-deadline-ms", b"%d" % n)])
        assert len(heads._requests) <= heads._REMEMBERED
    request_lines([(b"x-long", b"z" * 1000)])
    assert (b"x-long", b"z" * 1000) not in heads._requests
