"""A test run that is killed leaves nothing behind: no server, no pod, no folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.cluster import control_plane
from tests.support import lifeline

REPO = Path(__file__).resolve().parents[2]
# a pod whose process has started one in a session of its own, of which nobody here knows
RUN = """
import asyncio, json, sys, threading
from tests.cluster.control_plane import ControlPlane
from tests.kube import FakeCluster
from tests.kube.client import Client
from tests.kube.kubelet import Kubelet
from tests.support import lifeline

POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": "default"},
    "spec": {
        "automountServiceAccountToken": False,
        "containers": [{"name": "main", "image": "x", "command": ["sh", "-c", "setsid sleep 1001 & sleep 1002"]}],
    },
}

async def act(api):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    await api.apply(account)
    await api.create(POD)
    await api.until("Pod", "one", "default", within_s=100, test=lambda pod: pod["status"].get("phase") == "Running")

async def whole(kubeconfig):
    async with Client(kubeconfig) as api:
        await act(api)

with ControlPlane() if sys.argv[1] == "real" else FakeCluster() as cluster, Kubelet(cluster.kubeconfig) as kubelet:
    asyncio.run(whole(cluster.kubeconfig))
    folders = [str(kubelet.folder), *([str(cluster.folder)] if sys.argv[1] == "real" else [])]
    print(json.dumps({"mark": lifeline.mark(), "watcher": lifeline.watcher().pid, "folders": folders}), flush=True)
    threading.Event().wait()
"""


def names_of(processes):
    return {Path(one.exe()).name for one in processes}


def started(mark, last_words):
    """The run's processes, once there are some with these last words in their command lines."""
    give_up = time.monotonic() + 60
    while True:
        found = lifeline.bearers(mark)
        if last_words <= {word for one in found for word in one.cmdline()[-1:]}:
            return found
        assert time.monotonic() < give_up, [one.cmdline() for one in found]
        time.sleep(0.05)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sort", ["memory", "real"])
def test_a_killed_run_leaves_nothing_behind(sort):
    if sort == "real" and (why := control_plane.missing()):
        pytest.skip(why)
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, sort], cwd=REPO, env=os.environ | {"PYTHONPATH": str(REPO)},
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        told = json.loads(run.stdout.readline())
        watcher = psutil.Process(told["watcher"])
        left = started(told["mark"], {"1001", "1002"})
        if sort == "real":
            assert {"etcd", "kube-apiserver", "kube-controller-manager"} <= names_of(left)
        assert all(Path(one).is_dir() for one in told["folders"])
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
    psutil.wait_procs([*left, watcher], timeout=120)
    assert [one for one in left if one.is_running()] == []
    assert lifeline.bearers(told["mark"]) == []
    assert [one for one in told["folders"] if Path(one).exists()] == []


def test_a_run_that_ends_by_itself_is_no_concern_of_another():
    """Who is started by a run that is watched has a watcher of its own, and outlives nobody."""
    script = "from tests.support import lifeline; print(lifeline.mark(), lifeline.watcher().pid)"
    env = lifeline.marked(os.environ) | {"PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, env=env, capture_output=True, text=True, check=True)
    name, pid = done.stdout.split()
    assert name != lifeline.mark()
    if psutil.pid_exists(int(pid)):
        psutil.Process(int(pid)).wait(60)
    assert lifeline.watcher().poll() is None
