"""Limits and deadlines: sizes, silence, slow readers, closing. The clock is the test's own."""

import pytest

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def statuses(kit, transport):
    return [status for status, _, _ in kit.split_answers(transport.sent)]


@pytest.mark.parametrize("piece", [1, 7, 1000, 100_000])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"x" * 99 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /" + b"x" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"x" * 5000, 414),  # before it ends
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 9 + b"\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 10 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 468 + b"\r\n\r\n", 200),  # 500 bytes in all
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 469 + b"\r\n\r\n", 431),
        (POST + b"Content-Length: 200\r\n\r\n" + b"x" * 200, 200),
        (POST + b"Content-Length: 201\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nc8\r\n" + b"x" * 200 + b"\r\n0\r\n\r\n", 200),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nc9\r\n" + b"x" * 201, 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"64\r\n%b\r\n" % (b"x" * 100) * 3, 413),
    ],
)
def test_sizes(kit, data, status, piece):
    host = kit.Host(max_target_bytes=100, max_head_bytes=500, max_headers=10, max_body_bytes=200)
    transport = host.accept()
    transport.feed(*(data[i : i + piece] for i in range(0, len(data), piece)))
    assert statuses(kit, transport) == [status]
    assert len(host.application.refused) == (status != 200)
    assert transport.eof == (status != 200)


def test_a_head_without_an_end_is_refused_before_it_fills_memory(kit):
    host = kit.Host(max_head_bytes=1000)
    transport = host.accept()
    transport.feed(b"GET / HTTP/1.1\r\nHost: a\r\nx: ")
    fed = 0
    while not transport.eof:
        transport.feed(b"y" * 100)
        fed += 100
        assert fed <= 1100
    assert statuses(kit, transport) == [431]


@pytest.mark.parametrize("filler", [b"x: y\r\n", b"x" * 50], ids=["many trailers", "one endless trailer"])
def test_trailers_are_limited(kit, filler):
    host = kit.Host(max_head_bytes=1000)
    transport = host.accept()
    transport.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
    for _ in range(300):
        transport.feed(filler)
    assert statuses(kit, transport) == [431]


def test_chunk_extensions_are_limited(kit):
    host = kit.Host(max_head_bytes=1000)
    transport = host.accept()
    transport.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n3;")
    for _ in range(50):
        transport.feed(b"x" * 50)
    assert statuses(kit, transport) == [431]


def test_a_large_body_behind_a_small_head_is_no_large_head(kit):
    host = kit.Host(max_head_bytes=100)
    transport = host.accept()
    transport.feed(POST + b"Content-Length: 5000\r\n\r\n" + b"x" * 5000 + GET % 1)
    assert statuses(kit, transport) == [200, 200]


def test_many_one_byte_chunks_cost_their_bytes_not_an_object_each(kit):
    host = kit.Host()
    transport = host.accept()
    transport.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    reader = next(iter(host.server._connections)).reader
    transport.feed(b"1\r\nx\r\n" * 5000)
    assert len(reader._pieces) <= 2
    transport.feed(b"0\r\n\r\n")
    assert host.application.exchanges[0].body == b"x" * 5000


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\nHost: a\r\nx: y\r\n"])
def test_half_a_head_and_silence(kit, start):
    host = kit.Host(head_timeout_s=10)
    transport = host.accept()
    host.after(50, transport)
    transport.feed(start)
    host.after(9, transport)
    transport.feed(b"E"[: start == b"G"])  # a byte now and then is no progress
    assert transport.writes == []
    host.after(2, transport)
    assert statuses(kit, transport) == [408]
    assert transport.eof
    [(_, arrived)] = host.application.refused
    assert arrived == 150.0  # the first byte


def test_half_a_body_and_silence(kit):
    host = kit.Host(body_timeout_s=10, min_bytes_per_s=100)
    transport = host.accept()
    transport.feed(POST + b"Content-Length: 1000\r\n\r\n")
    host.after(9, transport)
    transport.feed(b"x" * 200)  # buys two seconds
    host.after(2, transport)
    assert transport.writes == []
    host.after(2, transport)
    assert statuses(kit, transport) == [408]
    assert host.application.exchanges == []


def test_a_408_waits_for_the_answers_before_it(kit):
    host = kit.Host(kit.Application(hold=True), head_timeout_s=10)
    transport = host.accept()
    transport.feed(GET % 1 + b"GET /2")
    host.after(11, transport)
    host.after(11, transport)
    assert transport.writes == []
    assert len(host.application.refused) == 1
    host.application.exchanges[0].respond(200, b"", b"")
    assert statuses(kit, transport) == [200, 408]


