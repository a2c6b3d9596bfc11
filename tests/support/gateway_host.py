"""A real gateway in this process, scriptable replicas behind it, and a client that reads every byte.

    async with GatewayHost() as host:
        replica = await host.replica("a")
        host.serve(view("mood", replica))
        assert (await host.post("/v2/models/mood/infer")).status == 200

Whatever a test does, at its end nothing may be left in flight, and the counters must say what the clients saw.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from random import Random

import uvloop

from plimsoll.core.snapshot import Endpoint, EndpointState, Route, ServiceView, Snapshot
from plimsoll.gateway import Gateway, GatewaySettings
from plimsoll.telemetry.server_timing import parse
from plimsoll.wire.http1 import HttpServer, HttpSettings
from plimsoll.wire.status import refusal

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
OK_LINES = (
    b"content-type: application/json\r\nserver-timing: queue;dur=1.5, compute;dur=2.5\r\nplimsoll-outcome: ok\r\n"
)


def run(loop_name, main, seconds=60):
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        return runner.run(asyncio.wait_for(main, seconds))


async def until(condition, seconds=20.0):
    """For what no event tells: another object's state. How long it waits is no statement about how fast that is."""
    async with asyncio.timeout(seconds):
        while not (found := condition()):  # noqa: ASYNC110 # no event
            await asyncio.sleep(0.001)
    return found


# --- what a replica may do with a request: `script(replica, exchange)` ------------------------------------------------


def ok(replica, exchange):
    exchange.respond(200, OK_LINES, exchange.body or b'{"from":"%b"}' % replica.name.encode())


def answer(status, outcome, body=b"{}", more=b""):
    lines = b"content-type: application/json\r\nplimsoll-outcome: %b\r\n%b" % (outcome.encode(), more)
    return lambda replica, exchange: exchange.respond(status, lines, body)


def silent(replica, exchange):
    """Never answers, as a stopped process."""


def crash(replica, exchange):
    """The connection breaks before an answer."""
    exchange.connection.abort()


def crash_computing(replica, exchange):
    exchange.interim(102)
    exchange.connection.abort()


def crash_midway(replica, exchange):
    """Half an answer, then nothing."""
    exchange.connection.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    exchange.connection.abort()


def raw(data):
    return lambda replica, exchange: exchange.connection.transport.write(data)


def die(replica, exchange):
    replica.kill()


def loaded(wait_ms, item_ms=1.0, script=None):
    """Answers with a report of its load."""
    line = (
        b"endpoint-load-metrics: TEXT application_utilization=0.500,named_metrics.queued=3,"
        b"named_metrics.wait_ms=%.2f,named_metrics.item_ms=%.3f\r\n" % (wait_ms, item_ms)
    )
    return lambda replica, exchange: exchange.respond(200, OK_LINES + line, exchange.body)


def later(script, event):
    """Does `script` once `event` is set."""

    def wait(replica, exchange):
        async def act():
            await event.wait()
            if exchange not in replica.gone and not exchange.connection.transport.is_closing():
                script(replica, exchange)

        replica.spawn(act())

    return wait


class Replica:
    """An HTTP server that does what its script says: `scripts` first, one a request, then `script` for each."""

    def __init__(self, folder, name, script=ok, **http):
        self.name, self.folder = name, folder
        self.address = f"unix:{folder}/{name}.sock"
        self.script = script
        self.scripts = []
        self.requests, self.gone = [], []
        self.probes = []  # the gateway's own questions whether it lives; the script answers them, too
        self.news = asyncio.Event()
        self._http = HttpSettings(**http)
        self._tasks = set()
        self.server = HttpServer(self, self._http)

    async def start(self, address=None):
        self.server = HttpServer(self, self._http)
        self.address = await self.server.start(address or self.address)
        return self

    def kill(self):
        """As SIGKILL: nobody listens, every connection breaks."""
        self.server.stop_listening()
        for connection in list(self.server._connections):
            connection.abort()

    async def close(self):
        for task in self._tasks:
            task.cancel()
        await self.server.close(0)

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def connections(self):
        return self.server.connections

    async def got(self, count, seconds=20.0):
        await until(lambda: len(self.requests) >= count, seconds)

    def header(self, name, which=-1):
        return self.requests[which].header(name.encode())

    def on_request(self, exchange):
        if exchange.path == "/v2/health/live":
            self.probes.append(exchange)
            self.script(self, exchange)
            return
        self.requests.append(exchange)
        (self.scripts.pop(0) if self.scripts else self.script)(self, exchange)

    def on_gone(self, exchange):
        self.gone.append(exchange)

    def on_refused(self, error, arrived):
        return refusal(error)


