"""The same classes over real sockets, on both loops."""

import asyncio
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from plimsoll.core.errors import HostError
from plimsoll.wire.http1 import ClientConnection, HttpServer, HttpSettings, encode_request_head
from plimsoll.wire.http1.listen import UNIX_PATH_BYTES

GET = encode_request_head("GET", "/x", [(b"host", b"a")])
LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
QUICK = HttpSettings(sweep_s=0.02)


@pytest.fixture(params=["tcp", "unix"])
def address(request, folder):
    return "tcp:127.0.0.1:0" if request.param == "tcp" else f"unix:{folder}/s"


def exists(path):
    return os.path.lexists(path)


def put_file(path):
    Path(path).write_text("precious")


async def until(condition):
    """`kit.run` fails the test after a minute."""
    while not condition():  # noqa: ASYNC110 # what is awaited has no event
        await asyncio.sleep(0.001)


async def connect(address):
    scheme, _, rest = address.partition(":")
    if scheme == "unix":
        return await asyncio.open_unix_connection(rest)
    return await asyncio.open_connection("127.0.0.1", int(rest.rpartition(":")[2]))


@LOOPS
def test_requests_over_a_socket(kit, loop, address):
    async def main():
        body = os.urandom(3_000_000)
        application = kit.Application(lambda exchange: (200, b"", exchange.body))
        server = HttpServer(application)
        bound = await server.start(address)
        connection = await ClientConnection.connect(bound)
        for content in (b"", b"abc", body):
            receiver = kit.Receiver()
            length = b"%d" % len(content)
            connection.send(
                encode_request_head("POST", "/", [(b"host", b"a"), (b"content-length", length)]), content, receiver
            )
            await receiver.ended.wait()
            [(status, headers, answer)] = receiver.answers
            assert status == 200
            assert headers == [(b"content-length", length)]
            assert answer == content
            assert connection.idle
        await server.close(1)
        assert connection.closed or not await asyncio.sleep(0.05)
        assert connection.closed
        assert server.connections == 0

    kit.run(loop, main())


@LOOPS
def test_tcp_answers_are_not_delayed(kit, loop):
    async def main():
        server = HttpServer(kit.Application())
        bound = await server.start("tcp:127.0.0.1:0")
        connection = await ClientConnection.connect(bound)
        await until(lambda: server.connections)
        [accepted] = server._connections
        for transport in (accepted.transport, connection._transport):
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.close()
        await server.close()

    kit.run(loop, main())


@LOOPS
def test_a_half_closed_client_gets_its_answer(kit, loop, address):
    async def main():
        application = kit.Application(hold=True)
        server = HttpServer(application, QUICK)
        reader, writer = await connect(await server.start(address))
        writer.write(GET)
        writer.write_eof()
        await until(lambda: application.exchanges)
        await asyncio.sleep(0.005)
        application.exchanges[0].respond(200, b"", b"late")
        assert (await reader.read()).endswith(b"\r\n\r\nlate")
        assert application.gone == []
        writer.close()
        await server.close()

    kit.run(loop, main())


@LOOPS
def test_a_client_that_leaves_is_noticed(kit, loop, address):
    async def main():
        application = kit.Application(hold=True)
        server = HttpServer(application, QUICK)
        _, writer = await connect(await server.start(address))
        writer.write(GET)
        await until(lambda: application.exchanges)
        writer.close()
        await until(lambda: application.gone)
        assert application.gone == application.exchanges
        application.exchanges[0].respond(200, b"", b"")
        await server.close()

    kit.run(loop, main())


@LOOPS
def test_a_refusal_reaches_a_client_that_is_still_sending(kit, loop, address):
    async def main():
        server = HttpServer(kit.Application(), HttpSettings(max_body_bytes=1000))
        reader, writer = await connect(await server.start(address))
        size = 4_000_000
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        await writer.drain()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"larger than 1000 bytes\n")
        writer.close()
        await server.close()

    kit.run(loop, main())


@LOOPS
def test_half_a_request_times_out(kit, loop):
    async def main():
        server = HttpServer(kit.Application(), HttpSettings(head_timeout_s=0.03, sweep_s=0.01, linger_s=0.01))
        reader, writer = await connect(await server.start("tcp:127.0.0.1:0"))
        writer.write(GET[:10])
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await server.close()

    kit.run(loop, main())


