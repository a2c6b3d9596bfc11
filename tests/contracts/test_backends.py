"""One suite over every backend. What the replicas do is told by their args (`tests/support/tiny_replica.py`)."""

import asyncio
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import uvloop
from lightkube.config.kubeconfig import KubeConfig
from tests.kube import FakeCluster
from tests.kube.kubelet import Kubelet

from plimsoll.backends.fake.backend import FakeBackend, Life, ManualClock
from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.backend import KubernetesBackend
from plimsoll.backends.kubernetes.names import LIVE_PATH, METRICS_PORT, READY_PATH, REVISION_LABEL, SERVICE_LABEL
from plimsoll.backends.local.backend import LocalBackend
from plimsoll.backends.local.settings import LocalSettings
from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.restart.backoff import Backoff
from plimsoll.ports.backend import DesiredReplicas, ReplicaPhase, ReplicaTemplate

SUPPORT = str(Path(__file__).parents[1] / "support")
LEARNED = ServiceTime(a_s=0.004, c_s=0.001, sd_s=0.0, samples=12)
FIRST_S = 0.2  # the first wait before a restart


def as_script(template, replica, restarts):
    """The fake's version of tiny_replica."""
    how, log = template.args.get("how", ""), (f"hello from {replica}",)
    report = {"load": {"in_flight": 2.0, "queued": 1.0}, "service_time": LEARNED}
    match how:
        case "fail":
            log = (*log, "line before the failure")
            return Life(startup_s=0.1, fails="model.py:12 the weights are missing", log=log)
        case "fail-once" if restarts == 0:
            return Life(startup_s=0.1, fails="ended with exit status 7 before it was ready", log=log)
        case "hang":
            return Life(startup_s=None, log=log)
        case "crash":
            return Life(startup_s=0.1, lives_s=0.2, death="ended by itself with exit status 9", log=log, **report)
        case "stubborn":
            return Life(startup_s=0.1, drain_takes_s=None, log=log, **report)
    return Life(startup_s=0.1, drain_takes_s=template.args.get("drain_takes_s", 0.0), log=log, **report)


class Fake:
    numbered = True  # ids are REVISION-NUMBER
    lives_s = 0.3  # long enough to be seen ready
    address = "unix:/"

    def __init__(self):
        self.clock = ManualClock()
        self.backend = FakeBackend(self.clock, script=as_script, backoff=lambda: Backoff(FIRST_S, 2.0, 1.0, 60.0))

    async def next(self):
        """Returns when something has changed."""
        due = self.backend.next_event()
        assert due is not None, f"nothing will ever happen to {self.backend.observe()}"
        self.clock.move_to(due)
        self.backend.settle()
        await asyncio.wait_for(self.backend.changed(), 1)

    def now(self):
        return self.clock.now()

    def has_settled(self, seen):
        return seen[0].load != {}

    def process(self, replica):
        return replica.pid

    async def quiet(self):
        pass

    async def close(self):
        await self.backend.close()


class Local:
    numbered = True
    lives_s = 0.3
    address = "unix:/"

    def __init__(self, kind):
        self.run_dir = Path(tempfile.mkdtemp(prefix="pl-", dir="/tmp"))
        self.spawner = ForkSpawner(self.run_dir) if kind == "fork" else ExecSpawner()
        self.before = set(psutil.Process().children(recursive=True))
        settings = LocalSettings(
            restart_first_s=FIRST_S, restart_cap_s=1.0, drain_margin_s=0.0, abandon_s=0.5, memory_check_s=0.05,
            watch_s=0.05, silent_s=0.3, unready_s=0.2,
        )  # fmt: skip
        self.backend = LocalBackend(self.run_dir, entry="tiny_replica:main", spawner=self.spawner, settings=settings)

    async def next(self):
        await asyncio.wait_for(self.backend.changed(), 40)

    def now(self):
        return asyncio.get_running_loop().time()

    def has_settled(self, seen):
        return seen[0].reason != ""  # reports will not come, and that has been said

    def process(self, replica):
        return replica.pid

    async def quiet(self):
        """Long enough for something unwanted to happen."""
        await asyncio.sleep(0.1)

    async def close(self):
        await self.backend.close()
        await self.spawner.close()
        await self.backend.close()  # once more does no harm
        left = set(psutil.Process().children(recursive=True)) - self.before
        assert not left, f"left behind: {left}"
        assert not list((self.run_dir / "r").iterdir()), "a socket was left behind"
        shutil.rmtree(self.run_dir)


