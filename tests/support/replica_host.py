"""A replica inside the test's process: a real Replica on a loop of its own thread, over a real Unix socket.

host = ReplicaHost(tmp_path, model=PUPPET)          # writes model.py, starts, waits until it is ready
answer = host.post("/puppet", {"do": "echo"})       # a new connection; `host.client()` keeps one
host.close()
"""

import asyncio
import http.client
import json
import shutil
import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop
from tests.support.puppet import PUPPET

from plimsoll.app.local import ReplicaSpawner
from plimsoll.app.replica import replica_settings
from plimsoll.backends.local.spawner_exec import ExecSpawner
from plimsoll.backends.local.spawner_fork import ForkSpawner
from plimsoll.core.errors import PlimsollError
from plimsoll.ports.spawner import ChildSpec
from plimsoll.server import Replica

REVISION = "puppet-1234567"
SUPPORT = Path(__file__).parent


class Answer:
    def __init__(self, status, headers, body, version=11):
        self.status, self.headers, self.body, self.version = status, headers, body, version

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def outcome(self):
        return self.headers.get("plimsoll-outcome")

    def __repr__(self):
        return f"Answer({self.status}, {self.headers}, {self.body[:300]!r})"


class Client(http.client.HTTPConnection):
    """One keep-alive connection over a Unix socket or TCP."""

    def __init__(self, address, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.address = address

    def connect(self):
        self.sock = connected(self.address, self.timeout)

    def ask(self, method, path, body=None, headers=None):
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.request(method, path, payload, headers or {})
        response = self.getresponse()
        names = {}
        for name, value in response.getheaders():
            assert name.lower() not in names, f"{name} is there twice"
            names[name.lower()] = value
        return Answer(response.status, names, response.read())


def connected(address, timeout=30):
    kind, _, where = address.partition(":")
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(where)
        return sock
    name, _, port = where.rpartition(":")
    return socket.create_connection((name, int(port)), timeout)


def service_document(name, path, spec=None):
    base = {"model": {"path": str(path)}, "routes": [{"path": f"/{name}"}]}
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": base | (spec or {}),
    }


