"""From a path and a host to a service: built anew from each snapshot, looked up in one or two dict reads a request.

A service answers at `/v2/models/NAME/…`, at `/v1/models/NAME` and `/v1/models/NAME:predict`, and at its own routes,
which are exact paths, for one host or for any.

On a cluster a service's name is NAMESPACE/NAME, and a path holds the second half alone. There the host decides first:
the one of the platform's template, `NAME.NAMESPACE` or `NAME.NAMESPACE.anything`; within that namespace, the path. Else
the path decides where only one namespace has what it asks for: nobody may take another's requests by taking its name.
"""

from typing import TypeVar

from plimsoll.core.errors import NotFound
from plimsoll.core.snapshot import ServiceView, Snapshot

_V2 = "/v2/models/"
_V1 = "/v1/models/"
_Key = TypeVar("_Key")


class RoutingTable:
    """`clashes` names routes that two services claim; the first in the snapshot's order keeps them. On a cluster, where
    the two belong to two namespaces, nobody does. `by_host`: the host has a say in what is found."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.services: dict[str, ServiceView] = {service.name: service for service in snapshot.services}
        self.clashes: list[str] = []
        self._by_path: dict[str, ServiceView] = {}
        self._by_host: dict[tuple[str, str], ServiceView] = {}
        self._template = snapshot.host_template
        self._hosts: dict[str, ServiceView] = {}
        self._spaces: dict[str, list[str]] = {}  # the namespaces that have a service of this name, or this path
        self._clustered = any("/" in name for name in self.services)
        self.by_host = self._clustered or any(route.host for service in snapshot.services for route in service.routes)
        for service in snapshot.services:
            self._name(service)
        for service in snapshot.services:
            for route in service.routes:
                if route.host is None:
                    self._claim_path(route.path, service)
                else:
                    self._claim_host(route.host.lower(), route.path, service)

    def _name(self, service: ServiceView) -> None:
        namespace, slash, name = service.name.partition("/")
        if slash:
            self._spaces.setdefault(name, []).append(namespace)
            if self._template:
                self._hosts[self._template.replace("{name}", name).replace("{namespace}", namespace)] = service

    def _claim_path(self, path: str, service: ServiceView) -> None:
        if self._clustered:
            spaces = self._spaces.setdefault(path, [])
            if _space(service) not in spaces:
                spaces.append(_space(service))
        self._claim(self._by_path, path, service)

    def _claim_host(self, host: str, path: str, service: ServiceView) -> None:
        owner = self._named_by(host) if self._clustered else None
        if owner is not None and _space(owner) != _space(service):
            self.clashes.append(f"{host} belongs to {owner.name}; {service.name} asks for it too")
        else:
            self._claim(self._by_host, (host, path), service)

    def _claim(self, table: dict[_Key, ServiceView], key: _Key, service: ServiceView) -> None:
        owner = table.setdefault(key, service)
        if owner is not service:
            self.clashes.append(f"{key} belongs to {owner.name}; {service.name} asks for it too")

    def find(self, path: str, headers: list[tuple[bytes, bytes]]) -> ServiceView | None:
        """`path` as sent: names and routes are matched as they are written, without percent-decoding. Raises NotFound
        where several namespaces have what it asks for."""
        if self.by_host:
            for name, value in headers:
                if name == b"host":
                    host = _hostname(value)
                    named = self._by_host.get((host, path)) or (self._clustered and self._at(host, path)) or None
                    if named is not None:
                        return named
                    break
        own = self._by_path.get(path)
        if own is not None:
            return own if not self._clustered else self._alone(path, own)
        model = _model(path)
        if model is None:
            return None
        return self._alone(model, None) if self._clustered else self.services.get(model)

    def _at(self, host: str, path: str) -> ServiceView | None:
        """What `path` means at the host of a service: this one, or its neighbour."""
        service = self._named_by(host)
        if service is None:
            return None
        if any(route.path == path and route.host is None for route in service.routes):
            return service
        model = _model(path)
        return None if model is None else self.services.get(f"{_space(service)}/{model}")

    def _named_by(self, host: str) -> ServiceView | None:
        named = self._hosts.get(host)
        if named is not None:
            return named
        name, _, rest = host.partition(".")
        return self.services.get(f"{rest.partition('.')[0]}/{name}")

    def _alone(self, key: str, service: ServiceView | None) -> ServiceView | None:
        """The one that has this path, or is called so. None: nobody. Raises NotFound: several namespaces."""
        spaces = self._spaces.get(key, ())
        if len(spaces) > 1:
            example = key if service is None else service.name.partition("/")[2]
            shown = ", ".join(sorted(spaces)[:8])
            raise NotFound(f"{key} is in several namespaces ({shown}); say which by the host: {example}.{min(spaces)}")
        if service is not None:
            return service
        return self.services.get(f"{spaces[0]}/{key}") if spaces else None


def _space(service: ServiceView) -> str:
    return service.name.partition("/")[0]


def _model(path: str) -> str | None:
    """The model's name in a protocol's path."""
    if path.startswith(_V2):
        return path[len(_V2) :].partition("/")[0]
    return path[len(_V1) :].partition(":")[0] if path.startswith(_V1) else None


def _hostname(host: bytes) -> str:
    """Without the port; an IPv6 literal keeps its brackets."""
    text = host.decode("latin-1").lower()
    return text.rpartition(":")[0] if ":" in text and not text.endswith("]") else text
