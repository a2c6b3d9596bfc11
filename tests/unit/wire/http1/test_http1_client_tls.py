"""Our client over TLS: whom it believes, what it shows, and files that change."""

import asyncio
import ssl

import pytest
from tests.support.certificates import Authority

from plimsoll.core.errors import HostError
from plimsoll.wire.http1 import (
    ClientConnection,
    ClientTls,
    ClientTlsSettings,
    HttpServer,
    HttpSettings,
    TlsSettings,
    encode_request_head,
)

NAME = "mood.shop.svc"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("client-tls")


@pytest.fixture(scope="module")
def authority(folder):
    return Authority(folder, "ca")


@pytest.fixture(scope="module")
def served(authority):
    return authority.sign("replica", "/CN=replica", f"DNS:{NAME}", "serverAuth")


@pytest.fixture(scope="module")
def shown(authority):
    return authority.client("gateway", "/CN=gateway", "DNS:gateway.svc")


class Echo:
    """Answers with the names in its client's certificate."""

    def on_request(self, exchange):
        exchange.respond(200, b"", ",".join(exchange.peer_subjects()).encode())

    def on_gone(self, exchange):
        pass

    def on_refused(self, error, arrived):
        return 400, b"", b""


class Answer:
    def __init__(self):
        self.got = asyncio.get_running_loop().create_future()

    def on_interim(self, status):
        pass

    def on_response(self, status, headers, body):
        self.got.set_result(body.decode())

    def on_lost(self, reason, started):
        self.got.set_exception(ConnectionError(reason))


async def ask(connection):
    answer = Answer()
    connection.send(encode_request_head("GET", "/", [(b"host", b"x"), (b"content-length", b"0")]), b"", answer)
    return await asyncio.wait_for(answer.got, 10)


def with_server(pair, authority, test):
    async def main():
        tls = TlsSettings(str(pair[0]), str(pair[1]), str(authority.cert), check_s=0.01)
        server = HttpServer(Echo(), HttpSettings(tls=tls))
        address = await server.start("tcp:127.0.0.1:0")
        try:
            await test(address.removeprefix("tcp:"), server)
        finally:
            await server.close(0)

    asyncio.run(main())


def client_tls(authority, pair=None):
    cert, key = ("", "") if pair is None else map(str, pair)
    return ClientTls(ClientTlsSettings(str(authority.cert), cert, key))


def test_each_proves_itself_to_the_other(authority, served, shown):
    async def test(place, server):
        connection = await ClientConnection.connect(f"tls:{NAME}@{place}", tls=client_tls(authority, shown))
        for _ in range(3):
            assert await ask(connection) == "CN=gateway,DNS:gateway.svc"
        connection.close()

    with_server(served, authority, test)


def test_whom_it_does_not_believe(authority, served, shown, tmp_path):
    async def test(place, server):
        good = client_tls(authority, shown)
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await ClientConnection.connect(f"tls:fraud.shop.svc@{place}", tls=good)
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await ClientConnection.connect(f"tls:{place}", tls=good)
        with pytest.raises(ssl.SSLCertVerificationError):
            await ClientConnection.connect(f"tls:{NAME}@{place}", tls=client_tls(Authority(tmp_path, "other"), shown))
        with pytest.raises(OSError, match="no certificate to show"):
            await ClientConnection.connect(f"tls:{NAME}@{place}")

    with_server(served, authority, test)


def test_new_files_are_for_new_connections(authority, served, shown, tmp_path):
    async def test(place, server):
        for name, path in (("tls.crt", shown[0]), ("tls.key", shown[1])):
            (tmp_path / name).write_bytes(path.read_bytes())
        tls = ClientTls(ClientTlsSettings(str(authority.cert), str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")))
        first = await ClientConnection.connect(f"tls:{NAME}@{place}", tls=tls)
        assert not tls.refresh()
        other = authority.client("gateway-2", "/CN=second")
        (tmp_path / "tls.crt").write_bytes(other[0].read_bytes())
        assert not tls.refresh()  # the key is another's: what was in use stays
        (tmp_path / "tls.key").write_bytes(other[1].read_bytes())
        assert tls.refresh()
        second = await ClientConnection.connect(f"tls:{NAME}@{place}", tls=tls)
        assert await ask(first) == "CN=gateway,DNS:gateway.svc"
        assert await ask(second) == "CN=second"
        first.close()
        second.close()

    with_server(served, authority, test)


def test_files_that_cannot_be_used(authority, shown, tmp_path):
    with pytest.raises(HostError, match=r"the TLS CA .*none\.pem can't be read"):
        ClientTls(ClientTlsSettings(str(tmp_path / "none.pem")))
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(HostError, match="must hold PEM certificates"):
        ClientTls(ClientTlsSettings(str(tmp_path / "empty.pem")))
    with pytest.raises(HostError, match="does not belong to the certificate"):
        ClientTls(ClientTlsSettings(str(authority.cert), str(shown[0]), str(authority.key)))
