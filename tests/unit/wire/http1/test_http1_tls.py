"""HTTPS over real sockets, on both loops: handshakes, names, files that change, and everything TCP does, under TLS."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl

import pytest
from tests.support.certificates import Mounted, client_context
from tests.support.tls_client import TlsClient
from tests.unit.wire.http1.tls_kit import ADDRESS, GET, LOOPS, VERSIONS, ask, files, served, until

from plimsoll.core.errors import HostError
from plimsoll.wire.http1 import HttpServer, TlsSettings
from plimsoll.wire.http1.tls import TlsContext

__all__ = ["files"]  # a fixture


@LOOPS
@VERSIONS
def test_requests_of_any_size(kit, loop, version, files):
    async def main():
        body = os.urandom(1_500_000)
        application = kit.Application(lambda exchange: (200, b"", exchange.body))
        server = served(kit, application, files.settings())
        bound = await server.start(ADDRESS)
        client = await TlsClient(client_context(files.ca.cert, version=version)).connect(bound)
        await client.handshake()
        assert client.tls.selected_alpn_protocol() is None  # it offered none
        for content in (b"abc", body, b"z"):
            await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(content) + content)
            assert (await client.answer(len(content))).endswith(b"\r\n\r\n" + content)
        assert application.exchanges[-1].peer_subjects() == ()
        await server.close(1)
        assert await client.receive() == b""
        assert client.ended == "close_notify"
        client.close()
        assert (server.connections, server.handshakes, server._peers) == (0, 0, {})

    kit.run(loop, main())


@LOOPS
def test_a_socket_that_is_bound_already_and_one_byte_at_a_time(kit, loop, files):
    async def main():
        sock = socket.create_server(("127.0.0.1", 0))
        server = served(kit, kit.Application(), files.settings())
        bound = await server.start(sock)
        context = client_context(files.ca.cert)
        context.set_alpn_protocols(["h2", "http/1.1"])
        client = await TlsClient(context).connect(bound)
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain_flush = client.flush

        def one_by_one():
            for byte in client.outgoing.read():
                client.writer.write(bytes([byte]))

        client.flush = one_by_one
        await client.handshake()
        assert client.tls.selected_alpn_protocol() == "http/1.1"
        await client.send(GET)
        assert (await client.answer(2)).endswith(b"ok")
        client.flush = plain_flush
        client.close()
        await server.close(0)

    kit.run(loop, main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_old_versions_are_refused_with_an_alert(kit, version, files):
    async def main():
        server = served(kit, kit.Application(), files.settings())
        bound = await server.start(ADDRESS)
        context = client_context(files.ca.cert, version=version)
        context.set_ciphers("ALL:@SECLEVEL=0")
        client = await TlsClient(context).connect(bound)
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            await client.handshake()
        client.close()
        await until(lambda: not server.handshakes)
        await server.close(0)

    kit.run("uvloop", main())


@LOOPS
@VERSIONS
def test_a_clients_names(kit, loop, version, files):
    async def main():
        application = kit.Application()
        server = served(kit, application, files.settings(ca=files.ca))
        bound = await server.start(ADDRESS)
        answer, _ = await ask(bound, client_context(files.ca.cert, files.alice, version=version))
        assert answer.endswith(b"ok")
        names = application.exchanges[0].peer_subjects()
        assert names == ("CN=alice,O=Ops\\, Inc.,C=DE", "DNS:alice.internal", "URI:spiffe://ops/alice")
        assert application.exchanges[0].peer_subjects() is names
        await server.close(0)

    kit.run(loop, main())


@LOOPS
@VERSIONS
@pytest.mark.parametrize("who", ["nobody", "mallory", "server"])
def test_without_a_good_certificate_there_is_an_alert_and_no_request(kit, loop, version, who, files):
    pair = {"nobody": None, "mallory": files.mallory, "server": files.server}[who]

    async def main():
        application = kit.Application()
        server = served(kit, application, files.settings(ca=files.ca))
        bound = await server.start(ADDRESS)
        client = await TlsClient(client_context(files.ca.cert, pair, version=version)).connect(bound)
        try:  # in TLS 1.3 the client believes it is done before the server has looked
            await client.handshake()
            await client.send(GET)
            assert await client.receive() == b""
            reason = client.ended
        except ssl.SSLError as error:
            reason = error.reason
        expected = {"nobody": ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE"), "mallory": ("UNKNOWN_CA",)}.get(
            who, ("UNSUPPORTED_CERTIFICATE", "CERTIFICATE")
        )
        assert any(word in reason for word in expected), reason
        client.close()
        await until(lambda: not server.handshakes)
        assert application.exchanges == []
        assert server.tls.failures.total() == 1
        await server.close(0)

    kit.run(loop, main())


def test_a_certificate_may_be_optional_but_never_wrong(kit, files):
    async def main():
        application = kit.Application()
        server = served(kit, application, files.settings(ca=files.ca, require_client_cert=False))
        bound = await server.start(ADDRESS)
        await ask(bound, client_context(files.ca.cert))
        await ask(bound, client_context(files.ca.cert, files.alice))
        answer, client = await ask(bound, client_context(files.ca.cert, files.mallory))
        assert (answer, client.ended) == (b"", "TLSV1_ALERT_UNKNOWN_CA")
        assert [bool(exchange.peer_subjects()) for exchange in application.exchanges] == [False, True]
        await server.close(0)

    kit.run("uvloop", main())


# --- clients that do something else ---------------------------------------------------------------------------------


@LOOPS
def test_plain_http_is_told_so(kit, loop, files):
    async def main():
        server = served(kit, kit.Application(), files.settings())
        reader, writer = await asyncio.open_connection(*_place(await server.start(ADDRESS)))
        writer.write(GET)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"https://" in answer
        writer.close()
        await until(lambda: not server.handshakes)
        await server.close(0)

    kit.run(loop, main())


@LOOPS
def test_tls_to_the_plain_port_is_told_so(kit, loop, files):
    async def main():
        server = HttpServer(kit.Application())
        client = await TlsClient(client_context(files.ca.cert)).connect(await server.start(ADDRESS))
        with pytest.raises(ssl.SSLError):
            await client.handshake()
        await until(lambda: not server.connections)
        [(error, _)] = server.application.refused
        assert "began a TLS handshake" in str(error)
        client.close()
        await server.close(0)

    kit.run(loop, main())


@LOOPS
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00", bytes(3), b"\x16\x03\x01\x40\x00" + bytes(16384)])
def test_half_a_handshake_is_cut(kit, loop, sent, files):
    async def main():
        server = served(kit, kit.Application(), files.settings(handshake_timeout_s=0.3), linger_s=0.05)
        reader, writer = await asyncio.open_connection(*_place(await server.start(ADDRESS)))
        writer.write(sent)
        await until(lambda: server.handshakes)
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        await until(lambda: not server.handshakes)
        assert server._peers == {}
        writer.close()
        await server.close(0)

    kit.run(loop, main())


def test_half_handshakes_count_among_the_connections(kit, files):
    async def main():
        server = served(kit, kit.Application(), files.settings(), max_connections=3)
        bound = await server.start(ADDRESS)
        held = [await asyncio.open_connection(*_place(bound)) for _ in range(3)]
        await until(lambda: server.handshakes == 3)
        reader, writer = await asyncio.open_connection(*_place(bound))
        assert await reader.read() == b""
        assert server.handshakes == 3
        writer.close()
        for _, one in held:
            one.close()
        await until(lambda: not server.handshakes)
        answer, _ = await ask(bound, client_context(files.ca.cert))
        assert answer.endswith(b"ok")
        await server.close(0)

    kit.run("uvloop", main())


@LOOPS
def test_failed_handshakes_leave_nothing(kit, loop, files):
    async def main():
        server = served(kit, kit.Application(), files.settings())
        place = _place(await server.start(ADDRESS))
        for _ in range(20):
            reader, writer = await asyncio.open_connection(*place)
            writer.write(b"\x16\x03\x01\x00\x05hello")
            await reader.read()
            writer.close()
        await until(lambda: not server.handshakes)
        assert server.tls.failures.total() == 20
        await asyncio.sleep(0)
        gc.collect()
        left = [one for one in gc.get_objects() if type(one).__name__ == "TlsConnection"]
        assert left == []
        await server.close(0)

    kit.run(loop, main())


@LOOPS
def test_connections_that_ended_leave_no_garbage(kit, loop, files):
    """Without the collector's help, which comes rarely: OpenSSL's state of one connection takes some 50 kB."""

    async def main():
        application = kit.Application()
        server = served(kit, application, files.settings())
        bound = await server.start(ADDRESS)
        context = client_context(files.ca.cert)
        await ask(bound, context)
        await until(lambda: not server.connections)
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await ask(bound, context)
            await until(lambda: not server.connections)
            application.exchanges.clear()
            kinds = ("TlsConnection", "ServerConnection")
            await until(lambda: not any(type(one).__name__ in kinds for one in gc.get_objects()))
        finally:
            gc.enable()
        await server.close(0)

    kit.run(loop, main())


# --- files that change ----------------------------------------------------------------------------------------------


@LOOPS
def test_new_files_are_for_new_handshakes_and_open_connections_go_on(kit, loop, files, tmp_path):
    async def main():
        mounted = Mounted(tmp_path).put(files.server, files.ca)
        server = served(kit, kit.Application(), mounted.settings(ca=False))
        bound = await server.start(ADDRESS)
        context = client_context(files.ca.cert)
        old = await TlsClient(context).connect(bound)
        await old.handshake()
        first = server.tls.current
        mounted.put(files.second, files.ca)
        await until(lambda: server.tls.current is not first)
        new = await TlsClient(context).connect(bound)
        await new.handshake()
        assert new.tls.getpeercert()["subject"] == ((("commonName", "second"),),)
        for client in (old, new):
            await client.send(GET)
            assert (await client.answer(2)).endswith(b"ok")
            client.close()
        await server.close(0)

    kit.run(loop, main())


@VERSIONS
def test_a_client_ca_that_is_taken_away_opens_no_connection(kit, version, files, tmp_path):
    """Neither a handshake that began before the swap nor a session of before gets in."""

    async def main():
        mounted = Mounted(tmp_path).put(files.server, files.ca)
        server = served(kit, kit.Application(), mounted.settings())
        bound = await server.start(ADDRESS)
        context = client_context(files.ca.cert, files.alice, version=version)
        answer, before = await ask(bound, context)
        assert answer.endswith(b"ok")
        begun = await TlsClient(context).connect(bound)
        with pytest.raises(ssl.SSLWantReadError):
            begun.tls.do_handshake()
        begun.flush()
        begun.incoming.write(await begun.reader.read(65536))  # the server has said its part under the old files
        first = server.tls.current
        mounted.put(files.server, files.other_ca)
        await until(lambda: server.tls.current is not first)

        async def refused(client):
            try:
                await client.handshake()
                await client.send(GET)
                return await client.rest() == b""
            except (ssl.SSLError, ConnectionError):
                return True
            finally:
                client.close()

        assert await refused(begun)
        assert await refused(await TlsClient(context, session=before.tls.session).connect(bound))
        assert await refused(await TlsClient(context).connect(bound))
        mallory = client_context(files.ca.cert, files.mallory, version=version)
        answer, _ = await ask(bound, mallory)
        assert answer.endswith(b"ok"), "whom the new CA signed is let in"
        await server.close(0)

    kit.run("uvloop", main())


def test_files_that_can_not_be_used_name_file_and_remedy(files, tmp_path):
    cert, key = map(str, files.server)
    junk, locked = tmp_path / "junk", tmp_path / "locked.key"
    junk.write_text("-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n")
    from tests.support.certificates import openssl

    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
    for settings, words in (
        (TlsSettings("/none.pem", key), ("/none.pem", "No such file")),
        (TlsSettings(key, key), (key, "no PEM certificate")),
        (TlsSettings(cert, cert), (cert, "no PEM private key")),
        (TlsSettings(cert, str(files.second[1])), (str(files.second[1]), "does not belong")),
        (TlsSettings(str(junk), key), (str(junk), "can't be used")),
        (TlsSettings(cert, str(locked)), (str(locked), "encrypted", "openssl pkey")),
        (TlsSettings(cert, key, "/none-ca.pem"), ("/none-ca.pem", "No such file")),
        (TlsSettings(cert, key, str(junk)), (str(junk), "can't be used")),
        (TlsSettings(cert, key, key), (key, "can't be used")),
    ):
        with pytest.raises(HostError) as caught:
            TlsContext(settings)
        for word in words:
            assert word in str(caught.value)


def _place(bound):
    host, _, port = bound.removeprefix("tcp:").rpartition(":")
    return host, int(port)
