"""A real gateway process before real replicas, told by a controller's stream in the test: replicas stopped and killed,
poison, a controller that dies, SIGTERM."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.support.gateway_host import Client
from tests.support.puppet import PUPPET
from tests.support.replica_host import ReplicaChild

from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.control.stream import SnapshotServer
from plimsoll.core.snapshot import Endpoint, Route, ServiceView, Snapshot
from plimsoll.ports.spawner import ChildSpec

ROUTE = "/puppet"


class Stage:
    """`async with Stage() as stage`: a controller's stream, a gateway and as many replicas as asked for."""

    def __init__(self, replicas=2):
        self.run_dir = Path(tempfile.mkdtemp(prefix="ge", dir="/tmp"))
        self.count = replicas
        self.version = 0
        self.events, self.exit = [], asyncio.Event()

    async def __aenter__(self):
        self.spawner = ForkSpawner(self.run_dir)
        self.control = SnapshotServer(self.run_dir / "control.sock")
        self.replicas = []
        try:
            for number in range(self.count):
                folder = self.run_dir / f"r{number}"
                folder.mkdir()
                self.replicas.append(await ReplicaChild(self.spawner, folder, folder, model=PUPPET).start())
            self.publish()
            await self.control.start()
            await self.start_gateway()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(self, *_):
        for replica in self.replicas:
            replica.child.signal(signal.SIGCONT)
        await self.spawner.close()
        await self.control.close()
        shutil.rmtree(self.run_dir)

    async def start_gateway(self):
        args = {
            "name": "gateway-0",
            "listen": ["tcp:127.0.0.1:0"],
            "control": f"unix:{self.run_dir}/control.sock",
            "metrics": f"unix:{self.run_dir}/metrics.sock",
        }
        ready = asyncio.Event()

        def status(event):
            self.events.append(event)
            ready.set()

        spec = ChildSpec("plimsoll.app.gateway:main", args, log_path=str(self.run_dir / "gateway.log"))
        self.gateway = await self.spawner.spawn(spec, on_status=status, on_exit=lambda _: self.exit.set())
        await asyncio.wait_for(ready.wait(), 60)
        assert self.events[0]["event"] == "ready", self.events
        self.address = self.events[0]["address"]

    def publish(self, **fields):
        endpoints = [Endpoint(f"r{n}", "puppet-1234567", replica.address) for n, replica in enumerate(self.replicas)]
        view = ServiceView(
            "puppet", "puppet-1234567", (Route(ROUTE),), tuple(endpoints), **({"timeout_s": 10.0} | fields)
        )
        self.version += 1
        self.control.publish(Snapshot(self.version, (view,)))

    async def ask(self, body=b'{"tag":"x"}', headers=(), address=None):
        client = await Client.connect(address or self.address)
        try:
            return await asyncio.wait_for(client.ask("POST", ROUTE, body, headers), 60)
        finally:
            client.close()

    async def load(self, stop, connections=8):
        """Asks until `stop`; counts outcomes."""
        outcomes = Counter()

        async def one(n):
            client = await Client.connect(self.address)
            while not stop.is_set():
                outcomes[(await asyncio.wait_for(client.ask("POST", ROUTE, b'{"n":%d}' % n), 60)).outcome] += 1
            client.close()

        await asyncio.gather(*(one(n) for n in range(connections)))
        return outcomes

    async def counted(self):
        client = await Client.connect(f"unix:{self.run_dir}/metrics.sock")
        text = (await client.ask("GET", "/metrics")).body.decode()
        client.close()
        found = Counter()
        for line in text.splitlines():
            if line.startswith("plimsoll_requests_total") and not line.endswith(" 0.0"):
                found[line.partition('outcome="')[2].partition('"')[0]] += int(float(line.rpartition(" ")[2]))
        return found


def play(main, seconds=100):
    asyncio.run(asyncio.wait_for(main(), seconds))


def test_a_replica_killed_under_load_fails_no_request():
    async def main():
        async with Stage() as stage:
            stop = asyncio.Event()
            loading = asyncio.ensure_future(stage.load(stop))
            await asyncio.sleep(0.3)
            stage.replicas[0].child.signal(signal.SIGKILL)  # and nobody tells the gateway
            await asyncio.sleep(0.7)
            stop.set()
            outcomes = await loading
            assert outcomes.keys() == {"ok"}
            assert await stage.counted() == outcomes

    play(main)


def test_what_a_stopped_replica_has_in_hand_is_answered_by_another():
    async def main():
        async with Stage() as stage:
            stage.publish(timeout_s=0.5)
            assert await stage.control.acked(stage.version, 20)
            stop = asyncio.Event()
            loading = asyncio.ensure_future(stage.load(stop))
            await asyncio.sleep(0.3)
            stage.replicas[0].child.signal(signal.SIGSTOP)
            await asyncio.sleep(1.5)
            stage.replicas[0].child.signal(signal.SIGCONT)
            await asyncio.sleep(0.5)
            stop.set()
            outcomes = await loading
            assert outcomes.keys() <= {"ok", "expired"}
            # Eight were in hand when it stopped. They are overdue after some 20 ms and go to the other one; nobody else
            # is sent there until it has shown life.
            assert outcomes["expired"] <= 2, outcomes
            assert outcomes["ok"] > 100
            assert await stage.counted() == outcomes
            assert (await stage.ask()).status == 200

    play(main)


def test_a_poison_request_ends_two_replicas_and_no_more():
    async def main():
        async with Stage(replicas=3) as stage:
            poison = b'{"do":"die"}'
            got = await stage.ask(poison)
            assert (got.status, got.outcome) == (503, "replica_lost")
            again = await stage.ask(poison)
            assert (again.status, again["retry-after"]) == (503, "60")
            assert (await stage.ask()).status == 200
            ended = [replica for replica in stage.replicas if replica.exit is not None]
            assert len(ended) == 2
            assert await stage.counted() == {"replica_lost": 2, "ok": 1}

    play(main)


def test_the_controller_dies_and_nobody_notices():
    async def main():
        async with Stage(replicas=1) as stage:
            stop = asyncio.Event()
            loading = asyncio.ensure_future(stage.load(stop, connections=2))
            await stage.control.close()
            await asyncio.sleep(0.5)
            stop.set()
            assert (await loading).keys() == {"ok"}
            stage.control = SnapshotServer(stage.run_dir / "control.sock")
            stage.publish()
            await stage.control.start()
            assert await stage.control.acked(stage.version, 20)

    play(main)


def test_sigterm_answers_what_is_in_flight_and_leaves_the_port():
    async def main():
        async with Stage(replicas=1) as stage:
            asked = asyncio.ensure_future(stage.ask(b'{"do":"wait","for":"gate"}'))
            folder = stage.run_dir / "r0"
            await stage.replicas[0].until((folder / "gate.started").exists)
            began = time.monotonic()
            stage.gateway.signal(signal.SIGTERM)
            while True:  # it stops accepting before it ends
                try:
                    (await Client.connect(stage.address)).close()
                except OSError:
                    break
                await asyncio.sleep(0.01)
                assert time.monotonic() - began < 20
            assert not stage.exit.is_set()
            (folder / "gate").touch()
            assert (await asked).status == 200
            await asyncio.wait_for(stage.exit.wait(), 20)
            assert stage.events[-1]["event"] == "draining"
            with pytest.raises(ProcessLookupError):
                os.kill(stage.gateway.pid, 0)

    play(main)
