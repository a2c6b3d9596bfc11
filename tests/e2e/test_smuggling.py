"""Can a client make the gateway and a replica disagree about where a request ends? Raw bytes through both.

A relay between a real gateway and a real replica records what the replica is sent, and a parser of a dozen lines, which
knows nothing but content-length, says which requests those are. They must be exactly those that the gateway answered,
and none that stands behind a refused one. Each row is sent between two plain requests, whole and in small pieces.
"""

import asyncio
from collections import namedtuple

import pytest
from tests.support.gateway_host import GatewayHost, run
from tests.support.replica_host import REVISION, ReplicaHost

from plimsoll.core.snapshot import Endpoint, Route, ServiceView

Seen = namedtuple("Seen", "method target body headers")

HOST = b"host: a\r\n"
POST = b"POST /puppet?row HTTP/1.1\r\n" + HOST
FIRST = b"POST /puppet?first HTTP/1.1\r\n" + HOST + b"content-length: 1\r\n\r\n1"
LAST = b"POST /puppet?last HTTP/1.1\r\n" + HOST + b"connection: close\r\ncontent-length: 1\r\n\r\n9"
HIDDEN = b"POST /puppet?hidden HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n5"
CHUNKS = b"1\r\n7\r\n0\r\n\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


def length(value, body=b"7"):
    return POST + b"content-length: " + value + b"\r\n\r\n" + body


def coding(value, more=b""):
    return POST + more + b"transfer-encoding: " + value + b"\r\n\r\n" + CHUNKS


def header(line, body=b"7"):
    return POST + line + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body


# Refused, and the connection with it: neither the row nor anything behind it may reach the replica.
REFUSED = {
    "CL.TE": POST + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE.CL": POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n5c\r\n" + HIDDEN + b"\r\n0\r\n\r\n",
    "TE.TE: twice": coding(b"chunked", b"transfer-encoding: chunked\r\n"),
    "TE.TE: identity first": coding(b"chunked", b"transfer-encoding: identity\r\n"),
    "TE.TE: a coding nobody knows": coding(b"xchunked"),
    "TE.TE: nobody's last": coding(b"chunked, x"),
    "TE.TE: space before the colon": POST + b"transfer-encoding : chunked\r\n\r\n" + CHUNKS,
    "TE.TE: a vertical tab": coding(b"\x0bchunked"),
    "TE.TE: quoted": coding(b'"chunked"'),
    "TE.TE: folded": coding(b"\r\n chunked"),
    "TE.TE: behind a bare CR": POST + b"x: a\rtransfer-encoding: chunked\r\n\r\n" + CHUNKS,
    "TE.TE: behind a bare LF": POST + b"x: a\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS,
    "TE.TE: compressed": coding(b"gzip, chunked"),
    "TE in HTTP/1.0": b"POST /puppet?row HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS,
    "CL.CL": POST + b"content-length: 1\r\ncontent-length: 0\r\n\r\n7" + HIDDEN,
    "CL.CL: equal": POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\n7",
    "CL: a list": length(b"1, 1"),
    "CL: plus": length(b"+1"),
    "CL: minus": length(b"-1"),
    "CL: hexadecimal": length(b"0x1"),
    "CL: a gap": length(b"1 0"),
    "CL: an exponent": length(b"1e0"),
    "CL: empty": length(b""),
    "CL: beyond 64 bits": length(b"18446744073709551617"),
    "CL: another script's digit": length("\u0661".encode()),
    "CL: underscores are for Python": length(b"1_0"),
    "chunk: size overflows": CHUNKED + b"10000000000000001\r\n7\r\n0\r\n\r\n",
    "chunk: size with a sign": CHUNKED + b"+1\r\n7\r\n0\r\n\r\n",
    "chunk: size with 0x": CHUNKED + b"0x1\r\n7\r\n0\r\n\r\n",
    "chunk: size with a space": CHUNKED + b"1 \r\n7\r\n0\r\n\r\n",
    "chunk: size ends in LF": CHUNKED + b"1\n7\r\n0\r\n\r\n",
    "chunk: data ends in LF": CHUNKED + b"1\r\n7\n0\r\n\r\n",
    "chunk: more than it says": CHUNKED + b"1\r\n77\r\n0\r\n\r\n",
    "chunk: an extension with LF": CHUNKED + b"1;a\nb\r\n7\r\n0\r\n\r\n",
    "chunk: an extension without an end": CHUNKED + b"1;" + b"a" * 1_000_000 + b"\r\n7\r\n0\r\n\r\n",
    "chunk: leading zeros without an end": CHUNKED + b"0" * 1_000_000 + b"1\r\n7\r\n0\r\n\r\n",
    "trailers: a length": CHUNKED + b"1\r\n7\r\n0\r\ncontent-length: 9\r\n\r\n",
    "trailers: without an end": CHUNKED + b"1\r\n7\r\n0\r\n" + b"x: y\r\n" * 200_000 + b"\r\n",
    "lines end in LF": b"POST /puppet?row HTTP/1.1\nhost: a\ncontent-length: 1\n\n7",
    "a head ends in LF": POST + b"content-length: 1\r\n\n7",
    "a folded header": header(b"x: a\r\n b"),
    "a folded first header": b"POST /puppet?row HTTP/1.1\r\n host: a\r\n\r\n",
    "a space in a header's name": header(b"x y: a"),
    "a space before the colon": header(b"x : a"),
    "no header's name": header(b": a"),
    "NUL in a value": header(b"x: a\0b"),
    "NUL in a name": header(b"x\0: a"),
    "CR in a value": header(b"x: a\rb"),
    "two Hosts": POST + b"host: b\r\n\r\n",
    "no Host": b"POST /puppet?row HTTP/1.1\r\ncontent-length: 1\r\n\r\n7",
    "a Host with a path": b"POST /puppet?row HTTP/1.1\r\nhost: a/puppet\r\n\r\n",
    "a space in the target": b"POST /puppet?row HTTP/1.1 HTTP/1.1\r\nhost: a\r\n\r\n",
    "a line break in the target": b"POST /puppet?row\rx HTTP/1.1\r\nhost: a\r\n\r\n",
    "a proxy's method": b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n" + HIDDEN,
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /puppet?row\r\n\r\n",
    "an expectation nobody knows": header(b"expect: 200-ok"),
    "a head without an end": POST + b"x: y\r\n" * 20_000,
}

