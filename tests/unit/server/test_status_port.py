"""A replica's second port: probes, metrics, and its reports as a stream; and whom it trusts on the first one."""

import json
import ssl

import pytest
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.puppet import PUPPET
from tests.support.replica_host import Client, connected

from plimsoll.backends.kubernetes.names import STATE_PATH
from plimsoll.server import status_port
from plimsoll.wire.http1 import HttpSettings, TlsSettings

GATEWAY = "plimsoll-gateway.plimsoll-system.svc"


@pytest.fixture
def hosted(replica):
    def start(**options):
        address = f"tcp:127.0.0.1:{free_port()}"
        host = replica(status=address, **options)
        host.status = lambda path, method="GET": _ask(address, method, path)
        host.status_address = address
        return host

    return start


def _ask(address, method, path):
    client = Client(address)
    try:
        return client.ask(method, path)
    finally:
        client.close()


class Stream:
    def __init__(self, address):
        self.socket = connected(address)
        self.socket.sendall(f"GET {STATE_PATH} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        self.lines = self.socket.makefile("rb")
        self.head = []
        while (line := self.lines.readline().strip()) != b"":
            self.head.append(line.decode())

    def event(self):
        line = self.lines.readline()
        return json.loads(line) if line else None

    def close(self):
        self.lines.close()
        self.socket.close()


def test_pages(hosted):
    assert status_port.STATE_PATH == STATE_PATH
    host = hosted()
    assert host.plain({"a": 1}).status == 200
    assert host.status("/v2/health/live").json == {"live": True}
    assert host.status("/v2/health/ready").status == 200
    assert b'plimsoll_requests_total{outcome="ok"' in host.status("/metrics").body
    assert host.status("/puppet", "POST").status == 404  # the model isn't here
    assert host.status("/none").status == 404
    assert host.status(STATE_PATH, "POST").status == 405
    assert host.get("/metrics").status == 404  # nor are the metrics there, where clients are
    assert host.get("/v2/health/ready").status == 200


def test_while_it_loads_and_after_it_failed(hosted):
    waits = PUPPET.replace(
        "    def predict(self, batch):",
        '    def load(self):\n        while not (HERE / "go").exists():\n            time.sleep(0.002)\n'
        '        raise RuntimeError("no weights")\n\n    def predict(self, batch):',
    )
    host = hosted(model=waits, wait=False)
    host.until(lambda: host.replica is not None and host.replica._status.address)
    assert host.status("/v2/health/live").status == 200
    assert host.status("/v2/health/ready").status == 503
    stream = Stream(host.status_address)
    (host.folder / "go").touch()
    failed = stream.event()
    assert (failed["event"], failed["line"] > 0) == ("failed", True)
    assert "no weights" in failed["reason"]
    stream.close()


def test_the_stream_says_what_a_local_owner_hears(hosted):
    host = hosted()
    streams = [Stream(host.status_address) for _ in range(2)]
    for stream in streams:
        assert stream.head[0] == "HTTP/1.1 200 OK"
        assert "content-type: application/x-ndjson" in stream.head
        ready = stream.event()
        assert (ready["event"], ready["address"]) == ("ready", host.address)
        assert stream.event().keys() == {
            "event", "in_flight", "queued", "loop_lag_p99_s", "rss_bytes", "requests", "service_time",
        }  # fmt: skip
    streams[0].close()  # one leaves: nothing of it stays
    host.until(lambda: len(host.replica._status._streams) == 1)
    assert streams[1].event()["event"] == "load"
    host.on_loop(host.replica.drain)
    events = []
    while (event := streams[1].event()) is not None:
        events.append(event["event"])
    assert events[-1] == "draining" or "draining" in events
    streams[1].close()


def test_a_reader_that_stands_still_costs_nothing(hosted):
    host = hosted()
    stream = Stream(host.status_address)
    stream.event()
    line = {"event": "load", "text": "x" * 10_000}

    def flood():
        for _ in range(2000):
            host.replica._status.report(line)
        (connection,) = host.replica._status._http._connections
        return connection.transport.get_write_buffer_size()

    assert host.on_loop(flood) < 200_000
    stream.close()


def test_two_streams_on_one_connection_are_refused_not_mixed(hosted):
    host = hosted()
    with connected(host.status_address) as sock:
        ask = f"GET {STATE_PATH} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        sock.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n" + ask + ask)
        data = b""
        while data.count(b'"event"') < 2:
            data += sock.recv(65536)
    live, head, rest = data.split(b"\r\n\r\n", 2)
    assert live.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 200 OK" in head
    assert b"HTTP/1.1" not in rest


# --- who is trusted ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("tls"), "ca")
    return authority, authority.server("replica"), {
        "gateway": authority.client("gateway", "/CN=gateway", f"DNS:{GATEWAY}"),
        "neighbour": authority.client("neighbour", "/CN=neighbour", "DNS:mood.shop.svc"),
    }  # fmt: skip


def test_only_the_gateways_certificate_makes_a_peer_trusted(replica, files):
    authority, (cert, key), clients = files
    http = HttpSettings(tls=TlsSettings(str(cert), str(key), str(authority.cert)))
    host = replica(listen="tcp", trusted=False, trusted_peers=(f"DNS:{GATEWAY}",), http=http)

    def ask(who, path="/puppet"):
        context = ssl.create_default_context(cafile=str(authority.cert))
        if who is not None:
            context.load_cert_chain(*map(str, clients[who]))
        with context.wrap_socket(connected(host.address), server_hostname="localhost") as sock:
            body = b'{"tag": "x"}'
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\nplimsoll-alone: 1\r\ncontent-length: {len(body)}\r\n\r\n"
            sock.sendall(head.encode() + body)
            lines = sock.makefile("rb")
            return lines.readline().split()[1]

    assert ask("gateway") == b"102"  # it heeds a mark that only a gateway may set
    assert ask("neighbour") == b"200"
    assert ask("gateway", "/a-route-of-today") == b"102"
    assert ask("neighbour", "/a-route-of-today") == b"404"
    with pytest.raises(OSError):  # noqa: PT011 # an alert or a reset
        ask(None)


def test_without_tls_nobody_is_trusted_on_a_pods_port(replica):
    host = replica(listen="tcp", trusted=False)
    client = host.client()
    client.connect()
    answer = client.ask("POST", "/puppet", {"a": 1}, {"plimsoll-alone": "1", "plimsoll-priority": "900"})
    assert answer.status == 200
    client.close()
