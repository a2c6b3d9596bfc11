"""HTTP/1.1 over asyncio.Protocol and httptools: one server class and one client class for replica, gateway and load.

A server hands complete requests to an `Application` and sends its answers in order. A `ClientConnection` carries one
request at a time to one upstream. Neither knows what a request means; neither logs, retries or parses a body.
"""

from plimsoll.wire.http1.address import TcpAddress, TlsAddress, UnixAddress, format_address, parse_address
from plimsoll.wire.http1.burst import Burst
from plimsoll.wire.http1.client import ClientConnection, Receiver
from plimsoll.wire.http1.encode import encode_request_head, encode_response_head
from plimsoll.wire.http1.exchange import Application, Exchange
from plimsoll.wire.http1.server import HttpServer
from plimsoll.wire.http1.settings import ClientSettings, HttpSettings
from plimsoll.wire.http1.streaming import Stream
from plimsoll.wire.http1.tls import ClientTls, ClientTlsSettings, TlsSettings

__all__ = [
    "Application",
    "Burst",
    "ClientConnection",
    "ClientSettings",
    "ClientTls",
    "ClientTlsSettings",
    "Exchange",
    "HttpServer",
    "HttpSettings",
    "Receiver",
    "Stream",
    "TcpAddress",
    "TlsAddress",
    "TlsSettings",
    "UnixAddress",
    "encode_request_head",
    "encode_response_head",
    "format_address",
    "parse_address",
]
