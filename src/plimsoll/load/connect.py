"""Connections of the load client: plain, over a Unix socket, or over TLS."""

import asyncio
import ssl
from pathlib import Path

from plimsoll.core.errors import UserError
from plimsoll.wire.http1 import Burst, ClientConnection, TcpAddress, parse_address


def client_tls(ca: Path | None = None, *, insecure: bool = False) -> ssl.SSLContext:
    """Server certificates are checked against `ca`, a PEM file, or this machine's; `insecure`: not at all. Raises
    UserError for a file that is no certificate."""
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
    except ssl.SSLError as error:
        raise UserError(f"{ca}: no certificates in PEM form: {error.reason or error}") from None
    except OSError as error:
        raise UserError(f"{ca}: cannot be read: {error.strerror}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect(
    address: str, *, tls: ssl.SSLContext | None = None, server_name: str = "", burst: Burst | None = None
) -> ClientConnection:
    """To `tcp:host:port` or `unix:/path`. `server_name`: whose certificate is expected, since `address` is resolved
    already. Raises OSError (a certificate that is not believed is one); the caller bounds the wait."""
    place = parse_address(address)
    if tls is None or not isinstance(place, TcpAddress):
        return await ClientConnection.connect(address, burst=burst)
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: ClientConnection(burst=burst),
        place.host,
        place.port,
        ssl=tls,
        server_hostname=server_name or place.host,
    )
    return connection
