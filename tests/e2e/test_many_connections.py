"""Ten thousand idle connections, readers that don't read, heads that never end: a real gateway process goes on serving,
its memory stays bounded, and everything is closed afterwards."""

import asyncio
import contextlib
import resource
import shutil
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from tests.support.certificates import Authority, client_context
from tests.support.gateway_host import Client, run, until
from tests.support.tls_client import TlsClient

from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.control.stream import SnapshotServer
from plimsoll.core.snapshot import Endpoint, Route, ServiceView, Snapshot
from plimsoll.ports.spawner import ChildSpec
from plimsoll.wire.http1 import HttpServer
from plimsoll.wire.status import refusal

IDLE = 10_000
PER_PEER = 4096  # HttpSettings.max_connections_per_peer
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the addresses 127.0.0.1 to 127.0.0.9")


@pytest.fixture(autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Bulky:
    """A replica whose every answer is 1 MiB."""

    def __init__(self):
        self.requests = 0

    def on_request(self, exchange):
        self.requests += 1
        # With its load, as ours do: a server that says nothing of it gets a bound on what is under way.
        load = b"endpoint-load-metrics: TEXT named_metrics.wait_ms=0.00,named_metrics.item_ms=0.001\r\n"
        exchange.respond(200, b"plimsoll-outcome: ok\r\n" + load, bytes(2**20))

    def on_gone(self, exchange):
        pass

    def on_refused(self, error, arrived):
        return refusal(error)


class Front:
    """A gateway process on loopback TCP, with a replica of ours behind it."""

    def __init__(self, tls=None):
        self.tls = tls

    async def __aenter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gm", dir="/tmp"))
        self.replica = Bulky()
        self.server = HttpServer(self.replica)
        address = await self.server.start(f"unix:{self.folder}/r.sock")
        self.control = SnapshotServer(self.folder / "control.sock")
        view = ServiceView("mood", "mood-1111111", (Route("/mood"),), (Endpoint("r", "mood-1111111", address),))
        self.control.publish(Snapshot(1, (view,)))
        await self.control.start()
        self.spawner = ForkSpawner(self.folder)
        args = {"name": "g", "listen": ["tcp:127.0.0.1:0"], "control": f"unix:{self.folder}/control.sock"}
        events = asyncio.Queue()
        self.gone = asyncio.Event()
        self.child = await self.spawner.spawn(
            ChildSpec("plimsoll.app.gateway:main", args | ({"tls": self.tls} if self.tls else {})),
            on_status=events.put_nowait,
            on_exit=lambda _: self.gone.set(),
        )
        ready = await asyncio.wait_for(events.get(), 60)
        assert ready["event"] == "ready", ready
        self.address = ready["address"]
        self.port = int(self.address.rpartition(":")[2])
        self.process = psutil.Process(self.child.pid)
        self.files = self.process.num_fds()
        return self

    async def __aexit__(self, *_):
        await self.spawner.close()
        await self.server.close(0)
        await self.control.close()
        shutil.rmtree(self.folder)

    @property
    def memory(self):
        return self.process.memory_info().rss

    def clients(self):
        """Connections of clients that the gateway holds, in whatever state."""
        return sum(
            one.laddr.port == self.port and one.status != psutil.CONN_LISTEN
            for one in self.process.net_connections("tcp")
        )

    async def connect(self, number=0):
        """From one of nine addresses of this machine, each below the limit of one peer."""
        source = f"127.0.0.{number % 9 + 1}"
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))

    async def connect_many(self, count):
        found = []
        for start in range(0, count, 200):
            found += await asyncio.gather(*(self.connect(n) for n in range(start, min(start + 200, count))))
        return found

    async def serves(self):
        client = await Client.connect(self.address)
        got = await asyncio.wait_for(client.ask("POST", "/mood", b"{}"), 30)
        client.close()
        assert (got.status, len(got.body)) == (200, 2**20)

    async def all_closed(self):
        await until(lambda: self.process.num_fds() <= self.files + 2, 20)  # two: connections to the replica


def how_many():
    """Each side holds a descriptor a connection."""
    return min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000)


