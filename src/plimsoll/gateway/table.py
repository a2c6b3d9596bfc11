"""From a path and a host to a service: built anew from each snapshot, looked up in one or two dict reads a request.

A service answers at `/v2/models/NAME/…`, at `/v1/models/NAME` and `/v1/models/NAME:predict`, and at its own routes,
which are exact paths, for one host or for any.
"""

from collections.abc import Iterable
from typing import TypeVar

from plimsoll.core.snapshot import ServiceView, Snapshot

_V2 = "/v2/models/"
_V1 = "/v1/models/"
_Key = TypeVar("_Key")


class RoutingTable:
    """`clashes` names routes that two services claim; the first in the snapshot's order keeps them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.services: dict[str, ServiceView] = {service.name: service for service in snapshot.services}
        self.clashes: list[str] = []
        self._by_path: dict[str, ServiceView] = {}
        self.by_host = any(route.host is not None for service in snapshot.services for route in service.routes)
        self._by_host: dict[tuple[str, str], ServiceView] = {}
        for service in snapshot.services:
            for route in service.routes:
                if route.host is None:
                    self._claim(self._by_path, route.path, service)
                else:
                    self._claim(self._by_host, (route.host.lower(), route.path), service)

    def _claim(self, table: dict[_Key, ServiceView], key: _Key, service: ServiceView) -> None:
        owner = table.setdefault(key, service)
        if owner is not service:
            self.clashes.append(f"{key} belongs to {owner.name}; {service.name} asks for it too")

    def find(self, path: str, headers: list[tuple[bytes, bytes]]) -> ServiceView | None:
        """`path` as sent: names and routes are matched as they are written, without percent-decoding."""
        if self._by_host:
            for name, value in headers:
                if name == b"host":
                    named = self._by_host.get((_hostname(value), path))
                    if named is not None:
                        return named
                    break
        own = self._by_path.get(path)
        if own is not None:
            return own
        if path.startswith(_V2):
            return self.services.get(path[len(_V2) :].partition("/")[0])
        if path.startswith(_V1):
            return self.services.get(path[len(_V1) :].partition(":")[0])
        return None

    def names(self) -> Iterable[str]:
        return self.services


def _hostname(host: bytes) -> str:
    """Without the port; an IPv6 literal keeps its brackets."""
    text = host.decode("latin-1").lower()
    return text.rpartition(":")[0] if ":" in text and not text.endswith("]") else text
