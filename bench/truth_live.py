"""One live run of `truth.py`: `plimsoll up`, `plimsoll load` with the trace, and how long replicas existed.

Nothing is pinned to a core: `profile` measures as the kernel places, and so does a user.
"""

import contextlib
import csv
import http.client
import json
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realtime import before_others
from servers import free_port, python

ACCEPTED = ("ok", "degraded", "cached")
_LOOK_S = 0.5


@dataclass(frozen=True)
class Run:
    """Milliseconds, of the accepted. `ready`: most replicas at once."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    replica_s: float
    offered: int
    refused: int
    lag_p99_ms: float
    queue_p50_ms: float
    compute_p50_ms: float
    acts: int


def live(file: Path, name: str, trace: Path, seconds: float, *, realtime: bool) -> Run:
    port, admin = free_port(), free_port()
    arguments = ["up", str(file), "--port", str(port), "--admin-port", str(admin), "--no-watch", "--cores", "2"]
    with tempfile.TemporaryDirectory() as folder:
        log, requests = Path(folder) / "up.log", Path(folder) / "requests.csv"
        with running(python("-m", "plimsoll", *arguments), log) as up, before_others(up.pid, realtime):
            _ready(up, admin, name, log)
            with watching(admin, name) as watch:
                command = python("-m", "plimsoll", "load", name)
                command += ["--port", str(port), "--trace", str(trace), "--json", "--requests", str(requests)]
                told = run_json(command, realtime)
            acts = sum(one["kind"] == "scaled" for one in _events(admin))
            return _run(told, requests, watch.replica_s(told["started_at"], seconds), acts)


def run_json(command: list[str], realtime: bool = False) -> Any:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with before_others(process.pid, realtime):
        output, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{output[-1000:]}{errors[-2000:]}")
    return json.loads(output)


def _run(told: dict[str, Any], requests: Path, replica_s: float, acts: int) -> Run:
    with requests.open(newline="") as file:
        took = sorted(float(row["latency_ms"]) for row in csv.DictReader(file) if row["outcome"] in ACCEPTED)
    if not took:
        raise RuntimeError(f"nobody was answered: {told['outcomes']}")
    return Run(
        *(took[min(int(len(took) * q), len(took) - 1)] for q in (0.5, 0.95, 0.99)),
        replica_s=replica_s,
        offered=told["offered"],
        refused=told["offered"] - len(took),
        lag_p99_ms=told["generator_lag_ms"]["p99"] or 0.0,
        queue_p50_ms=told["queue_ms"]["p50"] or 0.0,
        compute_p50_ms=told["compute_ms"]["p50"] or 0.0,
        acts=acts,
    )


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def _ready(up: "subprocess.Popen[bytes]", admin: int, name: str, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and up.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
            if any(one["phase"] == "ready" for one in _service(admin, name)["instances"]):
                return
        time.sleep(0.05)
    raise RuntimeError(f"plimsoll up is not ready:\n{log.read_text(errors='replace')[-3000:]}")


def _get(admin: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _service(admin: int, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_get(admin, f"/v1/services/{name}"))
    return found


def _events(admin: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _get(admin, "/v1/events").splitlines() if line.strip()]


@dataclass
class Watch:
    """`seen`: (unix seconds, replicas that exist, in whatever phase)."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def replica_s(self, start: float, seconds: float) -> float:
        """Each count holds until the next look."""
        total, end = 0.0, start + seconds
        for (at, count), (until, _) in zip(self.seen, [*self.seen[1:], (end, 0)], strict=True):
            total += count * max(0.0, min(until, end) - max(at, start))
        return total


@contextlib.contextmanager
def watching(admin: int, name: str) -> Iterator[Watch]:
    watch, stop = Watch(), threading.Event()

    def look() -> None:
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                count = len(_service(admin, name)["instances"])
                watch.seen.append((time.time(), count))
            if stop.wait(_LOOK_S):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join(10)
