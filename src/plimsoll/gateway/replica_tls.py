"""What this gateway shows to replicas that speak TLS: a certificate of its own, read anew when its files change.

A connection keeps what it began with; the next one gets what is there then. On a cluster the files may come after us:
until they do, such a replica counts as unreachable.
"""

import asyncio
import logging

from plimsoll.core.errors import HostError
from plimsoll.wire.http1 import ClientTls, ClientTlsSettings

_log = logging.getLogger(__name__)


class ReplicaTls:
    """`current`: None until the files can be used."""

    def __init__(self, settings: ClientTlsSettings) -> None:
        self._settings = settings
        self.current: ClientTls | None = None
        self._said = ""
        self.look()

    async def run(self) -> None:
        """Until cancelled. The disk is not waited for on the loop."""
        while True:
            await asyncio.sleep(self._settings.check_s)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        if self.current is not None:
            self.current.refresh()
            return
        try:
            self.current = ClientTls(self._settings)
        except HostError as error:
            if str(error) != self._said:
                self._said = str(error)
                _log.info("nothing to show to replicas that speak TLS yet: %s", error)  # most clusters need none
