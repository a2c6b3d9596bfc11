"""The certificate that a client showed, for an ASGI app: uvicorn leaves it out of the scope."""

import asyncio
import ssl
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

STATE_KEY = "peer"


class PeerProtocol(HttpToolsProtocol):
    """`scope["state"]["peer"]`: as `ssl.SSLSocket.getpeercert` gives it; None where none was shown. Only certificates
    that the context's CA signed come so far."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        shown: Any = None
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            shown = cast(ssl.SSLObject, tls).getpeercert() or None
        self.app_state = {**self.app_state, STATE_KEY: shown}
        super().connection_made(cast(asyncio.Transport, transport))
