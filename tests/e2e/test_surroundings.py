"""Odd surroundings: a full disk, long paths, missing variables, other umasks, several instances at once."""

import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

PLIMSOLL = [sys.executable, "-m", "plimsoll.cli.main"]
CHATTY = """
class Model:
    def predict(self, batch):
        print("x" * 2000, flush=True)
        return [{"got": item} for item in batch]
"""


def no_file_beyond(size):
    """For `preexec_fn`: what a full disk does, by a limit that needs no disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def started(free_port):
    """`started(folder, env, **popen)`: `plimsoll up` to its greeting; (process, port, its lines)."""
    running = []

    def start(folder, env, *args, **popen):
        port = free_port()
        process = subprocess.Popen(
            [*PLIMSOLL, "up", "--port", str(port), "--admin-port", str(free_port()), *args],
            cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **popen,
        )  # fmt: skip
        running.append(process)
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if "stop:" in line:
                break
        return process, port, lines

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)
        process.stdout.close()


def ask(port, value):
    import http.client
    import json

    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("POST", "/mood", json.dumps(value))
    answer = client.getresponse()
    status, body = answer.status, json.loads(answer.read())
    client.close()
    return status, body


def test_a_full_disk_at_the_start_is_one_line(started, service, env):
    process, _, lines = started(service(), env, preexec_fn=no_file_beyond(0))
    assert process.wait(60) == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert lines[0].endswith("File too large")


def test_a_disk_that_fills_up_fails_no_request(started, service, env):
    """Neither the model's own lines nor ours have room any more; what is served goes on."""
    folder = service(model=CHATTY)
    process, port, _ = started(folder, env, preexec_fn=no_file_beyond(4096))
    for number in range(20):
        assert ask(port, number) == (200, {"got": number})
    (folder / "model.py").write_text(CHATTY + "#" * 5000)  # its copy has no room: told, and the old one serves on
    told = next(line for line in process.stdout if "File too large" in line)
    assert "the model cannot be copied" in told
    assert ask(port, 1) == (200, {"got": 1})


@pytest.mark.parametrize("case", ["long", "missing", "unset"])
def test_the_run_folder_finds_a_place(started, service, env, tmp_path, case):
    runtime = tmp_path / ("x" * 60)
    if case == "long":
        runtime.mkdir(mode=0o700)
    env = env | {"XDG_RUNTIME_DIR": str(runtime)}
    for name in ("XDG_RUNTIME_DIR", "HOME") if case == "unset" else ():
        env.pop(name, None)
    process, port, lines = started(service(), env)
    assert ask(port, 1)[0] == 200, lines
    folder = f"/tmp/plimsoll-{os.getuid()}/{port}"
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    done = subprocess.run(
        [*PLIMSOLL, "status", "--port", str(port)], env=env, check=False, capture_output=True, text=True, timeout=60
    )
    assert "mood" in done.stdout, done.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert not os.path.exists(folder)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nothing_is_open_to_others_whatever_the_umask(started, service, env, umask):
    _, port, _ = started(service(), env, umask=umask)
    assert ask(port, 1)[0] == 200
    root = os.path.join(env["XDG_RUNTIME_DIR"], "plimsoll")
    assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
    sockets = [os.path.join(at, name) for at, _, names in os.walk(root) for name in names if name.endswith(".sock")]
    assert len(sockets) >= 5, sockets  # admin, control, gateway, replica, fork server
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in sockets} == {0o600}


@pytest.mark.skipif(sys.platform != "linux", reason="other users' sockets are listed on Linux alone")
def test_nobody_listens_for_other_machines(started, service, env):
    process, _, _ = started(service(), env)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    listening = {
        one.laddr.ip for member in family for one in member.net_connections("inet") if one.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in listening


def test_several_start_at_once(started, service, env):
    found, threads = {}, []
    for name in ("one", "two", "three"):
        folder = service(name, path="/mood")
        threads.append(threading.Thread(target=lambda f=folder, n=name: found.update({n: started(f, env)})))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {ask(port, 1)[0] for _, port, _ in found.values()} == {200}
    assert len({port for _, port, _ in found.values()}) == 3


def test_secrets_in_the_environment_and_in_payloads_are_told_nobody(started, service, env):
    env = env | {"API_TOKEN": "hunter2-in-the-environment"}
    _, port, lines = started(service(), env)
    assert ask(port, "hunter2-in-the-payload")[0] == 200
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(
        b"POST /mood HTTP/1.1\r\nhost: x\r\nauthorization: hunter2-in-a-header\r\ncontent-length: 3\r\n\r\n{{{"
    )
    assert b"400" in client.recv(65536)
    client.close()
    told = subprocess.run(
        [*PLIMSOLL, "status", "--json"], env=env, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    logs = Path(env["XDG_RUNTIME_DIR"]) / "plimsoll" / str(port) / "logs"
    told += "".join(log.read_text() for log in logs.iterdir())
    assert "mood" in told
    assert "hunter2" not in told + "".join(lines)
