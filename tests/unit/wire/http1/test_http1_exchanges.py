"""Requests in, answers out: bodies, order, keep-alive, HEAD, Expect, Upgrade, and who may see what."""

import asyncio

import pytest

from plimsoll.wire.http1 import HttpServer

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def test_one_request_one_write(kit):
    host = kit.Host(kit.Application(lambda exchange: (200, b"content-type: text/plain\r\n", b"hello")))
    transport = host.accept()
    transport.feed(b"GET /x?y=1 HTTP/1.1\r\nHost: a\r\nX-Two: 2\r\nx-two: 3\r\n\r\n")
    assert transport.writes == [b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"]
    [exchange] = host.application.exchanges
    assert (exchange.method, exchange.path, exchange.query, exchange.version) == ("GET", "/x", "y=1", "1.1")
    assert exchange.headers == [(b"host", b"a"), (b"x-two", b"2"), (b"x-two", b"3")]
    assert exchange.header(b"x-two") == b"2"
    assert exchange.header(b"x-none") is None
    assert exchange.body == b""
    assert exchange.answered
    assert exchange.context is None
    assert not transport.closing


def test_arrived_is_the_read_that_completed_the_head(kit):
    host = kit.Host()
    transport = host.accept()
    host.clock.now = 200.0
    transport.feed(POST + b"Content-Le")
    host.clock.now = 201.0
    transport.feed(b"ngth: 4\r\n\r\nab")
    host.clock.now = 202.0
    transport.feed(b"cd")
    assert [exchange.arrived for exchange in host.application.exchanges] == [201.0]


def test_a_body_of_one_piece_is_not_copied_and_one_of_many_is_whole(kit):
    host = kit.Host()
    transport = host.accept()
    body = bytes(range(256)) * 400
    for size in (len(body), 50_000, 1500, 7):
        transport.feed(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        transport.feed(*(body[i : i + size] for i in range(0, len(body), size)))
    assert [exchange.body == body for exchange in host.application.exchanges] == [True] * 4
    assert all(type(exchange.body) is bytes for exchange in host.application.exchanges)


def test_chunks_extensions_and_trailers(kit):
    host = kit.Host()
    transport = host.accept()
    transport.feed(
        POST + b"Transfer-Encoding: chunked\r\nTrailer: plimsoll-tenant\r\n\r\n"
        b'3;a=b;c="d"\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nplimsoll-tenant: gold\r\nx: y\r\n\r\n',
        GET % 2,
    )
    first, second = host.application.exchanges
    assert first.body == b"abc0123456789abcdef"
    assert [name for name, _ in first.headers] == [b"host", b"transfer-encoding", b"trailer"]
    assert second.headers == [(b"host", b"a")]


def test_pipelined_answers_leave_in_one_write(kit):
    host = kit.Host(kit.Application(lambda exchange: (200, b"", exchange.path.encode())))
    transport = host.accept()
    transport.feed(b"".join(GET % number for number in range(10)))
    assert len(transport.writes) == 1
    assert [body for _, _, body in kit.split_answers(transport.sent)] == [b"/%d" % n for n in range(10)]


def test_answers_keep_the_order_of_the_requests(kit):
    host = kit.Host(kit.Application(hold=True))
    transport = host.accept()
    transport.feed(b"".join(GET % number for number in range(4)))
    zero, one, two, three = host.application.exchanges
    two.respond(200, b"", b"two")
    one.respond(200, b"", b"one")
    assert transport.writes == []
    zero.respond(200, b"", b"zero")
    assert len(transport.writes) == 1
    three.respond(200, b"", b"three")
    assert [body for _, _, body in kit.split_answers(transport.sent)] == [b"zero", b"one", b"two", b"three"]


def test_reading_pauses_at_the_pipelines_depth(kit):
    host = kit.Host(kit.Application(hold=True), pipeline_depth=4)
    transport = host.accept()
    transport.feed(b"".join(GET % number for number in range(3)))
    assert transport.reading
    transport.feed(b"".join(GET % number for number in range(3, 9)))
    assert not transport.reading
    exchanges = host.application.exchanges
    assert len(exchanges) == 4  # the application never sees more than the depth
    for number in range(9):
        exchanges[number].respond(200, b"", b"%d" % number)
        assert transport.reading == (number >= 6)  # half of the depth is left
    assert [body for _, _, body in kit.split_answers(transport.sent)] == [b"%d" % n for n in range(9)]
    transport.feed(GET % 9)
    assert len(exchanges) == 10


def test_thousands_of_pipelined_requests_do_not_recurse(kit):
    application = kit.Application(hold=True)
    host = kit.Host(application)
    transport = host.accept()
    transport.feed(b"".join(GET % number for number in range(5000)))
    application.hold = False  # the rest is answered from within on_request
    for exchange in list(application.exchanges):
        exchange.respond(200, b"", b"")
    assert len(kit.split_answers(transport.sent)) == 5000


def test_answering_twice_is_an_error(kit):
    host = kit.Host()
    host.accept().feed(GET % 1)
    [exchange] = host.application.exchanges
    with pytest.raises(RuntimeError, match="answered already"):
        exchange.respond(200, b"", b"")


@pytest.mark.parametrize(("size", "writes"), [(0, 1), (100, 1), (200_000, 1)])
def test_head_tells_the_length_without_the_body(kit, size, writes):
    host = kit.Host(kit.Application(lambda exchange: (200, b"", b"x" * size)))
    transport = host.accept()
    transport.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert transport.sent == b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size
    transport.feed(GET % 1)
    assert transport.sent.endswith(b"content-length: %d\r\n\r\n" % size + b"x" * size)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(kit, status):
    host = kit.Host(kit.Application(lambda exchange: (status, b"", b"never")))
    transport = host.accept()
    transport.feed(GET % 1)
    assert transport.sent.startswith(b"HTTP/1.1 %d " % status)
    assert b"never" not in transport.sent
    assert b"content-length" not in transport.sent


def test_a_status_without_a_name(kit):
    host = kit.Host(kit.Application(lambda exchange: (499, b"", b"")))
    transport = host.accept()
    transport.feed(GET % 1)
    assert transport.sent.startswith(b"HTTP/1.1 499 \r\n")


@pytest.mark.parametrize(
    ("request_", "connection", "closes"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None, False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"close", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, Close\r\n\r\n", b"close", True),
        (b"GET / HTTP/1.0\r\n\r\n", b"close", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"keep-alive", False),
    ],
)
def test_keep_alive(kit, request_, connection, closes):
    host = kit.Host()
    transport = host.accept()
    transport.feed(request_)
    [(_, headers, _)] = kit.split_answers(transport.sent)
    assert headers.get(b"connection") == connection
    assert transport.closing == closes


def test_nothing_is_taken_after_the_last_request(kit):
    host = kit.Host()
    transport = host.accept()
    transport.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % 2)
    assert len(host.application.exchanges) == 1
    assert len(kit.split_answers(transport.sent)) == 1
    assert transport.eof  # gently: unread bytes would turn the close into a reset
    assert not transport.closing
    transport.feed_eof()
    assert transport.closing


def test_expect_is_invited(kit):
    host = kit.Host()
    transport = host.accept()
    transport.feed(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    transport.feed(b"abc")
    assert transport.writes[1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert host.application.exchanges[0].body == b"abc"


def test_an_invitation_waits_for_the_answers_before_it(kit):
    host = kit.Host(kit.Application(hold=True))
    transport = host.accept()
    transport.feed(GET % 1 + POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert transport.writes == []
    host.after(1000.0, transport)  # the client waits for us: no 408
    host.application.exchanges[0].respond(200, b"", b"")
    assert transport.sent.endswith(b"content-length: 0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
    transport.feed(b"abc")
    assert len(host.application.exchanges) == 2


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Expect: 100-continue\r\nContent-Length: 101\r\n\r\n", 413),
        (b"Expect: 200-maybe\r\nContent-Length: 3\r\n\r\n", 417),
        (b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", 200),
    ],
)
def test_expect_without_an_invitation(kit, head, status):
    host = kit.Host(max_body_bytes=100)
    transport = host.accept()
    transport.feed(POST + head)
    assert [status for status, _, _ in kit.split_answers(transport.sent)] == [status]


def test_http_1_0_has_no_expectations(kit):
    host = kit.Host()
    transport = host.accept()
    transport.feed(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", b"abc")
    assert [status for status, _, _ in kit.split_answers(transport.sent)] == [200]


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n", b""),
        (POST + UPGRADE + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (POST + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n", b"abc"),
        (POST + b"Upgrade: h2c\r\nContent-Length: 3\r\n\r\nabc", b"abc"),  # without the connection option: no offer
        (POST + UPGRADE + b"Content-Length: 50\r\n\r\n" + (GET % 9).ljust(50), (GET % 9).ljust(50)),  # smuggled
    ],
)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_an_upgrade_is_ignored_and_its_body_is_the_requests(kit, request_, body, bytewise):
    host = kit.Host()
    transport = host.accept()
    data = request_ + GET % 2 + request_ + GET % 3
    transport.feed(*([data[i : i + 1] for i in range(len(data))] if bytewise else [data]))
    assert [exchange.body for exchange in host.application.exchanges] == [body, b"", body, b""]
    assert [exchange.path for exchange in host.application.exchanges] == ["/", "/2", "/", "/3"]
    assert [status for status, _, _ in kit.split_answers(transport.sent)] == [200] * 4


def test_an_upgrade_on_a_connection_that_closes(kit):
    host = kit.Host()
    transport = host.accept()
    transport.feed(
        POST + b"Connection: close, upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc" + GET % 2,
    )
    assert [exchange.body for exchange in host.application.exchanges] == [b"abc"]


def test_interim_answers(kit):
    host = kit.Host(kit.Application(hold=True))
    transport = host.accept()
    transport.feed(GET % 1 + GET % 2)
    one, two = host.application.exchanges
    two.interim(102)  # not its turn
    assert transport.writes == []
    one.interim(102)
    assert transport.sent == b"HTTP/1.1 102 Processing\r\n\r\n"
    one.respond(200, b"", b"")
    one.interim(102)  # too late
    assert transport.sent.count(b"102") == 1
    old = host.accept()
    old.feed(b"GET / HTTP/1.0\r\n\r\n")
    host.application.exchanges[2].interim(102)  # HTTP/1.0 has none
    assert old.writes == []


def test_the_client_leaves(kit):
    host = kit.Host(kit.Application(hold=True))
    transport = host.accept()
    transport.feed(GET % 1 + GET % 2 + GET % 3 + POST)
    one, two, three = host.application.exchanges
    two.respond(200, b"", b"")
    transport.lose(ConnectionResetError())
    assert host.application.gone == [one, three]
    one.respond(200, b"", b"x")
    one.interim(102)
    assert transport.writes == []
    assert host.server.connections == 0


def test_a_transport_that_fails_under_an_answer_costs_nobody_elses(kit):
    host = kit.Host(kit.Application(hold=True))
    transport = host.accept()
    transport.feed(GET % 1 + GET % 2)
    transport.closing = True  # as uvloop does it: write() raises, connection_lost comes later
    one, two = host.application.exchanges
    one.respond(200, b"", b"")
    transport.turn()
    assert host.application.gone == [two]


def test_a_half_closed_client_gets_its_answers(kit):
    host = kit.Host(kit.Application(hold=True))
    transport = host.accept()
    transport.feed(GET % 1 + GET % 2 + b"GET /incomplete")
    transport.feed_eof()
    assert not transport.closing
    one, two = host.application.exchanges
    two.respond(200, b"", b"two")
    one.respond(200, b"", b"one")
    assert [body for _, _, body in kit.split_answers(transport.sent)] == [b"one", b"two"]
    assert transport.closing
    assert not transport.aborted


def test_a_half_closed_client_is_probed_once(kit):
    host = kit.Host(kit.Application(hold=True))
    transport = host.accept()
    transport.feed(GET % 1)
    transport.feed_eof()
    for _ in range(4):
        host.after(0.5, transport)
    assert transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    host.application.exchanges[0].respond(200, b"", b"")
    assert transport.closing


def test_end_of_file_means_gone_where_half_closing_is_off(kit):
    host = kit.Host(kit.Application(hold=True), half_close=False)
    transport = host.accept()
    transport.feed(GET % 1)
    transport.feed_eof()
    assert transport.aborted
    assert host.application.gone == host.application.exchanges


def test_end_of_file_without_a_request_closes(kit):
    host = kit.Host()
    transport = host.accept()
    transport.feed(GET % 1, b"GET")
    transport.feed_eof()
    assert transport.closing
    assert len(kit.split_answers(transport.sent)) == 1


def test_an_application_that_raises_costs_its_own_request_alone(kit):
    def answer(exchange):
        if exchange.path == "/1":
            raise ValueError("a bug")
        return 200, b"", b""

    reports = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        host = kit.Host(kit.Application(answer))
        transport = host.accept()
        transport.feed(GET % 1 + GET % 2)
        return kit.split_answers(transport.sent)

    answers = asyncio.run(main())
    assert [status for status, _, _ in answers] == [500, 200]
    assert isinstance(reports[0]["exception"], ValueError)


def test_too_many_connections_are_closed_at_once(kit):
    host = kit.Host(max_connections=2)
    transports = [host.accept() for _ in range(3)]
    assert [transport.closing for transport in transports] == [False, False, True]
    assert host.server.connections == 2


def test_a_server_needs_a_start_or_a_clock(kit):
    connection = HttpServer(kit.Application(), burst=kit.AtOnce()).connection()
    with pytest.raises(RuntimeError, match="not been started"):
        connection.connection_made(kit.MemoryTransport(connection))