# Understood: what the replica must see of the row. The body is always 7.
ACCEPTED = {
    "a length with zeros in front": length(b"0001"),
    "a length among blanks": length(b" \t1\t "),
    "chunks": CHUNKED + CHUNKS,
    "chunks in capitals": coding(b"CHUNKED"),
    "a size with zeros in front": CHUNKED + b"0001\r\n7\r\n000\r\n\r\n",
    "an extension": CHUNKED + b'1;a="b;c"\r\n7\r\n0;x\r\n\r\n',
    "trailers that would be ours": CHUNKED + b"1\r\n7\r\n0\r\nplimsoll-tenant: evil\r\nplimsoll-weight: 99\r\n\r\n",
    "headers that would be ours": header(b"plimsoll-tenant: evil\r\nPLIMSOLL-Weight: 99\r\nplimsoll-alone: 1"),
    "a connection header that names ours": header(b"connection: plimsoll-deadline-ms, content-length, host"),
    "an underscore is no hyphen": header(b"content_length: 9\r\ntransfer_encoding: chunked"),
    "a body like a request": header(b"x: y", HIDDEN),
    "an absolute target, another Host": b"POST http://b/puppet?row HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n7",
    "h2c": header(b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__"),
    "a websocket": header(b"connection: upgrade\r\nupgrade: websocket"),
    "an expected 100": header(b"expect: 100-continue"),
    "GET with a body": b"GET /puppet?row HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n7",
    "DELETE with chunks": b"DELETE /puppet?row HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS,
    "HTTP/1.0 kept alive": b"POST /puppet?row HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\n7",
    "line breaks before it": b"\r\n\r\n" + length(b"1"),
}


class Relay:
    """Between gateway and replica: hands everything on, and keeps what went to the replica, a connection each."""

    def __init__(self, folder, target):
        self.path, self.target = f"{folder}/relay.sock", target.removeprefix("unix:")
        self.streams = []

    async def start(self):
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader, writer):
        there = await asyncio.open_unix_connection(self.target)
        self.streams.append(stream := bytearray())
        await asyncio.gather(self._pump(reader, there[1], stream), self._pump(there[0], writer, None))

    async def _pump(self, reader, writer, stream):
        while data := await reader.read(65536):
            if stream is not None:
                stream += data
            writer.write(data)
        writer.close()

    def seen(self):
        return [request for stream in self.streams for request in parse(bytes(stream))]