# --- the client -------------------------------------------------------------------------------------------------------


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __getitem__(self, name):
        """The one value; two of a name are an error, as is none."""
        (value,) = [value for key, value in self.headers if key == name]
        return value

    def __contains__(self, name):
        return any(key == name for key, _ in self.headers)

    @property
    def outcome(self):
        return self["plimsoll-outcome"]

    @property
    def timing(self):
        """Seconds by name."""
        return parse(self["server-timing"].encode())

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.body[:200]}>"


class Client:
    """One keep-alive connection."""

    @classmethod
    async def connect(cls, address):
        self = cls()
        kind, _, rest = address.partition(":")
        if kind == "unix":
            self.reader, self.writer = await asyncio.open_unix_connection(rest)
        else:
            host, _, port = rest.rpartition(":")
            self.reader, self.writer = await asyncio.open_connection(host.strip("[]"), int(port))
        return self

    def send(self, method, path, body=b"", headers=(), version="1.1"):
        lines = [f"{method} {path} HTTP/{version}"]
        names = {name.lower() for name, _ in headers}
        if "host" not in names:
            lines.append("host: test")
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers]
        self.writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    async def receive(self, method="POST"):
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = [tuple(line.split(": ", 1)) for line in lines]
        status = int(first.split()[1])
        length = 0 if method == "HEAD" or status in (204, 304) else int(dict(headers)["content-length"])
        return Answer(status, headers, await self.reader.readexactly(length))

    async def ask(self, method, path, body=b"", headers=(), version="1.1"):
        self.send(method, path, body, headers, version)
        return await self.receive(method)

    async def ended(self):
        """Whether the server has closed, with nothing more to say."""
        return await asyncio.wait_for(self.reader.read(), 5) == b""

    def close(self):
        self.writer.close()

    def abort(self):
        self.writer.transport.abort()


# --- the gateway ------------------------------------------------------------------------------------------------------


def endpoint(replica, state=EndpointState.READY, revision="mood-1111111"):
    return Endpoint(replica.name, revision, replica.address, state)


def draining(replica):
    return endpoint(replica, EndpointState.DRAINING)


def view(name, *replicas, revision="mood-1111111", routes=(), **fields):
    """`replicas`: Replicas or Endpoints."""
    endpoints = tuple(one if isinstance(one, Endpoint) else endpoint(one, revision=revision) for one in replicas)
    routes = tuple(Route(route) if isinstance(route, str) else Route(*route) for route in routes)
    return ServiceView(name, revision, routes, endpoints, **fields)


