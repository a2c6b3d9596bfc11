"""What only a backend of processes can do: memory that ends, kills, silence, logs, cores, owners that die."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import psutil
import pytest
from tests.contracts.backend_hosts import (
    SUPPORT,
    Local,
    all_ready,
    in_phase,
    run,
    until,
    wish,
)

from plimsoll.ports.backend import ReplicaPhase


@pytest.fixture(params=["fork", "exec"])
def local(request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SUPPORT)
    return lambda: Local(request.param)


def test_too_much_memory_is_told_with_both_numbers(local):
    async def test(host):
        limit = 160 * 2**20
        await host.backend.apply((wish(1, how="eat", bytes=200 * 2**20, memory_limit=limit),))
        (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
        assert fallen.reason.startswith("memory limit 160Mi exceeded (RSS "), fallen.reason

    run(local, test)


def test_a_kill_from_outside_is_told_as_such_and_made_good(local):
    async def test(host):
        await host.backend.apply((wish(2),))
        seen = await until(host, all_ready(2))
        psutil.Process(seen[0].pid).kill()
        seen = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
        assert "OOM" in seen[0].reason
        assert seen[1].phase is ReplicaPhase.READY
        seen = await until(host, all_ready(2))
        assert [replica.restarts for replica in seen] == [1, 0]

    run(local, test)


def test_a_replica_that_says_it_is_unready_is_replaced(local):
    async def test(host):
        await host.backend.apply((wish(1, how="unready"),))
        (unready,) = await until(host, in_phase(ReplicaPhase.FAILED))
        assert unready.reason == "predict hangs"
        (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
        assert fallen.reason == "predict hangs"
        await until(host, lambda seen: seen[0].restarts == 1)

    run(local, test)


@pytest.mark.parametrize("how", ["stopped", "silent"])
def test_a_silent_replica_is_pointed_out(local, how):
    async def test(host):
        await host.backend.apply((wish(1, how="silent" if how == "silent" else "", drain_s=0.2),))
        (replica,) = await until(host, all_ready(1))
        if how == "stopped":
            psutil.Process(replica.pid).suspend()
        (quiet,) = await until(host, lambda seen: seen[0].reason != "")
        assert quiet.reason == "no report from it for over 300ms: it is stopped, or its loop is stuck"
        if how == "stopped":
            psutil.Process(replica.pid).resume()
            await until(host, lambda seen: seen[0].reason == "")
            psutil.Process(replica.pid).suspend()  # and it must be gone after close() all the same

    run(local, test)


@pytest.mark.parametrize("how", ["stopped", "silent"])
def test_a_replica_that_stays_silent_is_replaced(local, how):
    async def test(host):
        await host.backend.apply((wish(1, how="silent" if how == "silent" else "", silent_s=0.5),))
        (replica,) = await until(host, all_ready(1))
        if how == "stopped":
            psutil.Process(replica.pid).suspend()
        (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
        assert fallen.reason.startswith("no report from it for 500ms: ")
        await until(host, lambda seen: seen[0].restarts == 1 and seen[0].phase is ReplicaPhase.READY)
        await host.backend.apply(())

    run(local, test)


def test_a_log_stays_bounded(local):
    async def test(host):
        await host.backend.apply((wish(1),))
        await until(host, all_ready(1))
        log = host.run_dir / "logs" / "echo-1-0.log"
        os.truncate(log, 11 * 2**20)
        async with asyncio.timeout(30):
            while log.stat().st_size:  # noqa: ASYNC110 - nobody is told when a log is rotated
                await asyncio.sleep(0.02)
        assert os.stat(f"{log}.1").st_size == 11 * 2**20

    run(local, test)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has affinity")
def test_replicas_get_cores_of_their_own_while_there_are_enough(local, monkeypatch):
    cores = sorted(psutil.Process().cpu_affinity())
    if len(cores) < 2:
        pytest.skip("one core: nobody is pinned")

    async def test(host):
        await host.backend.apply((wish(1, cpus=1.0),))
        (first,) = await until(host, all_ready(1))
        assert psutil.Process(first.pid).cpu_affinity() == [cores[1]]
        await host.backend.apply((wish(len(cores), cpus=1.0),))
        seen = await until(host, all_ready(len(cores)))
        assert all(psutil.Process(replica.pid).cpu_affinity() == cores for replica in seen)
        await host.backend.apply((wish(1, cpus=1.0),))
        (first,) = await until(host, all_ready(1))
        assert psutil.Process(first.pid).cpu_affinity() == [cores[1]]

    run(local, test)


OWNER = """
import asyncio, json, sys
from plimsoll.backends.local.backend import LocalBackend
from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.ports.backend import DesiredReplicas, ReplicaPhase, ReplicaTemplate

async def main():
    kind, run_dir = sys.argv[1:]
    spawner = ForkSpawner(run_dir) if kind == "fork" else ExecSpawner()
    backend = LocalBackend(run_dir, entry="tiny_replica:main", spawner=spawner)
    await backend.start()
    await backend.apply((DesiredReplicas(ReplicaTemplate("echo", "echo-1", {"how": "stubborn"}), 2),))
    while [r.phase for r in backend.observe()] != [ReplicaPhase.READY] * 2:
        await backend.changed()
    print(json.dumps([r.pid for r in backend.observe()]), flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["fork", "exec"])
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "one stopped"])
def test_nobody_outlives_an_owner_that_is_killed(kind, stopped, tmp_path):
    if stopped and not sys.platform.startswith("linux") and kind == "exec":
        pytest.skip("a stopped process sees no lifeline, and only Linux has PR_SET_PDEATHSIG")
    run_dir = tempfile.mkdtemp(prefix="pl-", dir="/tmp")
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, kind, run_dir], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": SUPPORT}
    )  # fmt: skip
    try:
        pids = json.loads(owner.stdout.readline())
        family = psutil.Process(owner.pid).children(recursive=True)
        assert set(pids) <= {process.pid for process in family}
        if stopped:
            os.kill(pids[0], signal.SIGSTOP)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    try:
        until_dead(family)
    finally:
        shutil.rmtree(run_dir)


def until_dead(processes):
    """A zombie is dead: when it is reaped is the business of the system's first process."""
    deadline = time.monotonic() + 10
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() < deadline, f"{process} lives on"
                time.sleep(0.01)
