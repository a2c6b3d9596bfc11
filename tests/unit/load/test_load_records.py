"""A line for each request, and connections of other kinds: over TLS, over a Unix socket."""

import asyncio
import datetime
import ipaddress
import ssl

import pytest
from tests.unit.load.conftest import Server, even, ok

from plimsoll.core.errors import HostError, UserError
from plimsoll.load import LoadSettings, client_tls, http_target, run_load
from plimsoll.wire.http1 import HttpServer


def alternating(exchange, count):
    """Every third request is refused, every fifth loses its connection."""
    if count % 5 == 0:
        exchange.connection.abort()
    elif count % 3 == 0:
        exchange.respond(503, b"plimsoll-outcome: shed\r\n", b"{}")
    else:
        ok(exchange, count)


def test_each_request_is_recorded_once_with_when_it_was_due(run):
    seen = []
    report = run(even(200, 0.5), alternating, record=lambda *one: seen.append(one))
    assert len(seen) == report.offered == sum(report.outcomes.values())
    for outcome, count in report.outcomes.items():
        assert sum(one[1] == outcome for one in seen) == count
    assert [round(at, 3) for at, *_ in sorted(seen)] == [
        pytest.approx(number * 0.005, abs=0.006) for number in range(len(seen))
    ]
    assert {outcome for _, outcome, latency, *_ in seen if latency is None} <= {"connection_lost"}
    told = {(outcome, *where) for _, outcome, _, *where in seen}
    assert told <= {("ok", 0.004, 0.003), ("shed", -1.0, -1.0), ("connection_lost", -1.0, -1.0)}


@pytest.fixture
def certificate(tmp_path):
    """(certificate, key) of localhost, signed by itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    paths[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def against(start, target_of):
    """The report of 0.2 s against what `start(protocol factory)` serves; `target_of(server)` names the target."""

    async def main():
        http = HttpServer(Server(ok))
        served = await start(http)
        try:
            return await run_load(target_of(served), even(100, 0.2), LoadSettings(timeout_s=20.0, deadline_s=20.0))
        finally:
            await http.close(0.1)

    return asyncio.run(main())


class TlsFront:
    """A TLS server that passes bytes on to a plain one: this client's TLS is what is tested."""

    def __init__(self, paths):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(*paths)

    async def start(self, http):
        address = await http.start("tcp:127.0.0.1:0")
        port = int(address.rpartition(":")[2])

        async def copy(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
            writer.close()

        async def serve(reader, writer):
            inner = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer), return_exceptions=True)

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.context)
        return self.server.sockets[0].getsockname()[1]


def test_over_tls_with_an_authority_of_ones_own(certificate):
    def target(port):
        return http_target(f"https://127.0.0.1:{port}/mood", b"{}", tls=lambda: client_tls(certificate[0]))

    report = against(TlsFront(certificate).start, target)
    assert report.outcomes == {"ok": 20}


def test_a_certificate_that_nobody_vouches_for_is_told_before_the_first_request(certificate):
    def target(port):
        return http_target(f"https://127.0.0.1:{port}/mood", b"{}")

    with pytest.raises(HostError, match=r"its certificate is not believed: self-signed certificate; .*--ca"):
        against(TlsFront(certificate).start, target)


def test_any_certificate_where_that_is_asked_for(certificate):
    def target(port):
        return http_target(f"https://127.0.0.1:{port}/mood", b"{}", tls=lambda: client_tls(insecure=True))

    assert against(TlsFront(certificate).start, target).outcomes == {"ok": 20}


def test_over_a_unix_socket(tmp_path):
    path = tmp_path / "r.sock"

    async def start(http):
        return await http.start(f"unix:{path}")

    report = against(start, lambda _: http_target("http://localhost/mood", b"{}", unix_socket=str(path)))
    assert report.outcomes == {"ok": 20}


def test_tls_mistakes_are_told(tmp_path):
    (tmp_path / "none.pem").write_text("nonsense")
    with pytest.raises(UserError, match=r"none\.pem: no certificates in PEM form"):
        client_tls(tmp_path / "none.pem")
    with pytest.raises(UserError, match=r"missing\.pem: cannot be read"):
        client_tls(tmp_path / "missing.pem")
    with pytest.raises(UserError, match="not spoken to over TLS"):
        http_target("https://localhost/", unix_socket="/r.sock")


def test_a_key_is_in_nobodys_repr():
    target = http_target("http://localhost/", b"{}", ["authorization: Bearer plm_secret"])
    assert b"plm_secret" in target.head
    assert "plm_secret" not in repr(target)
