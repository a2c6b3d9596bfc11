"""How long things take to start, and what an idle replica weighs."""

import asyncio
import http.client
import json
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

from plimsoll.app.local import local_backend, local_spawner
from plimsoll.models import preload_modules
from plimsoll.models.source import ModelSource
from plimsoll.ports.backend import DesiredReplicas, ReplicaPhase, ReplicaTemplate
from servers import HERE, free_port, python
from table import Row

_SENTIMENT = HERE.parent / "examples" / "sentiment" / "service.yaml"


def measure_startup(digits: Path, work: Path, rounds: int) -> list[Row]:
    ready_s, rss = asyncio.run(_replicas(digits, rounds))
    first_s = median(_up_to_first_answer(work) for _ in range(rounds))
    help_s = median(_seconds(python("-m", "plimsoll", "--help")) for _ in range(rounds))
    pass_s = median(_seconds(python("-c", "pass")) for _ in range(rounds))
    return [
        Row("start", "replica wanted → ready, digits", f"{ready_s * 1000:.0f} ms", "100 ms", ready_s / 0.1, "≤ 1.0"),
        Row("start", "idle replica, RSS", f"{rss / 1e6:.0f} MB", "75 MB", rss / 75e6, "≤ 1.0"),
        Row("start", "up → first answer, sentiment", f"{first_s:.2f} s", "2 s", first_s / 2, "≤ 1.0"),
        Row(
            "start",
            "plimsoll --help",
            f"{help_s * 1000:.0f} ms",
            f"python -c pass {pass_s * 1000:.0f} ms",
            help_s / pass_s,
            "≤ 12",
        ),
    ]


async def _replicas(model: Path, rounds: int) -> tuple[float, int]:
    """Median seconds from `apply` to ready with a warm fork server, and an idle replica's RSS in bytes."""
    run_dir = Path(tempfile.mkdtemp(dir="/tmp", prefix="plb-"))
    spawner = local_spawner(run_dir, "fork")
    backend = local_backend(run_dir, spawner)
    preload = preload_modules(ModelSource("digits", str(model)))
    service = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "digits"},
        "spec": {"model": {"path": str(model)}},
    }
    args = {"service": service, "model_path": str(model), "directory": str(model.parent), "revision": "digits-1"}
    template = ReplicaTemplate("digits", "digits-1", args, preload=preload)
    try:
        await backend.start()
        await spawner.warm(preload)
        seconds = []
        for count in range(1, rounds + 1):
            began = time.perf_counter()
            await backend.apply((DesiredReplicas(template, count),))
            while sum(replica.phase is ReplicaPhase.READY for replica in backend.observe()) < count:
                await backend.changed()
            seconds.append(time.perf_counter() - began)
        await asyncio.sleep(1)
        sizes = [psutil.Process(replica.pid).memory_info().rss for replica in backend.observe() if replica.pid]
        return median(seconds), max(sizes)
    finally:
        await backend.close()
        await spawner.close()
        shutil.rmtree(run_dir, ignore_errors=True)


def _up_to_first_answer(work: Path) -> float:
    """Seconds from `plimsoll up` to the answer of its sentiment example."""
    port, admin = free_port(), free_port()
    began = time.perf_counter()
    log = (work / "up.log").open("wb")
    command = python("-m", "plimsoll", "up", str(_SENTIMENT), "--port", str(port), "--admin-port", str(admin))
    process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        while time.perf_counter() - began < 30:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("POST", "/analyze", b'{"text":"what a lovely day"}')
                if json.load(connection.getresponse()).get("label"):
                    return time.perf_counter() - began
            except (OSError, http.client.HTTPException, ValueError):
                pass
            if process.poll() is not None:
                break
            time.sleep(0.005)
        raise RuntimeError(f"plimsoll up did not answer:\n{(work / 'up.log').read_text()}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        log.close()


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began
