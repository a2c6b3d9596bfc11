"""What a gateway says to its log: the few events an operator needs, and nothing of what was asked."""

import logging
from hashlib import blake2b
from pathlib import Path

import pytest
from tests.support.gateway_host import GatewayHost, crash, crash_computing, ok, until, view

from plimsoll.control.stream import SnapshotServer
from plimsoll.core.snapshot import Snapshot
from plimsoll.gateway import stream as stream_module
from plimsoll.telemetry.logs import fields_of


@pytest.fixture
def log():
    records = []

    class Keeper(logging.Handler):
        def emit(self, record):
            records.append(record)

    keeper, logger = Keeper(), logging.getLogger("plimsoll")
    level = logger.level
    logger.addHandler(keeper)
    logger.setLevel(logging.INFO)
    yield lambda text="": [record for record in records if text in record.getMessage()]
    logger.removeHandler(keeper)
    logger.setLevel(level)


def test_losses_and_a_quarantined_body_by_its_digest(play, log):
    async def main():
        async with GatewayHost() as host:
            a, b = await host.replica("a"), await host.replica("b")
            host.serve(view("mood", a, b))
            before = len(log())
            for _ in range(5):
                assert (await host.post()).status == 200
            assert len(log()) == before, "a line per request"

            def poisoned(replica, exchange):
                (crash_computing if exchange.header(b"plimsoll-alone") else crash)(replica, exchange)

            a.script = b.script = poisoned
            assert (await host.post(body=b'"secret"')).status == 503
            lost = log("replica lost: ")
            assert sorted(fields_of(record)["replica"] for record in lost) == ["a", "b"]
            (record,) = log("body quarantined")
            assert fields_of(record)["digest"] == blake2b(b'"secret"', digest_size=16).hexdigest()
            assert not [record for record in log() if "secret" in str(record.__dict__)]
            count = len(log())
            for _ in range(5):
                await host.post(body=b'"secret"')
            assert len(log()) == count

    play(main())


def test_many_losses_of_one_replica_are_one_line(play, log):
    async def main():
        async with GatewayHost() as host:
            a, b = await host.replica("a", crash), await host.replica("b", ok)
            host.serve(view("mood", a, b))
            for _ in range(10):
                assert (await host.post()).status == 200
            assert len(log("replica lost")) <= 1

    play(main())


def test_an_outage_is_said_once_and_its_end(play, log):
    async def main():
        async with GatewayHost() as host:
            a, b = await host.replica("a"), await host.replica("b")
            host.serve(view("mood", a, b))
            a.kill()
            for _ in range(20):
                assert (await host.post()).status == 200
            assert len(log("replica unreachable")) <= 1

    play(main())


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(stream_module, "_FIRST_WAIT_S", 0.005)
    monkeypatch.setattr(stream_module, "_LONGEST_WAIT_S", 0.02)


def test_snapshots_and_the_stream(play, log, quick):
    async def main():
        class Controlled(GatewayHost):
            def __init__(self):
                super().__init__(start=False)
                self._given_control = True  # it waits for a first snapshot

        async with Controlled() as host:
            path = Path(host.folder) / "control.sock"
            replica = await host.replica("a")
            server = await _serve(path, Snapshot(5, (view("mood", replica),)))
            host.addresses = await host.gateway.start()
            host.address = host.addresses[0]
            (taken,) = log("snapshot taken")
            assert fields_of(taken) == {"version": 5, "services": 1, "endpoints": 1}
            assert fields_of(log("gateway ready")[0])["snapshot"] == 5
            await server.close()
            await until(lambda: log("stream ended"))
            assert not log("stream is back")
            server = await _serve(path, Snapshot(6, (view("mood", replica),)))
            await until(lambda: log("stream is back"))
            await until(lambda: len(log("snapshot taken")) == 2)
            assert len(log("stream ended")) == 1
            await server.close()

    play(main())


async def _serve(path, snapshot):
    server = SnapshotServer(path, on_report=lambda report: None)
    server.publish(snapshot)
    await server.start()
    return server
