"""Real `plimsoll up` processes, real clients. Every process that a test started is gone when it ends."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.support import ports

REPO = Path(__file__).resolve().parents[2]
PLIMSOLL = [sys.executable, "-m", "plimsoll.cli.main"]


# How long is waited for what should come is no statement about how fast it is: a shared machine takes several times
# as long as a free one, and a wait that is too long costs nothing where it comes.
def eventually(condition, *, within=30.0, message="not in time"):
    """Polls for what no event tells us about from outside: another process's state."""
    until = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until, message() if callable(message) else message
        time.sleep(0.02)


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Client:
    """One keep-alive connection; over TLS where `context` is an SSLContext."""

    def __init__(self, port, timeout=60, context=None):
        if context is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        else:
            self.connection = http.client.HTTPSConnection("localhost", port, timeout=timeout, context=context)

    def post(self, path, body, headers=None):
        """(status, headers with lower-case names, decoded body)."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._answer("POST", path, payload, headers)

    def get(self, path):
        return self._answer("GET", path, None, None)

    def _answer(self, method, path, payload, headers):
        self.connection.request(method, path, payload, headers or {})
        response = self.connection.getresponse()
        text = response.read()
        names = {name.lower(): value for name, value in response.getheaders()}
        return response.status, names, json.loads(text) if text[:1] in b'{["' and text else text

    def close(self):
        self.connection.close()


class Load:
    """Requests one after another on `connections` connections until `stop`; keeps every answer and every failure."""

    def __init__(self, port, path, body, connections=4):
        self.answers, self.failures = [], []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(port, path, body), daemon=True) for _ in range(connections)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, port, path, body):
        client = Client(port)
        while not self._stop.is_set():
            try:
                status, headers, answer = client.post(path, body)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                client = Client(port)
                continue
            (self.answers if status == 200 else self.failures).append(
                answer if status == 200 else (status, headers.get("plimsoll-outcome"), answer)
            )
            time.sleep(0.002)  # two cores are shared with the server: a closed loop without pause would starve it
        client.close()

    def more(self, count, within=60.0):
        """Waits for `count` answers more than now."""
        wanted = len(self.answers) + count
        eventually(lambda: len(self.answers) >= wanted, within=within, message=lambda: f"stuck; {self.failures[:3]}")

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request never came back"


class Up:
    """A running `plimsoll up`."""

    def __init__(self, args, *, cwd, env, port, admin_port):
        self.port, self.admin_port, self.env, self.cwd = port, admin_port, env, cwd
        self.run_dir = Path(env["XDG_RUNTIME_DIR"]) / "plimsoll" / str(port)
        self.lines = []
        self.seen_pids = set()
        self.process = subprocess.Popen(
            [*PLIMSOLL, "up", "--port", str(port), "--admin-port", str(admin_port), *map(str, args)],
            cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def output(self):
        return "\n".join(self.lines)

    def line(self, pattern, *, within=60.0, start=0):
        """The first line from `start` on that matches; waits for it."""
        until = time.monotonic() + within
        with self._news:
            while True:
                for line in self.lines[start:]:
                    if re.search(pattern, line):
                        return line
                left = until - time.monotonic()
                assert left > 0, f"no line like {pattern!r} in {within} s:\n{self.output}"
                assert not self._ended, f"ended without a line like {pattern!r}:\n{self.output}"
                self._news.wait(left)

    def ready(self):
        """Everything is up (or failed) and the last line of the greeting stands there."""
        self.line(r"stop: +Ctrl-C")
        self.children()
        return self

    def children(self):
        """Every process below it now, and into `seen_pids`."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen_pids |= {child.pid for child in found}
        return found

    def client(self):
        return Client(self.port)

    def post(self, path, body, headers=None):
        client = self.client()
        try:
            return client.post(path, body, headers)
        finally:
            client.close()

    def cli(self, *args, check=0, timeout=100):
        done = subprocess.run(
            [*PLIMSOLL, *map(str, args)],
            cwd=self.cwd,
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert check is None or done.returncode == check, (
            f"{args} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done

    def status(self, name):
        return json.loads(self.cli("status", name, "--json").stdout)["services"][0]

    def interrupt(self):
        """Ctrl-C in the terminal: SIGINT to the whole foreground process group. Returns the exit code."""
        self.children()
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def wait(self, within=60):
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {within} s:\n{self.output}")
        self._reader.join(10)
        return code

    def nothing_left(self, *, within=20.0):
        eventually(
            lambda: not [pid for pid in self.seen_pids if alive(pid)],
            within=within,
            message=lambda: f"left behind: {[psutil.Process(p).cmdline() for p in self.seen_pids if alive(p)]}",
        )

    def destroy(self):
        self.children()
        for pid in [self.process.pid, *self.seen_pids]:
            if alive(pid) and (pid != self.process.pid or self.process.poll() is None):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(10)
        self.process.stdout.close()


@pytest.fixture
def env():
    """An environment of its own: a short run folder, no colours, and nobody else's instances."""
    runtime = tempfile.mkdtemp(prefix="px-", dir="/tmp")
    yield os.environ | {"XDG_RUNTIME_DIR": runtime, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def up(env, tmp_path):
    """`up("service.yaml", …)`: starts it in `tmp_path`."""
    started = []

    def start(*args, cwd=None, port=None):
        door, admin = ports.free_ports(2)
        one = Up(args, cwd=cwd or tmp_path, env=env, port=port or door, admin_port=admin)
        started.append(one)
        return one

    yield start
    for one in started:
        one.destroy()


@pytest.fixture
def plimsoll(env, tmp_path):
    """One command, to its end."""

    def run(*args, cwd=None, timeout=100, **extra):
        return subprocess.run(
            [*PLIMSOLL, *map(str, args)],
            cwd=cwd or tmp_path, env=env | extra, check=False, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    return run


@pytest.fixture
def service(tmp_path):
    """`service("mood", model="…", spec="…")`: writes mood/service.yaml and mood/model.py; returns the folder."""

    def write(name="mood", *, model=ECHO, spec="", path="/{name}", folder=None):
        at = tmp_path / (folder or name)
        at.mkdir(exist_ok=True)
        (at / "model.py").write_text(model)
        (at / "service.yaml").write_text(
            "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\n"
            f"metadata: {{name: {name}}}\n"
            "spec:\n"
            "  model: {path: ./model.py}\n"
            f"  routes: [{{path: {path.format(name=name)}}}]\n" + spec
        )
        return at

    return write


@pytest.fixture
def load():
    """`load(port, path, body)`: a Load that has ended when the test has."""
    started = []

    def start(*args, **options):
        started.append(Load(*args, **options))
        return started[-1]

    yield start
    for one in started:
        one._stop.set()


@pytest.fixture
def until():
    return eventually


ECHO = """
VERSION = 1


class Model:
    def load(self):
        print("loaded version", VERSION, flush=True)

    def predict(self, batch):
        return [{"version": VERSION, "value": item} for item in batch]
"""


@pytest.fixture
def echo():
    """The model that `service` writes by default: answers {"version": 1, "value": <what it got>}."""
    return ECHO


@pytest.fixture
def slow():
    """`slow(0.2)`: a model that takes that long a call."""
    predict = "    def predict(self, batch):\n"
    return lambda seconds: ECHO.replace(predict, f"{predict}        import time; time.sleep({seconds})\n")


@pytest.fixture
def free_port():
    return ports.free_port
