"""The admin API on real sockets."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import tempfile
from pathlib import Path

import httpx
import pytest
import uvloop

from plimsoll.backends.fake.backend import FakeBackend, ManualClock
from plimsoll.control.admin_server import AdminServer
from plimsoll.control.controller import Controller
from plimsoll.core.errors import HostError


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    yield path
    shutil.rmtree(path)


def controller_in(folder):
    clock = ManualClock()
    return Controller(FakeBackend(clock), run_dir=folder, clock=clock)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_both_sockets_serve_and_only_tcp_asks_who_speaks(folder, loop):
    async def main():
        controller, path = controller_in(folder), folder / "admin.sock"
        server = AdminServer(controller, tcp=("127.0.0.1", 0), unix=path)
        handlers = signal.getsignal(signal.SIGINT)
        await server.start()
        assert signal.getsignal(signal.SIGINT) is handlers  # Ctrl-C stays the caller's
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        base = f"http://localhost:{server.port}"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as tcp:
            assert (await tcp.get("/v1/services")).json() == {"services": []}
            rebound = await tcp.get("/v1/services", headers={"host": "evil.example"})
            assert (rebound.status_code, list(rebound.json())) == (421, ["error", "errors"])
            assert (await tcp.get("/healthz", headers={"origin": "http://evil.example"})).status_code == 403
            change = await tcp.post("/v1/services", json={"documents": []})
            assert (change.status_code, "only reads" in change.json()["error"]) == (403, True)
            assert (await tcp.delete("/v1/services/x")).status_code == 403
            same = {"host": base.removeprefix("http://"), "origin": base}
            assert (await tcp.get("/healthz", headers=same)).status_code == 200
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://x") as unix:
            assert (await unix.get("/v1/services")).status_code == 200
            assert (await unix.delete("/v1/services/x")).status_code == 404
            async with unix.stream("GET", "/v1/events?follow=1") as following:
                await controller.close()
                assert [line async for line in following.aiter_lines()] == []
        await asyncio.wait_for(server.close(), 5)
        assert not path.exists()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_a_follower_that_stays_does_not_hold_the_end_up(folder):
    async def main():
        server = AdminServer(controller_in(folder), tcp=None, unix=folder / "admin.sock")
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(folder / "admin.sock"))
        writer.write(b"GET /v1/events?follow=1 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.wait_for(server.close(), 5)
        writer.close()

    asyncio.run(main())


def test_a_taken_port_says_what_to_do(folder):
    async def main():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            server = AdminServer(controller_in(folder), tcp=("127.0.0.1", port), unix=folder / "admin.sock")
            with pytest.raises(HostError, match=f"port {port} is taken .*; choose another with --admin-port"):
                await server.start()

    asyncio.run(main())


def test_it_never_listens_for_other_machines(folder):
    with pytest.raises(HostError, match="loopback alone"):
        asyncio.run(AdminServer(controller_in(folder), tcp=("0.0.0.0", 0)).start())
