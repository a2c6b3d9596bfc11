"""The stream from the controller, and the gateway's life: starting, reporting, draining."""

import asyncio
import logging
import os
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from tests.support.gateway_host import Client, GatewayHost, later, ok, until, view

from plimsoll.app.gateway import gateway_settings, is_local
from plimsoll.control.stream import SnapshotServer
from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import GatewayReport, Snapshot
from plimsoll.gateway import stream as stream_module


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stream_module, "_FIRST_WAIT_S", 0.005)
    monkeypatch.setattr(stream_module, "_LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(stream_module, "_REPORT_S", 0.05)


async def controller(path, snapshot=None):
    reports = []
    server = SnapshotServer(path, on_report=reports.append)
    if snapshot is not None:
        server.publish(snapshot)
    await server.start()
    return server, reports


class Controlled(GatewayHost):
    """A gateway with a real stream."""

    def __init__(self, **settings):
        super().__init__(start=False, **settings)
        self._given_control = True
        self.control = Path(self.folder) / "control.sock"

    async def start(self):
        self.addresses = await self.gateway.start()
        self.address = self.addresses[0]


def test_a_snapshot_takes_effect_and_is_acknowledged_at_once(play):
    async def main():
        async with Controlled() as host:
            replica = await host.replica("a")
            server, reports = await controller(host.control, Snapshot(5, (view("mood", replica),)))
            await host.start()
            assert (await host.post()).status == 200  # known before the door opens
            assert await server.acked(5, 2.0)
            before = len(reports)
            server.publish(Snapshot(6, (view("mood", replica), view("other"))))
            await until(lambda: reports[-1].version == 6)
            assert len(reports) <= before + 3
            assert [one.service for one in reports[-1].services] == ["mood", "other"]
            assert reports[-1].gateway == "gateway-0"
            assert host.metric("plimsoll_snapshot_version") == 6
            await server.close()

    play(main())


def test_reports_come_each_second_and_say_what_clients_got(play):
    async def main():
        async with Controlled() as host:
            replica = await host.replica("a")
            server, reports = await controller(host.control, Snapshot(1, (view("mood", replica),)))
            await host.start()
            for _ in range(3):
                await host.post()
            await host.ask("POST", host.PATH, b"{}", [("plimsoll-deadline-ms", "0")])
            count = len(reports)
            await until(lambda: len(reports) >= count + 3)
            (mood,) = reports[-1].services
            assert mood.outcomes == {"ok": 3, "expired": 1}
            assert mood.p50_s > 0
            assert mood.in_flight == mood.held == 0
            await server.close()

    play(main())


def test_the_controller_dies_and_the_gateway_serves_on(play):
    async def main():
        async with Controlled() as host:
            replica = await host.replica("a")
            server, _ = await controller(host.control, Snapshot(7, (view("mood", replica),)))
            await host.start()
            await server.close()
            await until(lambda: not host.gateway._stream.connected)
            assert (await host.post()).status == 200
            assert host.metric("plimsoll_snapshot_version") == 7
            # One that is back, and knows nothing yet, takes nothing away.
            server, reports = await controller(host.control)
            await until(lambda: reports)
            assert reports[0].version == 7
            assert (await host.post()).status == 200
            server.publish(Snapshot(1, (view("other", replica),)))
            await until(lambda: reports[-1].version == 1)
            host.series_may_end = True
            assert (await host.post()).status == 404
            assert (await host.post("/v2/models/other/infer")).status == 200
            await server.close()

    play(main())


def test_a_controller_that_hangs_up_is_asked_less_and_less(play, monkeypatch):
    async def main():
        async with Controlled() as host:
            monkeypatch.setattr(stream_module, "_LONGEST_WAIT_S", 10.0)
            attempts = []

            async def hang_up(reader, writer):
                attempts.append(asyncio.get_running_loop().time())
                writer.close()

            server = await asyncio.start_unix_server(hang_up, str(host.control))
            starting = asyncio.ensure_future(host.start())
            await until(lambda: len(attempts) == 5)
            gaps = [later - before for before, later in pairwise(attempts)]
            for doublings, gap in enumerate(gaps):  # a busy machine makes them longer, nothing makes them shorter
                assert gap > 0.8 * stream_module._FIRST_WAIT_S * 2**doublings, gaps
            server.close()
            await starting

    play(main())


def test_a_malformed_line_does_not_end_the_stream(play, caplog):
    async def main():
        async with Controlled() as host:
            replica = await host.replica("a")
            reports, connections = [], []

            async def serve(reader, writer):
                connections.append(writer)
                good = msgspec.json.encode(Snapshot(3, (view("mood", replica),)))
                writer.write(
                    b'{"version":"x"}\nnot json\n[]\n\xff\xfe\n' + good + b"\n" + b'{"version": 4, "services": 7}\n'
                )
                while line := await reader.readline():
                    reports.append(msgspec.json.decode(line, type=GatewayReport))

            server = await asyncio.start_unix_server(serve, str(host.control))
            await host.start()
            await until(lambda: len(reports) >= 3)
            assert {report.version for report in reports} == {3}
            assert len(connections) == 1
            assert (await host.post()).status == 200
            server.close()
            connections[0].close()

    with caplog.at_level(logging.ERROR):
        play(main())
    assert sum("no snapshot" in record.message for record in caplog.records) == 5


def test_a_snapshot_that_breaks_the_gateway_is_not_acknowledged(play, caplog):
    async def main():
        async with Controlled() as host:
            replica = await host.replica("a")
            server, reports = await controller(host.control, Snapshot(1, (view("mood", replica),)))
            await host.start()
            take = host.door.take

            def broken(snapshot):
                if snapshot.version == 2:
                    raise KeyError("a bug of ours")
                take(snapshot)

            host.door.take = broken
            server.publish(Snapshot(2, ()))
            await until(lambda: any("did not take effect" in record.message for record in caplog.records))
            assert (await host.post()).status == 200
            server.publish(Snapshot(3, (view("mood", replica),)))
            await until(lambda: reports[-1].version == 3)
            assert 2 not in {report.version for report in reports}
            await server.close()

    play(main())


def test_starting_without_a_controller(play, monkeypatch):
    monkeypatch.setattr("plimsoll.gateway.gateway._FIRST_SNAPSHOT_S", 0.05)

    async def main():
        async with Controlled() as host:
            await host.start()
            assert (await host.ask("GET", "/v2/health/ready", page=True)).status == 503
            assert (await host.post()).status == 404
            server, reports = await controller(host.control, Snapshot(1, ()))
            await until(lambda: reports)
            assert (await host.ask("GET", "/v2/health/ready", page=True)).status == 200
            await server.close()

    play(main())


def test_a_taken_port_is_a_host_error_and_leaves_nothing(play):
    async def main():
        async with GatewayHost(tcp=True) as host:
            taken = host.address
            other = GatewayHost(listen=(f"unix:{host.folder}/x.sock", taken))
            with pytest.raises(HostError, match="taken"):
                await other.__aenter__()
            assert "x.sock" not in os.listdir(host.folder)
            assert other.gateway._streaming.done()
            os.rmdir(other.folder)

    play(main())


def test_drain_answers_what_is_here_and_releases_the_port(play):
    async def main():
        async with GatewayHost(tcp=True) as host:
            go = asyncio.Event()
            replica = await host.replica("a", later(ok, go))
            host.serve(view("mood", replica))
            idle = await host.client()
            replica.scripts = [ok]
            assert (await idle.ask("POST", host.PATH)).status == 200
            host.seen["ok"] += 1
            busy = await host.client()
            busy.send("POST", host.PATH, b"[1]")
            await replica.got(2)
            draining = asyncio.ensure_future(host.gateway.drain())
            assert await idle.ended()
            with pytest.raises(OSError):  # noqa: PT011 # refused or reset
                await Client.connect(host.address)
            go.set()
            got = await busy.receive()
            host.seen["ok"] += 1
            assert (got.status, got.body, got["connection"]) == (200, b"[1]", "close")
            busy.close()  # as a client does that is told `close`; the server lingers for it
            await asyncio.wait_for(draining, 2)
            idle.close()
            await until(lambda: replica.connections == 0)
            again = GatewayHost(listen=(host.address,))
            async with again:
                again.serve()
                assert (await again.ask("GET", "/v2", page=True)).status == 200

    play(main())


def test_drain_does_not_wait_for_ever(play):
    async def main():
        async with GatewayHost(drain_s=0.05) as host:
            replica = await host.replica("a", lambda *_: None)
            host.serve(view("mood", replica), view("empty"))
            clients = []
            for path in (host.PATH, "/v2/models/empty/infer"):
                client = await host.client()
                client.send("POST", path)
                clients.append(client)
            await replica.got(1)
            await until(lambda: host.door.in_flight == 2)
            await asyncio.wait_for(host.gateway.drain(), 2)
            assert host.door.in_flight == 0
            host.cancelled += 2
            for client in clients:
                client.close()

    play(main())


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("tcp:127.0.0.1:8080", True),
        ("tcp:127.9.9.9:8080", True),
        ("tcp:[::1]:8080", True),
        ("tcp:localhost:8080", True),
        ("unix:/tmp/x", True),
        ("tcp:0.0.0.0:8080", False),
        ("tcp:[::]:8080", False),
        ("tcp:10.0.0.7:8080", False),
        ("tcp:models.example:8080", False),
    ],
)
def test_metrics_stand_at_the_door_only_where_it_is_local(address, local):
    assert is_local(address) is local
    args = {"name": "g", "listen": ["unix:/tmp/y", address], "control": "unix:/tmp/c"}
    assert gateway_settings(args).metrics_on_door is local
    assert gateway_settings({**args, "metrics_on_door": True}).metrics_on_door
