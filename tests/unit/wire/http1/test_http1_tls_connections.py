"""What TCP does, under TLS: goodbyes, cuts, refusals while one sends, slow readers."""

import asyncio

import pytest
from tests.support.certificates import client_context
from tests.support.tls_client import TlsClient
from tests.unit.wire.http1.tls_kit import ADDRESS, GET, LOOPS, VERSIONS, files, served, until

__all__ = ["files"]  # a fixture


@LOOPS
@VERSIONS
def test_who_says_goodbye_still_gets_the_answers(kit, loop, version, files):
    async def main():
        application = kit.Application(hold=True)
        server = served(kit, application, files.settings())
        client = await TlsClient(client_context(files.ca.cert, version=version)).connect(await server.start(ADDRESS))
        await client.handshake()
        await client.send(GET)
        client.say_goodbye()
        await until(lambda: application.exchanges)
        await asyncio.sleep(0.005)
        application.exchanges[0].respond(200, b"", b"late")
        client.writer.write_eof()
        raw = await client.reader.read()  # Python's read refuses what comes after its own goodbye; the bytes are there
        assert len(raw) > len(b"late")
        assert application.gone == []
        client.close()
        await until(lambda: not server.connections)
        await server.close(0)

    kit.run(loop, main())


@LOOPS
@pytest.mark.parametrize("how", ["cut", "close", "reset"])
def test_a_client_that_leaves_is_noticed(kit, loop, how, files):
    """ "cut": its TCP end of file comes without a goodbye. What it sent is not trusted to be whole; it is gone."""

    async def main():
        application = kit.Application(hold=True)
        server = served(kit, application, files.settings())
        client = await TlsClient(client_context(files.ca.cert)).connect(await server.start(ADDRESS))
        await client.handshake()
        await client.send(GET)
        await until(lambda: application.exchanges)
        if how == "cut":
            client.writer.write_eof()
        elif how == "close":
            client.say_goodbye()
            client.close()
        else:
            client.writer.transport.abort()
        await until(lambda: application.gone)
        assert application.gone == application.exchanges
        application.exchanges[0].respond(200, b"", b"")
        client.close()
        await until(lambda: not server.connections)
        await server.close(0)

    kit.run(loop, main())


@LOOPS
def test_a_refusal_reaches_a_client_that_is_still_sending(kit, loop, files):
    async def main():
        server = served(kit, kit.Application(), files.settings(), max_body_bytes=1000)
        client = await TlsClient(client_context(files.ca.cert)).connect(await server.start(ADDRESS))
        await client.handshake()
        await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n" + b"x" * 4_000_000)
        await client.writer.drain()
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert client.ended == "close_notify"
        client.close()
        await until(lambda: not server.connections)
        await server.close(0)

    kit.run(loop, main())


@LOOPS
def test_a_slow_reader_is_bounded_and_cut(kit, loop, files):
    async def main():
        application = kit.Application(lambda exchange: (200, b"", b"x" * 1_000_000))
        server = served(
            kit, application, files.settings(), write_timeout_s=0.5, sweep_s=0.01, min_bytes_per_s=10**9,
            pipeline_depth=4,
        )  # fmt: skip
        client = await TlsClient(client_context(files.ca.cert)).connect(await server.start(ADDRESS))
        await client.handshake()
        client.writer.transport.pause_reading()
        await until(lambda: server.connections)
        [accepted] = server._connections
        for _ in range(100):
            await client.send(GET)
            await asyncio.sleep(0)
        await until(lambda: accepted.paused)
        assert accepted.transport.get_write_buffer_size() < 110_000_000
        assert len(application.exchanges) < 100, "reading goes on although nobody takes the answers"
        await until(lambda: not server.connections)
        client.close()
        await server.close(0)

    kit.run(loop, main())


@LOOPS
def test_a_cut_answer_is_not_taken_for_a_whole_one(kit, loop, files):
    """close_notify comes only where everything was said."""

    async def main():
        application = kit.Application(hold=True)
        server = served(kit, application, files.settings())
        client = await TlsClient(client_context(files.ca.cert)).connect(await server.start(ADDRESS))
        await client.handshake()
        await client.send(GET)
        await until(lambda: application.exchanges)
        await server.close(0)  # no grace: cut
        assert await client.receive() == b""
        assert client.ended in ("cut", "reset")
        client.close()

    kit.run(loop, main())
