"""Key sets from a real HTTP server: what is fetched, what is not, and what happens when the server dies."""

import asyncio
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

pytest.importorskip("jwt", reason="pyjwt is not installed: pip install 'plimsoll-serve[jwt]'")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from tests.unit.gateway.tenants.issuer import KeyServer, ec_key, jwk, jwks, rsa_key

from plimsoll.gateway.tenants.fetch import Fetcher, FetchFailed, check_uri
from plimsoll.gateway.tenants.jwks import KeySet

RSA = rsa_key()


@pytest.fixture
def issuer():
    running = KeyServer()
    running.publish(jwk(RSA))
    yield running
    running.close()


def failure(uri, **options):
    with pytest.raises(FetchFailed) as failed:
        asyncio.run(Fetcher(**options)(uri))
    return str(failed.value)


def test_a_document_is_fetched(issuer):
    body = asyncio.run(Fetcher()(issuer.uri + "?version=2"))
    assert body == jwks(jwk(RSA))
    assert issuer.asked == ["/keys?version=2"]


def test_proxies_of_the_environment_are_not_asked(issuer, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert asyncio.run(Fetcher()(issuer.uri)) == jwks(jwk(RSA))


def test_redirects_and_errors_are_not_followed(issuer):
    issuer.answer = (302, {"location": "http://169.254.169.254/"}, b"")
    assert failure(issuer.uri) == "status 302"
    issuer.answer = (500, {}, b"oops")
    assert failure(issuer.uri) == "status 500"


def test_large_documents_are_cut_off(issuer):
    issuer.answer = (200, {}, b"x" * (2**20 + 1))
    assert "larger than" in failure(issuer.uri)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://id.example.com/keys", "only https"),
        ("http://10.0.0.1/keys", "only https"),
        ("ftp://id.example.com/keys", "only https"),
        ("file:///etc/passwd", "no URL"),
        ("https://user:word@id.example.com/", "password"),
        ("https://id.example.com:99999/", "no URL"),
        ("https://id.example.com/a\r\nx: y", "no URL"),
        ("", "no URL"),
    ],
)
def test_addresses_that_are_not_fetched(uri, reason):
    assert reason in failure(uri)
    with pytest.raises(FetchFailed):
        check_uri(uri)


def test_a_server_that_says_nothing_is_waited_for_so_long_only():
    async def main():
        server = await asyncio.start_server(lambda reader, writer: asyncio.sleep(30), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(FetchFailed, match="no answer within"):
            await Fetcher(timeout_s=0.05)(f"http://127.0.0.1:{port}/")
        server.close()

    asyncio.run(main())


def test_a_dead_server_is_told_as_such(issuer):
    uri = issuer.uri
    issuer.close()
    assert "fused" in failure(uri) or "onnect" in failure(uri)


def certificate(host):
    private = ec_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return built.public_bytes(serialization.Encoding.PEM), pem


def test_certificates_are_checked(issuer, tmp_path):
    chain, key = certificate("127.0.0.1")
    (tmp_path / "both.pem").write_bytes(chain + key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "both.pem")
    issuer._server.socket = serving.wrap_socket(issuer._server.socket, server_side=True)
    uri = issuer.uri.replace("http:", "https:")
    trusting = ssl.create_default_context(cadata=chain.decode())
    assert asyncio.run(Fetcher(trusting)(uri)) == jwks(jwk(RSA))
    assert "not trusted" in failure(uri)
    assert threading.active_count() < 50


def test_keys_stay_in_use_while_their_server_is_away(issuer, caplog):
    async def main():
        now = 0.0
        keys = KeySet(issuer.uri, Fetcher(), lambda: now)
        keys.start()
        await keys.pending()
        assert keys.find("k1") is not None
        assert keys.problem is None
        issuer.close()
        for turn in range(3):
            now += 100.0
            await keys.pending()
            assert keys.find("k1") is not None
            assert f"those of {100 * (turn + 1)} s ago stay in use" in keys.problem
        back = KeyServer(issuer.port)
        back.publish(jwk(RSA, "k2"))
        now += 100.0
        await keys.pending()
        assert keys.problem is None
        assert (keys.find("k1"), keys.find("k2") is not None) == (None, True)
        back.answer = (200, {}, jwks())  # more likely an accident than the wish to lock everybody out
        now += 100.0
        await keys.pending()
        assert "holds no key" in keys.problem
        assert keys.find("k2") is not None
        back.close()
        keys.close()

    with caplog.at_level("INFO", "plimsoll"):
        asyncio.run(main())
    said = [record.getMessage() for record in caplog.records]
    assert sum("can't be fetched" in line for line in said) == 2  # once for each time it went away
    assert sum("can be fetched again" in line for line in said) == 1


def test_a_bug_in_fetching_does_not_end_it():
    async def main():
        now, tries = 0.0, []

        async def fetch(uri):
            tries.append(uri)
            if len(tries) == 1:
                raise RuntimeError("a bug")
            return jwks(jwk(RSA))

        keys = KeySet("https://user:secret-word@id.example.com/keys?token=secret-word", fetch, lambda: now)
        keys.start()
        await keys.pending()
        assert "RuntimeError" in keys.problem
        assert "secret-word" not in keys.problem
        now = 10.0
        await keys.pending()
        assert keys.problem is None
        keys.close()

    asyncio.run(main())


def test_closing_answers_those_who_wait():
    async def main():
        async def fetch(uri):
            await asyncio.Event().wait()

        keys = KeySet("https://id.example.com/keys", fetch, lambda: 0.0)
        keys.start()
        waiting = keys.pending()
        await asyncio.sleep(0)
        keys.close()
        await asyncio.wait_for(waiting, 10)

    asyncio.run(main())
