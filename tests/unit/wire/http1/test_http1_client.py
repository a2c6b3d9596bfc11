"""The upstream connection: framings, one ending for each request, and no answer for a request that was not sent."""

import asyncio

import pytest

from plimsoll.wire.http1 import ClientConnection, ClientSettings, encode_request_head

HEAD = encode_request_head("GET", "/", [(b"host", b"a")])
OK = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 3\r\n\r\nabc"
HEADERS = [(b"content-type", b"x"), (b"content-length", b"3")]


def ask(kit, *pieces, eof=False, head_only=False, settings=None):
    connection, transport = kit.client(settings)
    receiver = kit.Receiver()
    connection.send(HEAD, b"", receiver, head_only=head_only)
    transport.feed(*pieces)
    if eof:
        transport.feed_eof()
    return connection, transport, receiver


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_a_request_goes_out_whole(kit, size):
    connection, transport = kit.client()
    assert connection.idle
    connection.send(HEAD, b"x" * size, kit.Receiver())
    assert transport.sent == HEAD + b"x" * size
    assert not connection.idle


def test_keep_alive(kit):
    connection, transport, first = ask(kit, OK)
    assert first.answers == [(200, HEADERS, b"abc")]
    assert connection.idle
    second = kit.Receiver()
    connection.send(HEAD, b"", second)
    transport.feed(*(OK[i : i + 1] for i in range(len(OK))))
    assert second.answers == first.answers
    assert first.losses == second.losses == []


@pytest.mark.parametrize(
    ("data", "status", "body", "idle"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx: y\r\n\r\n",
            200,
            b"abc",
            True,
        ),
        (b"HTTP/1.1 204 No\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 200, b"x", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", False),
        (b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", True),
    ],
)
def test_framings(kit, data, status, body, idle):
    connection, transport, receiver = ask(kit, data)
    [answer] = receiver.answers
    assert (answer[0], answer[2]) == (status, body)
    assert (b"x", b"y") not in answer[1]
    assert receiver.interims == ([103] if b"103" in data else [])
    assert connection.idle == idle
    assert transport.closing == (not idle)
    assert receiver.losses == []


def test_an_answer_that_ends_with_the_connection(kit):
    connection, _, receiver = ask(kit, b"HTTP/1.1 200 OK\r\n\r\nab", b"cd")
    assert receiver.answers == []
    connection._transport.feed_eof()
    assert [answer[2] for answer in receiver.answers] == [b"abcd"]
    assert receiver.losses == []
    assert connection.closed


def test_a_reset_is_no_end_of_an_answer(kit):
    _, transport, receiver = ask(kit, b"HTTP/1.1 200 OK\r\n\r\nab")
    transport.lose(ConnectionResetError("reset"))
    assert receiver.answers == []
    assert receiver.losses == [("reset", True)]


@pytest.mark.parametrize(
    "length", [b"", b"Content-Length: 7\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"]
)
def test_the_answer_to_head_has_no_body(kit, length):
    connection, transport, receiver = ask(kit, b"HTTP/1.1 200 OK\r\n" + length + b"\r\n", head_only=True)
    assert [answer[2] for answer in receiver.answers] == [b""]
    assert connection.idle
    second = kit.Receiver()
    connection.send(HEAD, b"", second)
    transport.feed(OK)
    assert second.answers == [(200, HEADERS, b"abc")]


@pytest.mark.parametrize(
    ("data", "started"),
    [
        (b"", False),
        (b"HTTP/1.1 200", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", True),
    ],
)
@pytest.mark.parametrize("eof", [True, False])
def test_an_answer_that_breaks_off_is_lost_once(kit, data, started, eof):
    connection, transport, receiver = ask(kit, data)
    if eof:
        transport.feed_eof()
    else:
        transport.lose(None)
    assert receiver.answers == []
    assert [was_started for _, was_started in receiver.losses] == [started]
    assert connection.closed


@pytest.mark.parametrize(
    "data",
    [
        b"junk",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 102 \r\n\r\n" * 65,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 11 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101,
    ],
)
def test_a_malformed_answer_is_lost_with_the_connection(kit, data):
    settings = ClientSettings(max_head_bytes=1000, max_headers=10, max_body_bytes=100)
    connection, transport, receiver = ask(kit, data, settings=settings)
    assert receiver.answers == []
    [(reason, started)] = receiver.losses
    assert reason
    assert started
    assert connection.closed
    assert transport.closing


@pytest.mark.parametrize("rest", [b"x", OK, b"HTTP/1.1 500 Smuggled\r\n\r\n"])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_an_answer_are_nobodys_answer(kit, rest, together):
    connection, _transport, receiver = ask(kit, *([OK + rest] if together else [OK, rest]))
    assert receiver.answers == [(200, HEADERS, b"abc")]
    assert connection.closed
    late = kit.Receiver()

    async def send():
        connection.send(HEAD, b"", late)
        assert late.losses == []  # never from within send
        await asyncio.wait_for(late.ended.wait(), 10)

    asyncio.run(send())
    assert late.answers == []
    assert [started for _, started in late.losses] == [False]


def test_the_next_request_may_go_out_from_within_the_answer(kit):
    connection, transport = kit.client()
    second = kit.Receiver()

    class First(kit.Receiver):
        def on_response(self, status, headers, body):
            super().on_response(status, headers, body)
            connection.send(HEAD, b"", second)

    first = First()
    connection.send(HEAD, b"", first)
    transport.feed(OK, OK)
    assert len(first.answers) == len(second.answers) == 1


def test_one_request_at_a_time(kit):
    connection, _ = kit.client()
    connection.send(HEAD, b"", kit.Receiver())
    with pytest.raises(RuntimeError, match="one request at a time"):
        connection.send(HEAD, b"", kit.Receiver())


def test_an_answer_before_the_request_is_read_ends_the_connection(kit):
    connection, transport = kit.client()
    receiver = kit.Receiver()
    connection.send(HEAD, b"x" * 200_000, receiver)
    transport.unsent = 100_000
    transport.feed(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n")
    assert [answer[0] for answer in receiver.answers] == [413]
    assert connection.closed


def test_closing_with_a_request_in_flight_loses_it(kit):
    connection, transport, receiver = ask(kit)
    closed = []
    connection.on_closed = closed.append
    connection.close()
    connection.close()
    assert receiver.losses == []
    transport.turn()
    assert receiver.losses == [("closed by this side", False)]
    assert closed == [connection]


def test_an_idle_connection_tells_when_it_closes(kit):
    connection, transport = kit.client()
    closed = []
    connection.on_closed = closed.append
    transport.feed_eof()
    assert connection.closed
    assert closed == [connection]


def test_a_connection_is_closed_before_it_is_made():
    connection = ClientConnection()
    assert connection.closed
    assert not connection.idle


def test_encode_request_head():
    head = encode_request_head("POST", "/a?b", [(b"host", b"a"), (b"x", b"")])
    assert head == b"POST /a?b HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "", []),
        ("GET", "/a b", []),
        ("GET", "/a\r\nx: y", []),
        ("GET /", "/", []),
        ("", "/", []),
        ("GET", "/é", []),
        ("GET", "/", [(b"x", b"a\r\nb: c")]),
        ("GET", "/", [(b"x", b"a\0")]),
        ("GET", "/", [(b"x: y\r\nz", b"a")]),
    ],
)
def test_a_head_that_would_break_its_lines_is_refused(method, target, headers):
    with pytest.raises(ValueError, match=r"no request line|ends it early"):
        encode_request_head(method, target, headers)
