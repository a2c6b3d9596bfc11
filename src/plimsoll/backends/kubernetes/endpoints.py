"""Where replicas are, from EndpointSlices: watched, put together service by service, told within a moment of a change.

    watch = SliceWatch(api, gateway.replicas)     # ("shop/mood", (Endpoint(…), …)) at each change
    task = asyncio.create_task(watch.run())
    await watch.synced.wait()                     # every service was told once

The rules are those for every reader of slices: a service has several; while pods move between them the same one may
stand in two; `ready` is for new work; a pod that ends (`terminating`) but still answers (`serving`) is what is left
where nothing is ready. Conditions that a server leaves out: ready means yes, serving means as ready, terminating no.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.backends.kubernetes.api import Api, path_of
from plimsoll.backends.kubernetes.names import SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.watching import Change, Key, Watch, WatchSettings
from plimsoll.core.snapshot import Endpoint, EndpointState
from plimsoll.wire.http1 import TcpAddress, TlsAddress, format_address

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
# A StatefulSet's headless Service publishes pods that aren't ready, too.
SELECTOR = f"{SERVICE_LABEL},!service.kubernetes.io/headless"

Tell = Callable[[str, tuple[Endpoint, ...]], None]

_BASE = 58  # of a generated name the rest is chance; a longer beginning is cut (apiserver, names.SimpleNameGenerator)
_OF_DEPLOYMENT = re.compile(r"(.+)-[a-z0-9]{1,10}-[a-z0-9]{5}\Z")
_OF_SET = re.compile(r"(.+)-[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Slice:
    """What is kept of one: `service` is NAMESPACE/NAME of the ModelService."""

    service: str
    endpoints: tuple[Endpoint, ...]


def read_slice(obj: Obj) -> Slice | None:
    """None for one that isn't a ModelService's own Service's, or that speaks of host names."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    name = labels.get(SERVICE_LABEL)
    if not name or labels.get(SERVICE_NAME_LABEL) != name or obj.get("addressType") not in {"IPv4", "IPv6"}:
        return None
    service = f"{meta.get('namespace', '')}/{name}"
    port = _port(obj.get("ports") or ())
    found = []
    for one in obj.get("endpoints") or ():
        state = _state(one.get("conditions") or {})
        addresses = one.get("addresses") or ()
        if port is not None and state is not None and addresses:
            address = _address(service, addresses[0], *port)
            target = one.get("targetRef") or {}
            pod = str(target.get("name") or "") if target.get("kind") == "Pod" else ""
            found.append(Endpoint(pod or address, revision_of(pod) if pod else name, address, state))
    return Slice(service, tuple(found))


def _state(conditions: Mapping[str, bool | None]) -> EndpointState | None:
    """None: no work for it."""
    ready = conditions.get("ready")
    ready = True if ready is None else ready
    serving = conditions.get("serving")
    serving = ready if serving is None else serving
    if conditions.get("terminating"):
        return EndpointState.DRAINING if serving else None
    return EndpointState.READY if ready else None


def _port(ports: Iterable[Mapping[str, Any]]) -> tuple[int, bool] | None:
    """The port that serves, and whether it speaks TLS. The metrics port may stand beside it."""
    by_name = {str(one.get("name") or ""): one for one in ports if one.get("port")}
    for name in ("https", "http", ""):
        if name in by_name:
            one = by_name[name]
            return int(one["port"]), name == "https" or one.get("appProtocol") == "https"
    return None


def _address(service: str, ip: str, port: int, secure: bool) -> str:
    if not secure:
        return format_address(TcpAddress(ip, port))
    namespace, _, name = service.partition("/")
    return format_address(TlsAddress(ip, port, f"{name}.{namespace}.svc"))


def revision_of(pod: str) -> str:
    """From a pod's name: of `mood-7c9ab1f2d0-6d4b8f7c9-x2x9z`, and of the set's `mood-7c9ab1f2d0-0`, `mood-7c9ab1f2d0`.
    A name that was cut doesn't tell; then it is all that is known."""
    if len(pod) < _BASE + 5:
        for form in (_OF_DEPLOYMENT, _OF_SET):
            found = form.match(pod)
            if found is not None:
                return found[1]
    return pod


class ReplicaBook:
    """Slices in, each service's replicas out. `tell` is called where what stands in them together has changed."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._slices: dict[str, dict[Key, Slice]] = {}
        self._service: dict[Key, str] = {}
        self._told: dict[str, tuple[Endpoint, ...]] = {}

    def take(self, change: Change, key: Key, kept: Slice) -> None:
        before = self._service.pop(key, kept.service)
        self._slices.setdefault(before, {}).pop(key, None)
        if change is not Change.DELETED:
            self._service[key] = kept.service
            self._slices.setdefault(kept.service, {})[key] = kept
        for service in {before, kept.service}:
            self._look(service)

    def _look(self, service: str) -> None:
        parts = self._slices.get(service, {})
        if not parts:
            self._slices.pop(service, None)
        together = _together(parts.values())
        if together == self._told.get(service, ()):
            return
        if together:
            self._told[service] = together
        else:
            del self._told[service]
        self._tell(service, together)


def _together(parts: Iterable[Slice]) -> tuple[Endpoint, ...]:
    """In two slices at once: it ends where either says so, for nothing that ends comes back. Of a pod with two
    addresses (dual stack) the IPv4 one."""
    found: dict[str, Endpoint] = {}
    for part in parts:
        for one in part.endpoints:
            known = found.get(one.replica)
            if known is None or _rank(one) < _rank(known):
                found[one.replica] = one
    return tuple(found[replica] for replica in sorted(found))


def _rank(endpoint: Endpoint) -> tuple[bool, bool, str]:
    return endpoint.state is not EndpointState.DRAINING, "[" in endpoint.address, endpoint.address


class SliceWatch:
    """`problem`: why nothing is heard from the API server now; "" while all is well. What was told last stays."""

    def __init__(self, api: Api, tell: Tell, *, namespace: str = "", settings: WatchSettings | None = None) -> None:
        """`namespace` "": every one."""
        self._watch: Watch[Slice] = Watch(
            api,
            path_of("discovery.k8s.io/v1", "endpointslices", namespace),
            label_selector=SELECTOR,
            keep=read_slice,
            on_change=ReplicaBook(tell).take,
            settings=settings,
        )

    @property
    def synced(self) -> asyncio.Event:
        return self._watch.synced

    @property
    def problem(self) -> str:
        return self._watch.problem

    @property
    def lists(self) -> int:
        return self._watch.lists

    async def run(self) -> None:
        """Until cancelled."""
        await self._watch.run()
