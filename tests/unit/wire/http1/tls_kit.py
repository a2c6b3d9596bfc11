"""A server with TLS, and certificates of an authority of its own and of another one."""

import asyncio
import ssl

import pytest
from tests.support.certificates import Authority
from tests.support.tls_client import TlsClient

from plimsoll.wire.http1 import HttpServer, HttpSettings, TlsSettings, encode_request_head

GET = encode_request_head("GET", "/x", [(b"host", b"localhost")])
LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
ADDRESS = "tcp:127.0.0.1:0"


class Files:
    def __init__(self, folder):
        self.folder = folder
        self.ca = Authority(folder, "ca")
        self.other_ca = Authority(folder, "other")
        self.server, self.second = self.ca.server("server"), self.ca.server("second")
        self.alice = self.ca.client("alice", "/C=DE/O=Ops, Inc./CN=alice", "DNS:alice.internal,URI:spiffe://ops/alice")
        self.mallory = self.other_ca.client("mallory")

    def settings(self, pair=None, ca=None, **more):
        cert, key = pair or self.server
        return TlsSettings(str(cert), str(key), None if ca is None else str(ca.cert), **more)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("tls"))


async def until(condition):
    """`kit.run` fails the test after a minute."""
    while not condition():  # noqa: ASYNC110 # what is awaited has no event
        await asyncio.sleep(0.001)


def served(kit, application, tls, **settings):
    return HttpServer(application, HttpSettings(**({"sweep_s": 0.02} | settings), tls=tls))


async def ask(bound, context, *, length=2):
    """One request on a connection of its own. Returns (answer, client)."""
    client = await TlsClient(context).connect(bound)
    try:
        await client.handshake()
        await client.send(GET)
        return await client.answer(length), client
    finally:
        client.close()
