"""The stream over TCP and TLS: nothing is told before a gateway has shown a token that holds."""

import asyncio
import json
import logging

import msgspec
import pytest
from tests.support.certificates import Authority, client_context

from plimsoll.control.stream import SnapshotServer, TcpListen
from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import GatewayReport, Snapshot
from plimsoll.wire.http1.tls import TlsSettings, make_context

GOOD = "gateway-token-1"
GREETING = json.dumps({"token": GOOD}).encode() + b"\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture(scope="module")
def pair(authority):
    return authority.server("first")


class Stage:
    """A server on a free port, and gateways that connect to it."""

    def __init__(self, authority, pair, **more):
        self.authority, self.pair, self.asked, self.reports = authority, pair, [], asyncio.Queue()
        self.answer = None
        listen = TcpListen("127.0.0.1", 0, self.context, self.check, **more)
        self.server = SnapshotServer(None, on_report=self.reports.put_nowait, tcp=listen)
        self.server.publish(Snapshot(7))

    def context(self):
        return make_context(TlsSettings(*map(str, self.pair)))

    async def check(self, token):
        self.asked.append(token)
        if self.answer is not None:
            raise self.answer
        return token == GOOD

    async def connect(self, first=GREETING):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, ssl=client_context(self.authority.cert), server_hostname="localhost"
        )
        writer.write(first)
        return reader, writer


def run(stage_of, test):
    async def main():
        stage = stage_of()
        await stage.server.start()
        try:
            async with asyncio.timeout(20):
                await test(stage)
        finally:
            await stage.server.close()

    asyncio.run(main())


def test_a_gateway_with_a_good_token_gets_snapshots_and_is_heard(authority, pair):
    async def test(stage):
        reader, writer = await stage.connect()
        assert msgspec.json.decode(await reader.readline(), type=Snapshot) == Snapshot(7)
        writer.write(msgspec.json.encode(GatewayReport("gateway-0", 7)) + b"\n")
        assert (await stage.reports.get()).gateway == "gateway-0"
        stage.server.publish(Snapshot(8))
        assert msgspec.json.decode(await reader.readline(), type=Snapshot) == Snapshot(8)
        assert stage.asked == [GOOD]
        writer.close()

    run(lambda: Stage(authority, pair), test)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (b'{"token": "somebody-else"}\n', "token is not a gateway's"),
        (b'{"gateway": "gateway-0", "version": 7}\n', "first line is no"),
        (b"GET / HTTP/1.1\r\n\r\n", "first line is no"),
        (b'{"token": "' + b"x" * 20_000 + b'"}\n', "first line is too long"),
        (b"x" * (2 << 20), "could not be checked"),
    ],
)
def test_anybody_else_hears_nothing(authority, pair, first, said, caplog):
    async def test(stage):
        reader, writer = await stage.connect(first)
        assert await reader.read() == b""
        assert stage.server.reports.gateways == ()
        writer.close()

    with caplog.at_level(logging.WARNING):
        run(lambda: Stage(authority, pair), test)
    assert said in caplog.text
    assert "somebody-else" not in caplog.text, "a token is a secret"


def test_a_check_that_fails_refuses(authority, pair, caplog):
    async def test(stage):
        stage.answer = ConnectionError("the API server does not answer")
        reader, writer = await stage.connect()
        assert await reader.read() == b""
        stage.answer = None
        reader, writer = await stage.connect()
        assert await reader.readline() != b""
        writer.close()

    run(lambda: Stage(authority, pair), test)
    assert "the API server does not answer" in caplog.text


def test_one_that_never_greets_is_cut(authority, pair):
    async def test(stage):
        reader, writer = await stage.connect(b"")
        assert await reader.read() == b""
        assert stage.asked == []
        writer.close()

    run(lambda: Stage(authority, pair, greeting_s=0.1), test)


def test_a_gateway_that_falls_silent_is_forgotten(authority, pair):
    async def test(stage):
        reader, writer = await stage.connect()
        writer.write(msgspec.json.encode(GatewayReport("gateway-0", 7)) + b"\n")
        await stage.reports.get()
        assert stage.server.reports.gateways == ("gateway-0",)
        await reader.readline()
        assert await reader.read() == b"", "its node may have died without a word"
        assert stage.server.reports.gateways == ()
        writer.close()

    run(lambda: Stage(authority, pair, silent_s=0.2), test)


def test_the_next_connection_gets_a_rotated_certificate(authority, pair):
    second = authority.server("second")

    async def test(stage):
        seen = []
        for certificate in (pair, second):
            stage.pair = certificate
            _, writer = await stage.connect()
            seen.append(writer.get_extra_info("peercert")["serialNumber"])
            writer.close()
        assert seen[0] != seen[1]

    run(lambda: Stage(authority, pair), test)


def test_a_port_that_is_taken_is_a_host_error(authority, pair):
    async def test(stage):
        listen = TcpListen("127.0.0.1", stage.server.port, stage.context, stage.check)
        with pytest.raises(HostError, match="cannot listen for gateways"):
            await SnapshotServer(None, tcp=listen).start()

    run(lambda: Stage(authority, pair), test)
