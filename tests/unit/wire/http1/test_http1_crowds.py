"""Limits that count connections together: per address, by age, what comes in, what nobody reads."""

import pytest

from plimsoll.wire.http1.peer import peer_of

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
HALF = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n"


def accept(kit, host, peer):
    connection = host.server.connection()
    transport = kit.MemoryTransport(connection)
    transport.get_extra_info = lambda name, default=None: peer if name == "peername" else default
    connection.connection_made(transport)
    transport.turn()
    return transport


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("10.0.0.1", 1), ("10.0.0.1", 2), True),
        (("10.0.0.1", 1), ("10.0.0.2", 1), False),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::2", 1, 0, 0), True),  # one /64 is one host's
        (("2001:db8:0:1::1", 1, 0, 0), ("2001:db8:0:2::1", 1, 0, 0), False),
        (("::ffff:10.0.0.1", 1, 0, 0), ("::ffff:10.0.0.2", 1, 0, 0), False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2%eth0", 1, 0, 2), True),
    ],
)
def test_whose_connection_it_is(kit, one, other, same):
    host = kit.Host(max_connections_per_peer=1)
    first, second = accept(kit, host, one), accept(kit, host, other)
    assert not first.aborted
    assert second.aborted == same
    first.close()
    first.turn()
    assert not accept(kit, host, one).aborted


def test_unix_sockets_have_no_address(kit):
    host = kit.Host(max_connections_per_peer=1)
    assert not any(accept(kit, host, "").aborted for _ in range(5))
    assert host.server._peers == {}
    assert peer_of(accept(kit, host, b"")) is None


def test_an_old_connection_ends_with_its_next_answer(kit):
    host = kit.Host(max_age_s=100, idle_timeout_s=1000)
    transport = host.accept()
    transport.feed(GET)
    host.after(101, transport)
    assert not transport.closing, "its client may be about to ask"
    transport.feed(GET)
    first, second = kit.split_answers(transport.sent)
    assert b"connection" not in first[1]
    assert second[1][b"connection"] == b"close"
    assert transport.eof


def test_an_old_connection_answers_what_is_under_way(kit):
    application = kit.Application(hold=True)
    host = kit.Host(application, max_age_s=100)
    transport = host.accept()
    transport.feed(GET, GET)
    host.after(101, transport)
    for exchange in application.exchanges:
        exchange.respond(200, b"", b"ok")
    first, second = kit.split_answers(transport.sent)
    assert (first[0], second[0]) == (200, 200)
    assert (b"connection" in first[1], second[1][b"connection"]) == (False, b"close")


def test_the_largest_of_too_many_bodies_are_refused(kit):
    host = kit.Host(max_incomplete_bytes=50_000)
    host.application.on_refused = lambda error, arrived: (503, b"", str(error).encode())
    sizes = [10_000, 40_000, 5_000, 30_000]
    transports = [host.accept() for _ in sizes]
    for transport, size in zip(transports, sizes, strict=True):
        transport.feed(HALF, b"x" * size)
    host.server.sweep()
    assert [transport.sent[:12] for transport in transports] == [b"", b"HTTP/1.1 503", b"", b""]


def test_who_reads_least_of_too_many_answers_is_cut(kit):
    host = kit.Host(max_unsent_bytes=100_000)
    transports = [host.accept() for _ in range(4)]
    for transport, unsent in zip(transports, [30_000, 70_000, 0, 60_000], strict=True):
        transport.unsent = unsent
    host.server.sweep()
    assert [transport.aborted for transport in transports] == [False, True, False, False]


def test_no_request_is_begun_for_who_does_not_read(kit):
    application = kit.Application(lambda exchange: (200, b"", bytes(20_000)))
    host = kit.Host(application)
    transport = host.accept()
    plain_write = transport.write

    def write(data):
        plain_write(data)
        if len(application.exchanges) == 3:
            transport.unsent = 400_000
            transport.protocol.pause_writing()

    transport.write = write
    transport.feed(GET * 200)
    assert len(application.exchanges) == 3, "the answers of one read are not collected first"
    assert not transport.reading
    transport.unsent = 0
    transport.protocol.resume_writing()
    assert len(application.exchanges) == 200
    assert transport.reading
    assert len(kit.split_answers(transport.sent)) == 200