def test_ten_thousand_idle_connections():
    async def main():
        async with Front() as front:
            await front.serves()
            before, count = front.memory, how_many()
            held = await front.connect_many(count)
            for _, writer in held[:: count // 100]:
                writer.write(LIVE)  # idle after a request, too
            for reader, _ in held[:: count // 100]:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await until(lambda: front.process.num_fds() >= front.files + count)
            each = (front.memory - before) / count
            print(f"{count} idle connections, {each / 1024:.1f} KiB each")
            assert each < 12 * 1024
            await front.serves()
            for _, writer in held:
                writer.close()
            await front.all_closed()
            await front.serves()

    run("uvloop", main(), 100)


def test_idle_connections_over_tls(tmp_path):
    ca = Authority(tmp_path, "ca")
    cert, key = map(str, ca.server("server"))

    async def main():
        async with Front({"cert": cert, "key": key}) as front:
            count, context = 300, client_context(ca.cert)
            before = front.memory
            clients = [await (await TlsClient(context).connect(front.address)).handshake() for _ in range(count)]
            each = (front.memory - before) / count
            print(f"{count} idle connections over TLS, {each / 1024:.1f} KiB each")
            assert each < 100 * 1024
            halves = [await asyncio.open_connection("127.0.0.1", front.port) for _ in range(200)]
            await until(lambda: front.process.num_fds() >= front.files + count + 200)
            client = clients[7]
            await client.send(LIVE)
            assert (await client.answer(2)).startswith(b"HTTP/1.1 200 ")
            for one in clients:
                one.close()
            for _, writer in halves:
                writer.close()
            await front.all_closed()

    run("uvloop", main(), 60)


def test_one_address_can_not_take_every_connection():
    async def main():
        async with Front() as front:
            held = []
            for _ in range(PER_PEER // 64):
                held += await asyncio.gather(
                    *(asyncio.open_connection("127.0.0.1", front.port, local_addr=("127.0.0.9", 0)) for _ in range(64))
                )
            await until(lambda: front.process.num_fds() >= front.files + PER_PEER)
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port, local_addr=("127.0.0.9", 0))
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()
            await front.serves()  # from 127.0.0.1
            full = front.process.num_fds()
            held.pop()[1].close()
            await until(lambda: front.process.num_fds() < full)
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port, local_addr=("127.0.0.9", 0))
            writer.write(LIVE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            for _, one in [*held, (reader, writer)]:
                one.close()
            await front.all_closed()

    run("uvloop", main(), 60)


def test_readers_that_do_not_read():
    """60 clients ask for 100 MiB each and read nothing. What a few of them were sent is let be; when all of it together
    is more than `max_unsent_bytes`, those that hold most are cut."""

    async def main():
        async with Front() as front:
            await front.serves()
            before, count = front.memory, 60
            held = await front.connect_many(count)
            for _, writer in held:
                writer.transport.pause_reading()
                for _ in range(100):
                    writer.write(b"POST /mood HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")
            seen = -1
            while seen != front.replica.requests:  # until no further request gets through
                seen = front.replica.requests
                await asyncio.sleep(1.2)  # longer than two sweeps
            grown, left = (front.memory - before) / 2**20, front.clients()
            print(f"{seen / count:.0f} of 100 requests a client were taken, {left} clients left, {grown:.0f} MiB more")
            assert seen / count < 50  # HttpSettings.pipeline_depth, and what the kernel's buffers took meanwhile
            assert 20 < left < 50, "each holds about 31 MiB, and 1 GiB is the limit"
            assert grown < 2500, "1 GiB, what came in between two sweeps, and what the allocator keeps of it"
            await front.serves()
            for _, writer in held:
                writer.transport.abort()
            await until(lambda: front.clients() == 0, 20)  # connections to the replica stay open for a while

    run("uvloop", main(), 60)


def test_heads_that_never_end():
    """1,000 clients send a byte of a head now and then: each is told 408 ten seconds after its first byte."""

    async def main():
        async with Front() as front:
            before, count = front.memory, 1000
            held = await front.connect_many(count)
            for _, writer in held:
                writer.write(b"POST /mood HTTP/1.1\r\nhost: a\r\nx-slow: " + b"y" * 500)

            async def drip():
                while True:
                    for _, writer in held:
                        writer.write(b"z")
                    await asyncio.sleep(1)

            dripping = asyncio.ensure_future(drip())
            await front.serves()
            assert (front.memory - before) / count < 24 * 1024
            answers = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in held)), 50)
            dripping.cancel()
            assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
            for _, writer in held:
                writer.close()
            await front.all_closed()

    run("uvloop", main(), 60)