class GatewayHost:
    """`tcp`: listen on a TCP port instead of a Unix socket. Settings by name."""

    PATH = "/v2/models/mood/infer"

    def __init__(self, *, tcp=False, control=None, seed=1, start=True, **settings):
        self.folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")
        self._settings = {
            "name": "gateway-0",
            "listen": ("tcp:127.0.0.1:0",) if tcp else (f"unix:{self.folder}/door.sock",),
            "control": control or f"unix:{self.folder}/control.sock",
            "grace_s": 0.02,
            "drain_s": 5.0,
        } | settings
        self._seed, self._start, self._given_control = seed, start, control is not None
        self.replicas, self.errors = [], []
        self.version = 0
        self.seen = Counter()  # (outcome) of every answer that a client of `ask` and `post` got
        self.cancelled = 0  # how many clients of ours left
        self.series_may_end = False  # a service was deleted, and its counters with it

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.gateway = Gateway(GatewaySettings(**self._settings), random=Random(self._seed))
        self.door = self.gateway.door
        if not self._given_control:
            self.gateway._known.set()  # nobody is there to send one; tests call `serve`
        if self._start:
            self.addresses = await self.gateway.start()
            self.address = self.addresses[0]
        return self

    async def __aexit__(self, kind, error, traceback):
        try:
            if kind is None:
                await self.quiet()
                if not self.series_may_end:
                    assert self.counted() == +self.seen + Counter(cancelled=self.cancelled)
        finally:
            await self.gateway.close()
            for replica in self.replicas:
                await replica.close()
            shutil.rmtree(self.folder)
        if kind is None:
            assert not self.errors, self.errors

    async def quiet(self):
        """Nothing of any request is left anywhere."""
        door = self.door
        await until(lambda: door.in_flight == 0, 5)  # no longer: deadlines would end what was forgotten
        assert len(door._wheel) == 0
        assert not door._wheel._slots
        for service in door.services.values():
            assert service.in_flight == 0
            assert len(service.held) == 0
            assert service.held.bytes == 0
            for upstream in service.upstreams.values():
                assert upstream.outstanding == 0
                assert not upstream._waiting
                assert not len(upstream.overdue), "it is waited for who has ended"
                await until(lambda upstream=upstream: upstream._connecting == 0)
                assert upstream._open == len(upstream._idle), "a connection is neither idle nor in use"
                assert all(connection.idle or connection.closed for connection in upstream._idle)

    async def replica(self, name, script=ok, start=True, address=None, **http):
        replica = Replica(self.folder, name, script, **http)
        self.replicas.append(replica)
        return await replica.start(address) if start else replica

    def serve(self, *views, tenants=(), **fields):
        """A new snapshot takes effect."""
        self.version += 1
        self.gateway._take(Snapshot(self.version, views, tuple(tenants), **fields))

    def service(self, name="mood"):
        return self.door.services[name]

    async def client(self):
        return await Client.connect(self.address)

    async def ask(self, method, path, body=b"", headers=(), page=False):
        """Over a connection of its own. `page`: the gateway's own, which isn't counted."""
        client = await self.client()
        try:
            got = await client.ask(method, path, body, headers)
        finally:
            client.close()
        if not page:
            self.seen[got.outcome] += 1
        return got

    async def post(self, path=PATH, body=b"{}", headers=()):
        return await self.ask("POST", path, body, headers)

    def asking(self, *args, **kwargs):
        """A task of `post`."""
        return asyncio.ensure_future(self.post(*args, **kwargs))

    async def leave(self, client):
        """A client that waits for one answer goes away instead."""
        self.cancelled += 1
        client.abort()

    def metrics(self):
        """{name: [(labels, value)]}"""
        _, text = self.gateway._record.render(False)
        found = {}
        for line in text.decode().splitlines():
            if line.startswith("#"):
                continue
            name_and_labels, _, value = line.rpartition(" ")
            name, _, labels = name_and_labels.partition("{")
            pairs = (pair.split("=", 1) for pair in labels.rstrip("}").split(",") if pair)
            found.setdefault(name, []).append(({key: text.strip('"') for key, text in pairs}, float(value)))
        return found

    def metric(self, name, **labels):
        return sum(value for have, value in self.metrics().get(name, ()) if labels.items() <= have.items())

    def counted(self, **labels):
        """Outcomes by the gateway's own counters."""
        counts = Counter()
        for have, value in self.metrics().get("plimsoll_requests_total", ()):
            if value and labels.items() <= have.items():
                counts[have["outcome"]] += int(value)
        return counts