def pod_objects(template, namespace):
    """A Deployment of `tests/support/tiny_pod.py`."""
    labels = {SERVICE_LABEL: template.service, REVISION_LABEL: template.revision}
    probe = {"port": METRICS_PORT}
    container = {
        "name": "model",
        "image": "tiny",
        "command": [sys.executable, f"{SUPPORT}/tiny_pod.py"],
        "env": [
            {"name": "TINY_ARGS", "value": json.dumps(dict(template.args))},
            {"name": "PYTHONPATH", "value": SUPPORT},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "startupProbe": {
            "httpGet": probe | {"path": READY_PATH},
            "periodSeconds": 1,
            "failureThreshold": math.ceil(template.startup_s) + 1,
        },
        "readinessProbe": {"httpGet": probe | {"path": READY_PATH}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": probe | {"path": LIVE_PATH}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": str(template.cpus)}},
    }
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": math.ceil(template.drain_s),
        "automountServiceAccountToken": False,
    }
    return (
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": template.revision, "namespace": namespace, "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    )


class Kubernetes:
    """The server in memory, with a kubelet whose containers are processes."""

    numbered = False
    lives_s = 3.0  # a kubelet looks once a second
    address = "tcp:"

    def __init__(self):
        self.cluster = FakeCluster().open()
        self.kubelet = Kubelet(self.cluster.kubeconfig, backoff_s=FIRST_S, retry_s=0.1)
        self.kubelet.__enter__()
        self.api = Api.connect(KubeConfig.from_file(self.cluster.kubeconfig).get())
        self.backend = KubernetesBackend(self.api, namespace="default", make=pod_objects)

    async def next(self):
        with contextlib.suppress(TimeoutError):  # what settles is no change
            await asyncio.wait_for(self.backend.changed(), 0.5)

    def now(self):
        return asyncio.get_running_loop().time()

    def has_settled(self, seen):
        return bool(seen) and seen[0].phase is ReplicaPhase.READY and seen[0].reason != ""

    def process(self, replica):
        return self.kubelet.process_of(replica.id, "default")

    async def quiet(self):
        await asyncio.sleep(0.5)

    async def close(self):
        await self.backend.close()
        await self.backend.close()  # once more does no harm
        await self.api.close()
        await asyncio.to_thread(self.kubelet.__exit__)
        await asyncio.to_thread(self.cluster.close)


@pytest.fixture(params=["fake", "local-fork", "local-exec", "kubernetes"])
def host(request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SUPPORT)  # where forked and exec'ed replicas find their entry
    kinds = {"fake": Fake, "kubernetes": Kubernetes}
    return kinds.get(request.param) or (lambda: Local(request.param.removeprefix("local-")))


@pytest.fixture(params=["fork", "exec"])
def local(request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SUPPORT)
    return lambda: Local(request.param)


def run(new_host, test):
    async def body():
        host = new_host()
        try:
            await host.backend.start()
            async with asyncio.timeout(60):
                await test(host)
        finally:
            await host.close()

    with asyncio.Runner(loop_factory=None if new_host is Fake else uvloop.new_event_loop) as runner:  # as live
        runner.run(body())


def template(
    revision="echo-1",
    *,
    service="echo",
    drain_s=5.0,
    startup_s=20.0,
    memory_limit=None,
    cpus=0.1,
    silent_s=None,
    **args,
):
    return ReplicaTemplate(
        service, revision, args, cpus=cpus, drain_s=drain_s, startup_s=startup_s, memory_limit=memory_limit,
        silent_s=silent_s,
    )  # fmt: skip


def wish(count, *args, **more):
    return DesiredReplicas(template(*args, **more), count)


async def until(host, condition):
    """The first observation for which the condition holds."""
    while not condition(seen := host.backend.observe()):
        await host.next()
    return seen


def all_ready(count, revision="echo-1"):
    def condition(seen):
        return [(r.revision, r.phase) for r in seen] == [(revision, ReplicaPhase.READY)] * count

    return condition


def in_phase(phase):
    return lambda seen: any(replica.phase is phase for replica in seen)


