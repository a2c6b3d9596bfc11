"""Gateways are kept running: a fake spawner in place of processes."""

import asyncio
import signal
from pathlib import Path

import pytest

from plimsoll.app import gateways as module
from plimsoll.app.gateways import GatewayPlan, Gateways, TlsFiles, gateway_plans, make_audit_folder
from plimsoll.core.errors import HostError, UserError

PLAN = GatewayPlan("gateway-0", {"name": "gateway-0"}, "/dev/null", {"tcp:x": 7})


class Child:
    def __init__(self, on_exit, stubborn):
        self.pid, self.signals, self._on_exit, self._stubborn = 1, [], on_exit, stubborn

    def signal(self, number):
        self.signals.append(number)
        if number == signal.SIGKILL or not self._stubborn:
            self.end(0 if number == signal.SIGTERM else -number)

    def end(self, status):
        asyncio.get_running_loop().call_soon(self._on_exit, status)


class Spawner:
    def __init__(self, *, says=({"event": "ready"},), stubborn=False):
        self.children, self.specs, self.fds, self.says, self.stubborn = [], [], [], says, stubborn
        self.news = asyncio.Event()

    async def spawn(self, spec, *, on_status, on_exit, fds=None):
        child = Child(on_exit, self.stubborn)
        self.children.append(child)
        self.news.set()
        self.specs.append(spec)
        self.fds.append(fds)
        for event in self.says:
            asyncio.get_running_loop().call_soon(on_status, event)
            if event["event"] == "failed":
                child.end(3)
        return child


def test_one_that_dies_is_started_again_with_the_same_socket(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_FIRST_S", 0.001)

    async def run():
        spawner, told = Spawner(), []
        gateways = Gateways(spawner, [PLAN], told.append)
        await gateways.start()
        spawner.news.clear()
        spawner.children[0].end(-signal.SIGKILL)
        await asyncio.wait_for(spawner.news.wait(), 5)
        assert told == ["gateway-0 ended (signal SIGKILL); starting it again"]
        assert spawner.fds == [{"tcp:x": 7}] * 2
        await gateways.close(1.0)
        assert spawner.children[1].signals == [signal.SIGTERM]
        assert len(spawner.children) == 2

    asyncio.run(run())


def test_one_that_does_not_start_says_why():
    async def run():
        gateways = Gateways(Spawner(says=({"event": "failed", "reason": "no room"},)), [PLAN], print)
        with pytest.raises(HostError, match="gateway-0 did not start: no room"):
            await gateways.start()

    asyncio.run(run())


def test_one_that_does_not_drain_is_killed():
    async def run():
        spawner = Spawner(stubborn=True)
        gateways = Gateways(spawner, [PLAN], print)
        await gateways.start()
        await gateways.close(0.01)
        assert spawner.children[0].signals == [signal.SIGTERM, signal.SIGKILL]

    asyncio.run(run())


class Door:
    address = "tcp:127.0.0.1:8080"

    def fileno(self, number):
        return 10 + number


def test_each_gateway_is_told_its_own_socket_and_files(tmp_path):
    tls = TlsFiles(Path("cert.pem"), Path("key.pem"))
    one, two = gateway_plans(tmp_path, Door(), 2, tls=tls, audit=tmp_path / "audit")
    assert (one.fds, two.fds) == ({Door.address: 10}, {Door.address: 11})
    assert two.args["audit"] == str(tmp_path / "audit/gateway-1.jsonl")
    assert two.args["tls"] == {"cert": str(Path("cert.pem").absolute()), "key": str(Path("key.pem").absolute())}
    assert two.args["metrics"] == f"unix:{tmp_path}/gateway-1.sock"
    assert two.args["metrics_on_door"] is False, "a scrape of the door would see one of two"
    (alone,) = gateway_plans(tmp_path, Door(), 1)
    assert "metrics_on_door" not in alone.args
    assert not {"tls", "audit"} & alone.args.keys()


def test_files_that_cannot_be_read_are_told_before_anything_starts(tmp_path):
    (tmp_path / "cert.pem").touch()
    with pytest.raises(HostError, match=r"cert\.pem"):
        TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem").check()
    with pytest.raises(UserError, match=r"--audit .*cert\.pem: cannot be written to"):
        make_audit_folder(tmp_path / "cert.pem")
