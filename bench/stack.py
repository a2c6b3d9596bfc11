"""Plimsoll as a user runs it, with its processes on known cores: straight at a replica, or through the gateway.

`straight` is `plimsoll serve` on core 0. `gateway` is `plimsoll up`: its replicas on core 0, its gateway and its
controller on core 1 beside the load, so that a replica has the same core to itself both ways.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from servers import LOAD_CORE, SERVER_CORE, free_port, on_core, python, running

WAYS = ("straight", "gateway")


@dataclass(frozen=True)
class Stack:
    """`url`: where requests go. Process ids: `doors` listen there (gateways, or the replica itself), `replicas`."""

    way: str
    url: str
    port: int
    doors: tuple[int, ...]
    replicas: tuple[int, ...]
    admin_port: int | None = None

    def status(self, service: str) -> dict[str, Any]:
        """What `plimsoll status` knows. Only through the gateway is there a controller to ask."""
        assert self.admin_port is not None, "plimsoll serve has no controller"
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        connection.request("GET", f"/v1/services/{service}")
        found: dict[str, Any] = json.load(connection.getresponse())
        return found


@contextlib.contextmanager
def serving(
    way: str, file: Path, path: str, *, work: Path, service: str = "", replicas: int = 1, options: tuple[str, ...] = ()
) -> Iterator[Stack]:
    """`file`: the service file; `path`: of its requests. Yields once `replicas` are ready."""
    port = free_port()
    log = work / f"{way}-{file.stem}.log"
    if way == "straight":
        chosen = ("--service", service) if service else ()
        command = python("-m", "plimsoll", "serve", str(file), "--port", str(port), *chosen, *options)
        with running(command, port, log=log, path="/v2/health/ready"):
            pid = _listening(port)
            yield Stack(way, f"http://127.0.0.1:{port}{path}", port, (pid,), (pid,))
        return
    admin = free_port()
    arguments = ["up", str(file), "--port", str(port), "--admin-port", str(admin), "--no-watch", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*on_core(LOAD_CORE), *python("-m", "plimsoll", *arguments)],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        found = _ready(process, admin, replicas, log, service)
        for pid in found:
            _move(pid, SERVER_CORE)
        doors = tuple(sorted(_listeners(port, process.pid)))
        yield Stack(way, f"http://127.0.0.1:{port}{path}", port, doors, found, admin)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], admin: int, wanted: int, log: Path, service: str) -> tuple[int, ...]:
    """Process ids of the ready replicas."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
            connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=5)
            connection.request("GET", "/v1/services")
            told = json.load(connection.getresponse())["services"]
            ready = [
                one["pid"]
                for each in told
                if not service or each["name"] == service
                for one in each["instances"]
                if one["phase"] == "ready" and one["pid"]
            ]
            if len(ready) >= wanted:
                return tuple(ready)
        time.sleep(0.05)
    raise RuntimeError(f"plimsoll up is not ready:\n{log.read_text(errors='replace')[-3000:]}")


def _move(pid: int, core: int) -> None:
    """A running process and its threads to one core; nothing where cores can't be chosen."""
    if on_core(core):
        for thread in psutil.Process(pid).threads():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread.id, {core})


def _listening(port: int) -> int:
    (pid,) = {one.pid for one in psutil.net_connections("tcp") if one.status == "LISTEN" and one.laddr.port == port}
    assert pid is not None
    return pid


def _listeners(port: int, parent: int) -> set[int]:
    children = psutil.Process(parent).children(recursive=True)
    return {
        child.pid
        for child in children
        for one in child.net_connections("tcp")
        if one.status == "LISTEN" and one.laddr.port == port
    }


def cpu_s(pids: tuple[int, ...]) -> float:
    """User and system seconds so far, of `/proc/PID/stat` (ticks of 10 ms)."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def rss_bytes(pids: tuple[int, ...]) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def replica_socket(stack: Stack) -> Path:
    """The Unix socket of `plimsoll up`'s one replica, where it believes who speaks."""
    found = {
        Path(one.laddr)
        for one in psutil.Process(stack.replicas[0]).net_connections("unix")
        if one.status == "NONE" and str(one.laddr).endswith(".sock") and "/r/" in str(one.laddr)
    }
    (path,) = found
    return path