def test_an_idle_connection_closes_silently(kit):
    host = kit.Host(idle_timeout_s=75)
    transport = host.accept()
    for _ in range(5):
        host.after(70, transport)
        transport.feed(GET % 1)
    assert not transport.closing
    host.after(76, transport)
    assert transport.closing
    assert statuses(kit, transport) == [200] * 5
    assert host.application.refused == []


def test_a_long_computation_is_not_idleness(kit):
    host = kit.Host(kit.Application(hold=True), idle_timeout_s=75)
    transport = host.accept()
    transport.feed(GET % 1)
    for _ in range(5):
        host.after(60, transport)
    host.application.exchanges[0].respond(200, b"", b"")
    host.after(60, transport)
    assert not transport.closing
    host.after(76, transport)
    assert transport.closing


def test_a_slow_reader_pauses_reading_and_is_cut_in_the_end(kit):
    host = kit.Host(kit.Application(hold=True), write_timeout_s=30, min_bytes_per_s=100)
    transport = host.accept()
    assert transport.high == 256 * 1024
    transport.feed(GET % 1 + GET % 2)
    transport.unsent = 1000
    transport.protocol.pause_writing()
    assert not transport.reading
    host.after(29, transport)
    transport.unsent = 500  # it drained 500 bytes: five seconds more
    host.after(5, transport)
    assert not transport.closing
    host.after(2, transport)
    assert transport.aborted
    assert host.application.gone == host.application.exchanges


def test_a_reader_that_catches_up_is_read_again(kit):
    host = kit.Host(write_timeout_s=30)
    transport = host.accept()
    transport.feed(GET % 1)
    transport.protocol.pause_writing()
    host.after(29, transport)
    transport.protocol.resume_writing()
    assert transport.reading
    host.after(40, transport)
    assert not transport.closing
    transport.feed(GET % 2)
    assert statuses(kit, transport) == [200, 200]


def test_a_closed_connection_that_does_not_drain_is_cut(kit):
    host = kit.Host(kit.Application(hold=True), write_timeout_s=30, min_bytes_per_s=100)
    transport = host.accept()
    transport.feed(b"GET / HTTP/1.0\r\n\r\n")
    transport.unsent = 1000
    host.application.exchanges[0].respond(200, b"", b"")  # closes; the transport still holds bytes
    assert transport.closing
    transport.lost = True  # connection_lost comes once they are gone
    host.after(29, transport)
    transport.unsent = 500  # five seconds more
    host.after(5, transport)
    assert not transport.aborted
    host.after(2, transport)
    assert transport.aborted


@pytest.mark.parametrize("leaves", [True, False])
def test_a_refused_client_may_read_its_answer(kit, leaves):
    host = kit.Host(linger_s=2, linger_bytes=1000, max_body_bytes=10)
    transport = host.accept()
    transport.feed(POST + b"Content-Length: 5000\r\n\r\n")
    assert statuses(kit, transport) == [413]
    transport.feed(b"x" * 400, b"x" * 400)
    assert transport.eof
    assert not transport.closing
    if leaves:
        transport.feed_eof()
    else:
        host.after(3, transport)
    assert transport.closing
    assert not transport.aborted


def test_a_refused_client_that_sends_on_is_cut(kit):
    host = kit.Host(linger_bytes=1000, max_body_bytes=10)
    transport = host.accept()
    transport.feed(POST + b"Content-Length: 5000\r\n\r\n", b"x" * 600, b"x" * 600)
    assert transport.closing


def test_winding_down(kit):
    host = kit.Host(kit.Application(hold=True))
    idle, busy, partial = (host.accept() for _ in range(3))
    idle.feed(GET % 0)
    host.application.exchanges[0].respond(200, b"", b"")
    busy.feed(GET % 1 + GET % 2)
    partial.feed(b"GET /3 HTTP/1.1\r\n")
    host.server.closing = True
    for transport in (idle, busy, partial):
        transport.protocol.wind_down()
        transport.turn()
    assert idle.closing
    _, one, two = host.application.exchanges
    one.respond(200, b"", b"")
    assert not busy.eof
    two.respond(200, b"", b"")
    assert [headers.get(b"connection") for _, headers, _ in kit.split_answers(busy.sent)] == [None, b"close"]
    assert busy.eof
    partial.feed(b"Host: a\r\n\r\n")
    host.application.exchanges[3].respond(200, b"", b"")
    assert partial.eof
    assert host.accept().closing