@LOOPS
def test_a_reader_that_stalls_is_cut(kit, loop, address):
    if loop == "asyncio" and sys.version_info >= (3, 12):
        pytest.skip("asyncio's writelines pauses nobody from Python 3.12 on; uvloop's, which is what runs, does")

    async def main():
        application = kit.Application(lambda exchange: (200, b"", b"x" * 20_000_000))
        server = HttpServer(application, HttpSettings(write_timeout_s=0.5, sweep_s=0.01, min_bytes_per_s=10**9))
        _, writer = await connect(await server.start(address))
        writer.transport.pause_reading()
        writer.write(GET)
        await until(lambda: application.exchanges)
        [accepted] = server._connections
        assert accepted.paused
        await until(lambda: not server.connections)
        writer.close()
        await server.close()

    kit.run(loop, main())


@LOOPS
def test_closing_answers_what_is_in_flight(kit, loop, address):
    async def main():
        application = kit.Application(hold=True)
        server = HttpServer(application)
        bound = await server.start(address)
        busy = await ClientConnection.connect(bound)
        idle = await ClientConnection.connect(bound)
        receiver = kit.Receiver()
        busy.send(GET, b"", receiver)
        await until(lambda: application.exchanges)
        closing = asyncio.create_task(server.close(15))
        await until(lambda: idle.closed)
        with pytest.raises(OSError):  # noqa: PT011 # refused or not found, by kind of socket
            await ClientConnection.connect(bound)
        application.exchanges[0].respond(200, b"", b"last")
        await receiver.ended.wait()
        assert receiver.answers == [(200, [(b"connection", b"close"), (b"content-length", b"4")], b"last")]
        await closing

    kit.run(loop, main())


@LOOPS
def test_grace_ends(kit, loop):
    async def main():
        application = kit.Application(hold=True)
        server = HttpServer(application)
        connection = await ClientConnection.connect(await server.start("tcp:127.0.0.1:0"))
        receiver = kit.Receiver()
        connection.send(GET, b"", receiver)
        await until(lambda: application.exchanges)
        await server.close(0.02)
        assert application.gone == application.exchanges
        await receiver.ended.wait()
        assert len(receiver.losses) == 1
        await server.close(0.02)  # closing twice does nothing

    kit.run(loop, main())


def test_a_unix_socket_is_its_owners_alone_and_goes_with_the_server(kit, folder):
    async def main():
        server = HttpServer(kit.Application())
        path = f"{folder}/s"
        assert await server.start(f"unix:{path}") == f"unix:{path}"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with pytest.raises(HostError, match="another process is answering"):
            await HttpServer(kit.Application()).start(f"unix:{path}")
        assert exists(path)
        await server.close()
        assert not exists(path)

    kit.run("uvloop", main())


def test_a_stale_socket_is_replaced_and_another_file_is_not(kit, folder):
    async def main():
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(f"{folder}/s")
        stale.close()
        server = HttpServer(kit.Application())
        await server.start(f"unix:{folder}/s")
        os.unlink(f"{folder}/s")
        put_file(f"{folder}/s")
        with pytest.raises(HostError, match="no socket"):
            await HttpServer(kit.Application()).start(f"unix:{folder}/s")
        await server.close()
        assert exists(f"{folder}/s")  # it is not the one that the server made

    kit.run("uvloop", main())


def test_a_unix_path_that_is_too_long(kit, folder):
    path = folder + "/" + "x" * UNIX_PATH_BYTES
    with pytest.raises(HostError, match=f"allows {UNIX_PATH_BYTES}"):
        kit.run("uvloop", HttpServer(kit.Application()).start(f"unix:{path}"))
    with pytest.raises(HostError, match="No such file"):
        kit.run("uvloop", HttpServer(kit.Application()).start(f"unix:{folder}/none/s"))


@LOOPS
def test_a_taken_port(kit, loop):
    async def main():
        server = HttpServer(kit.Application())
        bound = await server.start("tcp:127.0.0.1:0")
        port = bound.rpartition(":")[2]
        with pytest.raises(HostError, match=f"port {port} is taken by another process; choose another with --port"):
            await HttpServer(kit.Application()).start(bound)
        await server.close()

    kit.run(loop, main())


def test_ports_are_shared_on_request(kit):
    async def main():
        settings = HttpSettings(reuse_port=True)
        first, second = HttpServer(kit.Application(), settings), HttpServer(kit.Application(), settings)
        assert await second.start(await first.start("tcp:127.0.0.1:0"))
        await first.close()
        await second.close()

    kit.run("uvloop", main())


@LOOPS
def test_a_socket_that_is_bound_already(kit, loop):
    async def main():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        server = HttpServer(kit.Application())
        bound = await server.start(sock)
        assert bound == f"tcp:127.0.0.1:{sock.getsockname()[1]}"
        connection = await ClientConnection.connect(bound)
        connection.close()
        await server.close()

    kit.run(loop, main())