def test_from_nothing_to_three_and_back(host):
    async def test(host):
        assert host.backend.observe() == ()
        await host.backend.apply((wish(3),))
        seen = await until(host, all_ready(3))
        if host.numbered:
            assert [replica.id for replica in seen] == ["echo-1-0", "echo-1-1", "echo-1-2"]
        assert len({host.process(replica) for replica in seen}) == 3
        assert len({replica.address for replica in seen}) == 3
        for replica in seen:
            assert replica.address.startswith(host.address)
            assert replica.started_at < replica.ready_at <= host.now()
            assert (replica.service, replica.restarts, replica.reason) == ("echo", 0, "")
        await host.backend.apply(())
        await until(host, lambda seen: seen == ())

    run(host, test)


def test_scaling_up_leaves_the_others_alone_and_down_takes_the_youngest(host):
    async def test(host):
        await host.backend.apply((wish(1),))
        (first,) = await until(host, all_ready(1))
        process = host.process(first)
        await host.backend.apply((wish(3),))
        seen = await until(host, all_ready(3))
        assert (host.process(seen[0]), seen[0].address) == (process, first.address)
        ids = {replica.id for replica in seen}
        await host.backend.apply((wish(1),))
        (left,) = await until(host, all_ready(1))
        assert host.process(left) == process
        await host.backend.apply((wish(2),))
        seen = await until(host, all_ready(2))
        assert seen[1].id not in ids, "an id is never used twice"
        assert seen[1].id == "echo-1-3" or not host.numbered

    run(host, test)


def test_revisions_side_by_side_and_one_replaced_by_the_other(host):
    async def test(host):
        await host.backend.apply((wish(2),))
        await until(host, all_ready(2))
        await host.backend.apply((wish(2), wish(1, "echo-2")))
        seen = await until(host, lambda seen: len(seen) == 3 and all(r.phase is ReplicaPhase.READY for r in seen))
        assert [replica.revision for replica in seen] == ["echo-1", "echo-1", "echo-2"]
        await host.backend.apply((wish(1, "echo-2"),))
        await until(host, all_ready(1, "echo-2"))

    run(host, test)


def test_apply_twice_is_apply_once(host):
    async def test(host):
        for _ in range(2):
            await host.backend.apply((wish(2),))
        seen = await until(host, all_ready(2))
        for _ in range(2):
            await host.backend.apply((wish(2),))
        processes = [host.process(replica) for replica in seen]
        await host.quiet()
        seen_again = host.backend.observe()
        assert [(one.id, host.process(one)) for one in seen_again] == [
            (one.id, process) for one, process in zip(seen, processes, strict=True)
        ]

    run(host, test)


