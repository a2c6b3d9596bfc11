"""Processes of a benchmark: started on one core, awaited, and ended whatever happens."""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_core(core: int) -> list[str]:
    """A command prefix; empty where cores can't be chosen."""
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return []
    return ["taskset", "-c", str(core)]


@contextlib.contextmanager
def running(command: list[str], port: int, *, core: int = SERVER_CORE, log: Path, path: str = "/") -> Iterator[int]:
    """The server's port, once it answers HTTP at all. RuntimeError with its log where it doesn't within 30 s."""
    with log.open("wb") as output:
        process = subprocess.Popen([*on_core(core), *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        _await(process, port, path, log)
        yield port
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", path)
            if connection.getresponse().status < 500:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args} does not answer:\n{log.read_text(errors='replace')[-2000:]}")


def python(*args: str) -> list[str]:
    return [sys.executable, *args]


def nginx_config(folder: Path, name: str, server: str, upstream: str = "") -> list[str]:
    """The command that runs nginx in the foreground with one worker and everything it writes inside `folder`."""
    root = folder / name
    root.mkdir(parents=True, exist_ok=True)
    temporary = "".join(
        f"{kind}_temp_path {root}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = root / "nginx.conf"
    config.write_text(
        f"worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log;\n"
        f"events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; keepalive_requests 100000000; {temporary}\n{upstream}\n{server}\n}}\n"
    )
    return ["nginx", "-c", str(config), "-e", f"{root}/error.log"]
