"""One suite over both spawners: what a child finds, what its owner hears, and that nobody is left behind."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.core.errors import HostError
from plimsoll.ports.spawner import ChildSpec

SUPPORT = str(Path(__file__).parents[2] / "support")
ENV = {"PYTHONPATH": SUPPORT}


@pytest.fixture
def run_dir():
    path = tempfile.mkdtemp(prefix="pl-", dir="/tmp")  # short: Unix socket paths end at 103 bytes
    yield Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=["fork", "exec"])
def new_spawner(request, run_dir):
    return (lambda: ForkSpawner(run_dir)) if request.param == "fork" else ExecSpawner


class Watched:
    """A child with its events, to be awaited."""

    def __init__(self):
        self.events, self.exit, self._news = [], None, asyncio.Event()

    def on_status(self, event):
        assert self.exit is None, "an event after the exit"
        self.events.append(event)
        self._news.set()

    def on_exit(self, status):
        assert self.exit is None
        self.exit = status
        self._news.set()

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not (found := condition()):
                self._news.clear()
                await self._news.wait()
        return found

    async def event(self, name):
        found = [e for e in self.events if e["event"] == name]
        while not found:
            assert self.exit is None, f"it ended with {self.exit} after {self.events}"
            self._news.clear()
            async with asyncio.timeout(20):
                await self._news.wait()
            found = [e for e in self.events if e["event"] == name]
        return found[0]

    async def ended(self):
        await self.until(lambda: self.exit is not None)
        return self.exit


async def start(spawner, entry="tiny_replica:main", *, fds=None, env=None, args=None, **more):
    watched = Watched()
    spec = ChildSpec(entry=entry, args=args or {}, env={**ENV, **(env or {})}, **more)
    watched.child = await spawner.spawn(spec, on_status=watched.on_status, on_exit=watched.on_exit, fds=fds)
    return watched


def in_loop(new_spawner):
    """Runs an async test with a spawner that is closed afterwards, and checks that no process outlives it."""

    def run(test):
        async def body():
            spawner = new_spawner()
            try:
                await test(spawner)
            finally:
                await spawner.close()

        before = set(psutil.Process().children(recursive=True))
        descriptors = len(os.listdir("/dev/fd"))
        asyncio.run(body())
        assert set(psutil.Process().children(recursive=True)) <= before
        assert len(os.listdir("/dev/fd")) == descriptors, "descriptors leaked"

    return run


def gone(pid):
    """Whether the process ends in time. A zombie has ended: when it is reaped is the first process's business."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
    return True


def test_a_child_says_ready_and_ends_on_sigterm(new_spawner):
    async def test(spawner):
        child = await start(spawner)
        assert (await child.event("ready"))["pid"] == child.child.pid
        child.child.signal(signal.SIGTERM)
        assert await child.ended() == 0
        assert child.events[-1]["event"] == "draining"
        child.child.signal(signal.SIGKILL)  # nobody is hit

    in_loop(new_spawner)(test)


def test_what_a_child_finds(new_spawner, run_dir, tmp_path):
    cores = sorted(os.sched_getaffinity(0))[-1:] if hasattr(os, "sched_getaffinity") else []

    async def test(spawner):
        read, write = os.pipe()
        child = await start(
            spawner, "tiny_replica:tell", fds={"extra": write}, log_path=str(run_dir / "child.log"),
            env={"COLOUR": "red"}, args={"env": ["COLOUR"]}, directory=str(tmp_path), cpus=tuple(cores), threads=3,
            name="the-child",
        )  # fmt: skip
        os.close(write)
        told = await child.event("told")
        assert await child.ended() == 0
        assert told["pgid"] == told["pid"], "a group of its own, to be killed with what the model's author starts"
        assert told["sid"] != os.getsid(0), "no terminal signal reaches it"
        assert told["sigint"]
        assert told["sigterm"]
        assert told["log_handlers"] == 0
        assert told["env"] == {"COLOUR": "red", "OMP_NUM_THREADS": "3"}
        assert told["cwd"] == str(tmp_path)
        assert told["cpus"] == cores
        own = {0, 1, 2, told["status_fd"], told["lifeline_fd"], *told["named"].values()}
        assert len(set(told["fds"]) - own) <= 1, "nothing but its own descriptors (one is the lifeline thread's copy)"
        assert os.read(read, 100) == b"extra"
        assert os.read(read, 100) == b"", "the only copies were the child's and ours"
        os.close(read)
        if sys.platform == "linux":
            assert told["comm"] == "the-child"

    in_loop(new_spawner)(test)


