"""The controller's certificates: read from the mounted Secret, and read again when it changes."""

import asyncio
import os
import ssl
from collections.abc import Callable

from plimsoll.core.errors import HostError
from plimsoll.wire.http1 import TlsSettings
from plimsoll.wire.http1.tls import TlsContext, make_context


class Certificates:
    """`folder` holds tls.crt and tls.key. `client_ca`: PEM of who may sign the aggregator's certificate; "" for nobody:
    then the metrics APIs believe nobody."""

    def __init__(self, folder: str, client_ca: Callable[[], str]) -> None:
        """Raises HostError, naming the file and the remedy."""
        self._settings = TlsSettings(os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key"))
        self._stream = TlsContext(self._settings)
        self._client_ca = client_ca
        self._apis: tuple[ssl.SSLContext, str, ssl.SSLContext] | None = None

    def stream(self) -> ssl.SSLContext:
        """For a connection of a gateway that begins now."""
        return self._stream.current

    def apis(self) -> ssl.SSLContext:
        """For a connection of the aggregator that begins now: it may show a certificate, which must then be good."""
        ca, current = self._client_ca(), self._stream.current
        if self._apis is None or self._apis[:2] != (current, ca):
            self._apis = current, ca, self._aggregated(ca)
        return self._apis[2]

    def listening(self, newest: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """For a server that takes one context for good: each connection is moved to the newest when it begins."""
        outer = self._aggregated(self._client_ca())

        def choose(connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
            connection.context = newest()

        outer.sni_callback = choose
        return outer

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._settings.check_s)
            await asyncio.to_thread(self._stream.refresh)

    def _aggregated(self, ca: str) -> ssl.SSLContext:
        context = make_context(self._settings)
        # Asked for also where no authority is known yet: what OpenSSL asks is settled by the first context alone.
        context.verify_mode = ssl.CERT_OPTIONAL
        if ca:
            try:
                context.load_verify_locations(cadata=ca)
            except ssl.SSLError as error:
                raise HostError(f"the front proxy's authority can't be used: {error}") from error
        return context
