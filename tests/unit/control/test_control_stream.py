import asyncio
import os
import shutil
import stat
import tempfile
from pathlib import Path

import msgspec
import pytest

from plimsoll.control.stream import SnapshotServer
from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import Endpoint, GatewayReport, Route, ServiceReport, ServiceView, Snapshot


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    yield path
    shutil.rmtree(path)


def snapshot(version: int, services: int = 1) -> Snapshot:
    views = tuple(
        ServiceView(
            f"mood-{n}", "mood-1234567", (Route("/mood"),), (Endpoint("mood-1234567-1", "mood-1234567", "unix:/r"),)
        )
        for n in range(services)
    )
    return Snapshot(version, views)


class Gateway:
    """A gateway as small as the protocol allows."""

    def __init__(self, name: str = "gateway-0") -> None:
        self.name = name

    async def connect(self, path: Path) -> "Gateway":
        self.reader, self.writer = await asyncio.open_unix_connection(str(path), limit=1 << 26)
        return self

    async def next(self) -> Snapshot:
        return msgspec.json.decode(await asyncio.wait_for(self.reader.readline(), 5), type=Snapshot)

    def report(self, version: int, *services: ServiceReport) -> None:
        self.writer.write(msgspec.json.encode(GatewayReport(self.name, version, services)) + b"\n")

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def served(folder: Path, on_report=None) -> SnapshotServer:
    server = SnapshotServer(folder / "control.sock", on_report=on_report)
    await server.start()
    return server


def test_the_newest_snapshot_comes_at_connect_and_each_change_after(folder):
    async def main() -> None:
        server = await served(folder)
        server.publish(snapshot(3))
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600
        gateway = await Gateway().connect(server.path)
        assert await gateway.next() == snapshot(3)
        server.publish(snapshot(4))
        assert await gateway.next() == snapshot(4)
        await gateway.close()
        await server.close()
        assert not server.path.exists()

    asyncio.run(main())


def test_acked_waits_for_every_gateway_and_gives_up_in_time(folder):
    async def main() -> None:
        server = await served(folder)
        server.publish(snapshot(2))
        assert not await server.acked(2, 0.01)  # nobody is connected
        first, second = await Gateway("a").connect(server.path), await Gateway("b").connect(server.path)
        waiting = asyncio.create_task(server.acked(2, 5, gateways=2))
        first.report(2)
        second.report(1)
        assert not await server.acked(2, 0.05, gateways=2)
        second.report(2)
        assert await waiting
        await second.close()
        assert await server.acked(2, 5)
        await first.close()
        await server.close()

    asyncio.run(main())


def test_reports_reach_the_book_and_leave_with_their_gateway(folder):
    async def main() -> None:
        arrived = asyncio.Queue()
        server = await served(folder, arrived.put_nowait)
        gateway = await Gateway().connect(server.path)
        gateway.report(1, ServiceReport("mood", 12.5, {"ok": 9}, p99_s=0.05))
        await asyncio.wait_for(arrived.get(), 5)
        assert server.reports.traffic("mood").requests_per_s == 12.5
        await gateway.close()
        assert await server.acked(99, 5, gateways=0)  # nobody is left to wait for
        assert server.reports.traffic("mood").requests_per_s == 0
        await server.close()

    asyncio.run(main())


def test_a_slow_gateway_gets_only_the_newest_snapshot(folder):
    async def main() -> None:
        server = await served(folder)
        server.publish(snapshot(1, services=3000))  # 600 kB: more than socket and buffer hold
        gateway = await Gateway().connect(server.path)
        await asyncio.wait_for(gateway.reader.readexactly(1), 5)  # the first is on its way
        gateway.reader._buffer[:0] = b"{"  # give the byte back
        gateway.reader._transport.pause_reading()
        for version in range(2, 60):
            server.publish(snapshot(version, services=3000))
            await asyncio.sleep(0)
        gateway.reader._transport.resume_reading()
        versions = [(await gateway.next()).version]
        while versions[-1] != 59:
            versions.append((await gateway.next()).version)
        assert len(versions) < 10, versions
        await gateway.close()
        await server.close()

    asyncio.run(main())


def test_a_broken_gateway_is_cut_and_the_others_stay(folder):
    async def main() -> None:
        server = await served(folder)
        server.publish(snapshot(1))
        good, bad = await Gateway("good").connect(server.path), await Gateway("bad").connect(server.path)
        assert (await bad.next()).version == 1
        bad.writer.write(b"not json\n")
        assert await asyncio.wait_for(bad.reader.read(), 5) == b""
        assert (await good.next()).version == 1
        server.publish(snapshot(2))
        assert (await good.next()).version == 2
        await good.close()
        await bad.close()
        await server.close()

    asyncio.run(main())


def test_a_path_that_cannot_be_bound_is_a_host_error(folder):
    async def main() -> None:
        with pytest.raises(HostError, match="cannot listen"):
            await SnapshotServer(folder / "missing" / "control.sock").start()

    asyncio.run(main())