def test_forked_children_draw_different_random_numbers(new_spawner):
    async def test(spawner):
        children = [await start(spawner, "tiny_replica:tell") for _ in range(2)]
        assert len({(await child.event("told"))["random"] for child in children}) == 2

    in_loop(new_spawner)(test)


def test_output_goes_to_the_log(new_spawner, run_dir):
    async def test(spawner):
        log = run_dir / "child.log"
        log.write_text("from before\n")
        child = await start(spawner, args={"how": "fail", "replica": "r-0"}, log_path=str(log))
        assert await child.ended() == 3
        assert log.read_text().splitlines() == ["from before", "hello from r-0", "line before the failure"]
        assert [event["event"] for event in child.events] == ["failed"]

    in_loop(new_spawner)(test)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk without room (Linux)")
@pytest.mark.parametrize("log", ["/dev/full", "/nowhere/child.log"])
def test_a_disk_without_room_for_the_log_stops_nobody(new_spawner, log):
    async def test(spawner):
        child = await start(spawner, log_path=log)
        await child.event("ready")  # it has printed a line by then
        child.child.signal(signal.SIGTERM)
        assert await child.ended() == 0

    in_loop(new_spawner)(test)


def test_an_entry_that_raises_is_told_with_file_and_line(new_spawner, run_dir):
    async def test(spawner):
        child = await start(spawner, args={"how": "raise"}, log_path=str(run_dir / "child.log"))
        event = await child.event("failed")
        assert event["reason"] == "ValueError: the weights are missing"
        assert event["file"].endswith("tiny_replica.py")
        assert event["line"] > 0
        assert await child.ended() == 3
        missing = await start(spawner, "no_such_module:main", log_path=str(run_dir / "child.log"))
        assert "no_such_module" in (await missing.event("failed"))["reason"]

    in_loop(new_spawner)(test)


def test_a_death_by_signal_has_a_negative_status(new_spawner):
    async def test(spawner):
        child = await start(spawner)
        await child.event("ready")
        child.child.signal(signal.SIGKILL)
        assert await child.ended() == -signal.SIGKILL

    in_loop(new_spawner)(test)


def test_a_child_ends_with_what_it_started(new_spawner):
    async def test(spawner):
        child = await start(spawner, "tiny_replica:sleepy_shell")
        grandchild = (await child.event("ready"))["worker"]
        child.child.signal(signal.SIGTERM)
        assert await child.ended() == -signal.SIGTERM
        assert gone(grandchild)

    in_loop(new_spawner)(test)


def test_close_kills_the_stubborn_and_the_stopped(new_spawner, monkeypatch):
    for module in ("spawner_fork", "spawner_exec"):
        monkeypatch.setattr(f"plimsoll.backends.local.{module}._TERM_S", 0.3)

    async def test(spawner):
        stubborn = await start(spawner, args={"how": "stubborn"})
        stopped = await start(spawner)
        for child in (stubborn, stopped):
            await child.event("ready")
        stopped.child.signal(signal.SIGSTOP)
        await spawner.close()
        assert (stubborn.exit, stopped.exit) == (-signal.SIGKILL, -signal.SIGKILL)

    in_loop(new_spawner)(test)


def test_a_worker_joins_the_group_and_ends_with_its_replica(new_spawner):
    async def test(spawner):
        replica = await start(spawner, "tiny_replica:parent", args={"fork_server": spawner.server_path(), "env": ENV})
        ready = await replica.event("ready")
        assert ready["worker_group"] == replica.child.pid
        os.kill(ready["worker"], 0)
        replica.child.signal(signal.SIGKILL)
        assert await replica.ended() == -signal.SIGKILL
        assert gone(ready["worker"])

    in_loop(new_spawner)(test)


def test_ctrl_c_is_not_for_children(new_spawner):
    async def test(spawner):
        child = await start(spawner)
        await child.event("ready")
        child.child.signal(signal.SIGINT)
        reports = len(child.events)
        await child.until(lambda: len(child.events) > reports + 1)
        assert child.exit is None

    in_loop(new_spawner)(test)