def parse(data):
    """Requests framed by content-length, and nothing else, or the test fails."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"half a head reached the replica: {head[:200]}"
        first, *lines = head.split(b"\r\n")
        method, target, version = first.split(b" ")
        assert version == b"HTTP/1.1"
        headers = [tuple(line.split(b": ", 1)) for line in lines]
        names = [name.lower() for name, _ in headers]
        assert b"transfer-encoding" not in names
        assert names.count(b"host") == 1
        assert names.count(b"content-length") <= 1
        assert all(char not in head.replace(b"\r\n", b"") for char in b"\r\n\0")
        size = int(dict(headers).get(b"content-length", b"0"))
        assert len(data) >= size, "half a body reached the replica"
        found.append(Seen(method.decode(), target.decode(), data[:size], dict(headers)))
        data = data[size:]
    return found


async def answers(reader):
    """The final statuses until the server closes."""
    data = await asyncio.wait_for(reader.read(), 20)
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end
        first, *lines = head.split(b"\r\n")
        status = int(first.split(b" ")[1])
        if status >= 200:
            found.append(status)
            data = data[int(dict(line.lower().split(b": ", 1) for line in lines)[b"content-length"]) :]
    return found


async def exchange(replica, data, piece):
    async with GatewayHost() as host:
        host.series_may_end = True  # statuses are counted here, not outcomes
        relay = Relay(host.folder, replica.address)
        await relay.start()
        endpoint = Endpoint("r0", REVISION, f"unix:{relay.path}")
        host.serve(ServiceView("puppet", REVISION, (Route("/puppet"),), (endpoint,), timeout_s=15.0))
        reader, writer = await asyncio.open_unix_connection(host.address.removeprefix("unix:"))
        try:
            for start in range(0, len(data), piece):
                writer.write(data[start : start + piece])
                await asyncio.sleep(0)
            statuses = await answers(reader)
            await host.quiet()
            return statuses, relay.seen()
        finally:
            writer.close()
            relay.server.close()


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    host = ReplicaHost(tmp_path_factory.mktemp("smuggling"))
    yield host
    host.close()


pieces = pytest.mark.parametrize("piece", [2**20, 7], ids=["whole", "pieces"])


@pieces
@pytest.mark.parametrize("row", REFUSED)
def test_a_refused_request_ends_the_connection(replica, row, piece):
    piece = piece if len(REFUSED[row]) < 10_000 else 65536  # longer than any one read
    statuses, seen = run("uvloop", exchange(replica, FIRST + REFUSED[row] + LAST, piece))
    assert [request.target for request in seen] == ["/puppet?first"]
    assert len(statuses) == 2
    assert statuses[0] == 200
    assert statuses[1] in (400, 417, 431, 501), statuses


@pieces
@pytest.mark.parametrize("row", ACCEPTED)
def test_what_is_understood_is_said_anew(replica, row, piece):
    statuses, seen = run("uvloop", exchange(replica, FIRST + ACCEPTED[row] + LAST, piece))
    assert sorted(request.target for request in seen) == ["/puppet?first", "/puppet?last", "/puppet?row"]
    assert len(statuses) == 3
    assert (statuses[0], statuses[2]) == (200, 200)
    (request,) = [request for request in seen if request.target == "/puppet?row"]
    assert request.body == (HIDDEN if row == "a body like a request" else b"7")
    assert request.method == ACCEPTED[row].strip().split(b" ")[0].decode()
    names = {name.lower() for name in request.headers}
    assert not {b"plimsoll-tenant", b"plimsoll-weight", b"plimsoll-alone", b"upgrade", b"expect", b"trailer"} & names
    assert b"plimsoll-deadline-ms" in names, "what the gateway itself says can't be taken away by naming it"


def test_many_connections_share_replicas_and_nobody_gets_anothers_answer(replica):
    """The victim's requests go over the same pooled connections as the attacker's."""

    async def main():
        async with GatewayHost() as host:
            host.series_may_end = True
            relay = Relay(host.folder, replica.address)
            await relay.start()
            endpoint = Endpoint("r0", REVISION, f"unix:{relay.path}")
            host.serve(ServiceView("puppet", REVISION, (Route("/puppet"),), (endpoint,), timeout_s=15.0))

            async def attack():
                for row in list(REFUSED.values())[:30]:
                    reader, writer = await asyncio.open_unix_connection(host.address.removeprefix("unix:"))
                    writer.write(FIRST + row + LAST)
                    await answers(reader)
                    writer.close()

            async def victim(name):
                client = await host.client()
                for number in range(60):
                    tag = f"{name}-{number}"
                    got = await client.ask("POST", "/puppet", b'{"tag":"%b"}' % tag.encode())
                    assert got.status == 200
                    assert tag.encode() in got.body
                client.close()

            await asyncio.gather(attack(), attack(), *(victim(name) for name in "abcd"))
            await host.quiet()
            targets = {request.target for request in relay.seen()}
            assert targets == {"/puppet?first", "/puppet"}
            relay.server.close()

    run("uvloop", main())