class ReplicaHost:
    def __init__(
        self,
        folder,
        *,
        model=PUPPET,
        name="puppet",
        file="model.py",
        spec=None,
        listen="unix",
        spawner="exec",
        wait=True,
        **overrides,
    ):
        self.folder = Path(folder)
        self.name = name
        if model is not None:
            (self.folder / file).write_text(model)
        self.run_dir = tempfile.mkdtemp(prefix="pr-", dir="/tmp")
        self.events, self.ended, self.loop_errors = [], [], []
        self.error = None
        self._news = threading.Condition()
        self._overrides = overrides
        self._spawner_kind = spawner
        address = f"unix:{self.run_dir}/r.sock" if listen == "unix" else "tcp:127.0.0.1:0"
        self.args = {
            "service": service_document(name, self.folder / file, spec),
            "model_path": str(self.folder / file),
            "directory": str(self.folder),
            "revision": REVISION,
            "replica": f"{name}-0",
            "listen": address,
        }
        self.address = address
        self.replica = self.loop = None
        self._closing = None
        self._up = threading.Event()
        self._pool = ThreadPoolExecutor(64)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._up.wait(20)
        if wait:
            self.started()

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self):
        from dataclasses import replace

        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _, context: self.loop_errors.append(context))
        self._closing = asyncio.Event()
        settings = replace(replica_settings(self.args), **self._overrides)
        spawner = ForkSpawner(self.run_dir) if self._spawner_kind == "fork" else ExecSpawner()
        self.replica = Replica(settings, spawner, self._report, on_end=self._end)
        starting = asyncio.ensure_future(self.replica.start())
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.sleep(0)
        self._up.set()
        await asyncio.wait({starting, closing}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and starting.exception() is not None:
            self.error = starting.exception()
            self._tell()
            if not isinstance(self.error, PlimsollError):
                self.loop_errors.append(self.error)
        else:
            self.address = self.replica.address or self.address
            self._tell()
        await closing
        starting.cancel()
        await self.replica.close()
        await spawner.close()

    def _report(self, event):
        if event["event"] == "ready":
            self.address = event["address"]
        self.events.append(event)
        self._tell()

    def _end(self, reason):
        self.ended.append(reason)
        self._tell()

    def _tell(self):
        with self._news:
            self._news.notify_all()

    def until(self, condition, within=20.0, message="not in time"):
        """Waits for an event of the replica, or polls for what only files or other processes tell."""
        end = time.monotonic() + within
        with self._news:
            while not (found := condition()):
                left = end - time.monotonic()
                assert left > 0, f"{message}; events: {[e for e in self.events if e['event'] != 'load']}"
                self._news.wait(min(left, 0.005))
        return found

    def started(self):
        self.until(lambda: self.error or self.event("ready"))
        if self.error:
            raise self.error
        return self

    def event(self, kind):
        return next((event for event in self.events if event["event"] == kind), None)

    # requests

    def client(self, timeout=30):
        return Client(self.address, timeout)

    def ask(self, method, path, body=None, headers=None):
        client = self.client()
        try:
            return client.ask(method, path, body, headers)
        finally:
            client.close()

    def get(self, path, headers=None):
        return self.ask("GET", path, None, headers)

    def post(self, path, body, headers=None):
        return self.ask("POST", path, body, headers)

    def plain(self, item, headers=None):
        return self.post(f"/{self.name}", item, headers)

    def later(self, item, headers=None):
        """A future of the answer, asked on a thread."""
        return self._pool.submit(self.plain, item, headers)

    # what the model did

    def path(self, name):
        return self.folder / name

    def calls(self):
        """[(pid, tags), …]"""
        log = self.path("calls.log")
        return [tuple(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []

    def tags(self):
        return [tags for _, tags in self.calls() if any(tag is not None for tag in tags)]

    def hold(self, name="gate"):
        """Keeps the model busy until `release(name)`; returns once it is. The answer's future."""
        busy = self.later({"do": "wait", "for": name})
        self.until(lambda: self.path(f"{name}.started").exists(), message="the model did not start")
        return busy

    def release(self, name="gate"):
        self.path(name).touch()

    def queued(self, count):
        """Waits until so many requests are in the queue."""
        self.until(lambda: len(self.replica._engine.queue) == count, message=f"{count} requests did not queue")

    def in_flight(self, count):
        self.until(lambda: self.replica._intake.in_flight == count, message=f"in flight is not {count}")

    def metric(self, name, **labels):
        """The sum of the samples of `name` whose labels hold `labels`."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            mine = line.startswith(name) and line[len(name)] in "{ "
            if mine and all(f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rpartition(" ")[2])
        return total

    def outcomes(self):
        found = {}
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith("plimsoll_requests_total{") and not line.endswith(" 0.0"):
                found[line.partition('outcome="')[2].partition('"')[0]] = int(float(line.rpartition(" ")[2]))
        return found

    def on_loop(self, function, *args):
        """Calls `function` on the replica's loop; awaits what it returns where that is a coroutine."""

        async def call():
            result = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(30)

    def close(self):
        if self.loop is not None and not self.loop.is_closed() and self._thread.is_alive():
            for name in self.folder.glob("*.started"):
                name.with_suffix("").touch()
            self.loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(20)
        self._pool.shutdown(wait=False, cancel_futures=True)
        shutil.rmtree(self.run_dir, ignore_errors=True)
        assert not self._thread.is_alive(), "the replica did not close"
        assert not self.loop_errors, f"the loop reported {self.loop_errors}"


class ReplicaChild:
    """`plimsoll.app.replica:main` as a real process by a real spawner, driven from an asyncio test."""

    def __init__(self, spawner, folder, run_dir, *, name="puppet", file="model.py", spec=None, model=PUPPET, cpus=()):
        if model is not None:
            (Path(folder) / file).write_text(model)
        self.spawner, self.events, self.exit = spawner, [], None
        self.news = asyncio.Event()
        self.address = f"unix:{run_dir}/c.sock"
        self.log = Path(run_dir) / "replica.log"
        self.path = f"/{name}"
        preload = ("onnxruntime",) if file.endswith(".onnx") else ()
        args = {
            "service": service_document(name, Path(folder) / file, spec),
            "model_path": str(Path(folder) / file),
            "directory": str(folder),
            "revision": REVISION,
            "replica": f"{name}-0",
            "listen": self.address,
            "fork_server": spawner.server_path(preload),
        }
        self.spec = ChildSpec("plimsoll.app.replica:main", args, log_path=str(self.log), preload=preload, cpus=cpus)
        self.child = None

    async def start(self, wait=True):
        self.child = await ReplicaSpawner(self.spawner).spawn(self.spec, on_status=self._status, on_exit=self._exited)
        if wait:
            await self.until(lambda: self.event("ready") or self.exit is not None)
            assert self.exit is None, f"it ended with {self.exit}: {self.events}\n{self.log.read_text()}"
        return self

    def _status(self, event):
        self.events.append(event)
        self.news.set()

    def _exited(self, status):
        self.exit = status
        self.news.set()

    def event(self, kind):
        return next((event for event in self.events if event["event"] == kind), None)

    async def until(self, condition, within=30.0):
        async with asyncio.timeout(within):
            while not (found := condition()):
                self.news.clear()
                if not (found := condition()):
                    try:
                        await asyncio.wait_for(self.news.wait(), 0.02)
                    except TimeoutError:
                        continue
                else:
                    break
        return found

    async def ended(self, within=30.0):
        await self.until(lambda: self.exit is not None, within)
        return self.exit

    def terminate(self):
        self.child.signal(signal.SIGTERM)

    def ask(self, method, path, body=None, headers=None, timeout=30):
        """In a thread: awaitable."""

        def call():
            client = Client(self.address, timeout)
            try:
                return client.ask(method, path, body, headers)
            finally:
                client.close()

        return asyncio.get_running_loop().run_in_executor(None, call)

    def post(self, body, headers=None):
        return self.ask("POST", self.path, body, headers)