OWNER = """
import asyncio, json, sys
from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.ports.spawner import ChildSpec

async def main():
    spawner = ForkSpawner(sys.argv[2]) if sys.argv[1] == "fork" else ExecSpawner()
    pids = []
    for how in ("stubborn", "stubborn"):
        ready = asyncio.Event()
        spec = ChildSpec(entry="tiny_replica:main", args={"how": how}, env={"PYTHONPATH": sys.argv[3]})
        child = await spawner.spawn(spec, on_status=lambda _: ready.set(), on_exit=print)
        await ready.wait()
        pids.append(child.pid)
    print(json.dumps(pids), flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["fork", "exec"])
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "one stopped"])
def test_no_orphan_when_the_owner_is_killed(kind, stopped, run_dir):
    if stopped and kind == "exec" and sys.platform != "linux":
        pytest.skip("a stopped child sees no lifeline, and only Linux has PR_SET_PDEATHSIG")
    owner = subprocess.Popen([sys.executable, "-c", OWNER, kind, run_dir, SUPPORT], stdout=subprocess.PIPE)
    try:
        line = b""
        while not line.startswith(b"["):  # the children's greetings come first
            line = owner.stdout.readline()
            assert line, "the owner died"
        family = [process.pid for process in psutil.Process(owner.pid).children(recursive=True)]
        assert set(json.loads(line)) <= set(family)
        if stopped:
            os.kill(json.loads(line)[0], signal.SIGSTOP)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    assert all(gone(pid) for pid in family)


# What only the fork server can do.


def test_preloads_are_imported_once_for_each_set(run_dir):
    async def test(spawner):
        ask = {"modules": ["numpy", "httptools", "wave"]}
        plain = await start(spawner, "tiny_replica:tell", args=ask)
        assert (await plain.event("told"))["modules"] == ["numpy", "httptools"]
        loaded = await start(spawner, "tiny_replica:tell", args=ask, preload=("wave", "no_such_module"))
        assert "wave" in (await loaded.event("told"))["modules"]
        assert plain.events[0]["ppid"] != loaded.events[0]["ppid"]
        again = await start(spawner, "tiny_replica:tell", args=ask)
        assert (await again.event("told"))["ppid"] == plain.events[0]["ppid"]
        log = next(iter(run_dir.glob("logs/fork-1.log"))).read_text()
        assert "No module named 'no_such_module'" in log

    in_loop(lambda: ForkSpawner(run_dir))(test)


def test_a_dead_fork_server_is_noticed_and_replaced(run_dir):
    async def test(spawner):
        child = await start(spawner, args={"how": "stubborn"})
        await child.event("ready")
        os.kill(psutil.Process(child.child.pid).ppid(), signal.SIGKILL)
        assert await child.ended() == -signal.SIGKILL
        assert gone(child.child.pid)
        child.child.signal(signal.SIGKILL)
        after = await start(spawner)
        await after.event("ready")

    in_loop(lambda: ForkSpawner(run_dir))(test)


def test_the_sockets_are_private_and_removed(run_dir):
    async def test(spawner):
        await spawner.warm()
        path = spawner.server_path()
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        await spawner.close()
        assert not list(run_dir.glob("*.sock"))
        with pytest.raises(HostError, match="no fork server answers"):
            await ForkSpawner.connect(path)

    in_loop(lambda: ForkSpawner(run_dir))(test)


def test_a_client_that_talks_nonsense_harms_nobody(run_dir):
    async def test(spawner):
        await spawner.warm()
        for nonsense in (b"\xff" * 100, (5).to_bytes(4, "big") + b"[nope", (2).to_bytes(4, "big") + b"{}"):
            with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(BrokenPipeError):
                client.connect(spawner.server_path())
                client.sendall(nonsense)
                assert await asyncio.to_thread(client.recv, 4096)
        child = await start(spawner)
        await child.event("ready")

    in_loop(lambda: ForkSpawner(run_dir))(test)


def test_fork_to_ready_takes_milliseconds(run_dir):
    async def test(spawner):
        await spawner.warm()
        times = []
        for _ in range(7):
            before = time.perf_counter()
            child = await start(spawner)
            await child.event("ready")
            times.append(time.perf_counter() - before)
        print(f"fork to ready: median {sorted(times)[3] * 1000:.1f} ms of {[round(t * 1000, 1) for t in times]}")
        assert min(times) < 0.2  # an exec takes more than that; 5-20 ms is usual

    in_loop(lambda: ForkSpawner(run_dir))(test)