def test_a_crash_is_followed_by_a_restart_later_and_later(host):
    async def test(host):
        await host.backend.apply((wish(1, how="crash", after_s=host.lives_s),))
        (replica,) = await until(host, all_ready(1))
        waits = []
        for restarts in range(3):
            (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
            assert fallen.id == replica.id
            assert (fallen.restarts, fallen.address, fallen.pid) == (restarts, "", None)
            assert fallen.reason == "ended by itself with exit status 9"
            assert fallen.log_tail == (f"hello from {replica.id}",)
            assert fallen.ready_at is not None, "it was ready once: that tells a crash from a failed start"
            waits.append(fallen.retry_at - host.now())
            (again,) = await until(host, all_ready(1))
            assert (again.restarts, again.reason) == (restarts + 1, "")
        assert waits[0] <= FIRST_S + 1e-9
        assert waits[0] < waits[1] < waits[2]

    run(host, test)


def test_a_failed_start_has_a_reason_and_the_last_log_lines(host):
    async def test(host):
        await host.backend.apply((wish(1, how="fail"), wish(1, "good-1", service="good")))
        seen = await until(host, lambda seen: {r.phase for r in seen} == {ReplicaPhase.BACKING_OFF, ReplicaPhase.READY})
        failed = seen[0]
        assert failed.reason == "model.py:12 the weights are missing"
        assert failed.log_tail == (f"hello from {failed.id}", "line before the failure")
        assert failed.ready_at is None
        seen = await until(host, lambda seen: seen[0].restarts >= 1 and seen[0].phase is ReplicaPhase.BACKING_OFF)
        assert len(seen[0].log_tail) == 2, "of its last life only"

    run(host, test)


def test_a_start_that_works_the_second_time(host, tmp_path):
    async def test(host):
        await host.backend.apply((wish(1, how="fail-once", mark=str(tmp_path / "mark")),))
        (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
        assert fallen.reason.startswith("ended with exit status 7 before it was ready")
        (replica,) = await until(host, all_ready(1))
        assert replica.restarts == 1

    run(host, test)


def test_a_start_that_takes_too_long_is_cut_short(host):
    async def test(host):
        await host.backend.apply((wish(1, how="hang", startup_s=1.5),))
        (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
        assert fallen.reason == "load() did not finish within 1.5s"
        assert fallen.log_tail[0] == f"hello from {fallen.id}"

    run(host, test)


def test_draining_waits_for_what_is_in_flight(host):
    async def test(host):
        await host.backend.apply((wish(1, drain_takes_s=0.4),))
        (replica,) = await until(host, all_ready(1))
        began = host.now()
        await host.backend.apply(())
        (draining,) = await until(host, in_phase(ReplicaPhase.DRAINING))
        assert (draining.address, draining.pid) == (replica.address, replica.pid), "gateways still use it"
        await until(host, lambda seen: seen == ())
        assert host.now() - began >= 0.4

    run(host, test)


def test_draining_ends_by_force(host):
    async def test(host):
        await host.backend.apply((wish(1, how="stubborn", drain_s=0.3),))
        await until(host, all_ready(1))
        began = host.now()
        await host.backend.apply(())
        await until(host, lambda seen: seen == ())
        assert 0.3 <= host.now() - began < 10.0

    run(host, test)


def test_a_replica_that_is_still_starting_is_not_waited_for(host):
    async def test(host):
        await host.backend.apply((wish(1, how="hang", drain_s=100.0),))
        await host.quiet()
        began = host.now()
        await host.backend.apply(())
        await until(host, lambda seen: seen == ())
        assert host.now() - began < 10.0

    run(host, test)


def test_close_takes_whoever_is_there(host):
    async def test(host):
        await host.backend.apply((wish(2), wish(1, "hang-1", how="hang"), wish(1, "fail-1", how="fail")))
        await until(host, lambda seen: sum(replica.phase is ReplicaPhase.READY for replica in seen) == 2)
        await host.backend.close()
        assert host.backend.observe() == ()

    run(host, test)


def test_changed_waits_until_there_is_something_new(host):
    async def test(host):
        await host.backend.apply((wish(1, report_s=100.0),))
        await until(host, host.has_settled)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(host.backend.changed(), 0.15)
            pytest.fail("nothing had changed")
        waiting = asyncio.ensure_future(host.backend.changed())
        await host.backend.apply((wish(2, report_s=100.0),))
        await asyncio.wait_for(waiting, 20)

    run(host, test)


def test_load_and_service_time_are_reported(host):
    async def test(host):
        await host.backend.apply((wish(1),))
        (replica,) = await until(host, lambda seen: all_ready(1)(seen) and bool(seen[0].load))
        assert (replica.load["in_flight"], replica.load["queued"]) == (2.0, 1.0)
        assert replica.service_time == LEARNED

    run(host, test)


def test_logs_of_the_living_and_the_dead(host):
    async def test(host):
        await host.backend.apply((wish(2), wish(1, "other-1", service="other")))
        seen = await until(host, lambda seen: len(seen) == 3 and all(r.phase is ReplicaPhase.READY for r in seen))
        ids, (other,) = [r.id for r in seen if r.service == "echo"], [r.id for r in seen if r.service == "other"]
        await host.quiet()
        await host.backend.apply((wish(1), wish(1, "other-1", service="other")))
        await until(host, lambda seen: len(seen) == 2)
        first, second = sorted(ids)
        lines = host.backend.logs("echo")
        assert sorted(lines) == [f"{first} hello from {first}", f"{second} hello from {second}"]
        assert host.backend.logs("echo", replica=second) == [f"{second} hello from {second}"]
        assert len(host.backend.logs("echo", lines=1)) == 1
        assert host.backend.logs("nobody") == []
        assert host.backend.logs("echo", replica=other) == []

    run(host, test)


# What only processes can do.


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
