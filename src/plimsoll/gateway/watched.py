"""A cluster's word on where replicas are, in place of a snapshot's: it comes from a watch of ours, so it goes on being
told while the controllers are away, and within a moment."""

from collections.abc import Collection
from dataclasses import replace

from plimsoll.core.snapshot import Endpoint, EndpointState, FallbackView, ServiceView, Snapshot


class WatchedReplicas:
    """`synced`: every service was told once. Until then a snapshot's own replicas count."""

    def __init__(self) -> None:
        self.synced = False
        self._of: dict[str, tuple[Endpoint, ...]] = {}
        self._views: dict[str, ServiceView] = {}  # as the controller sent them

    def put(self, name: str, endpoints: tuple[Endpoint, ...]) -> None:
        if endpoints:
            self._of[name] = endpoints
        else:
            self._of.pop(name, None)

    def of(self, name: str) -> tuple[Endpoint, ...]:
        """Where a service's replicas are. Which of the ready ones are spare the controller says."""
        view = self._views.get(name)
        if view is None or not self.synced:
            return () if view is None else view.endpoints
        spare = {one.replica for one in view.endpoints if one.state is EndpointState.SPARE}
        return tuple(_seen_with(view, one, spare) for one in self._of.get(name, ()))

    def applied_to(self, snapshot: Snapshot) -> Snapshot:
        self._views = {view.name: view for view in snapshot.services}
        services = tuple(
            replace(view, endpoints=self.of(view.name), fallback=_qualified(view)) for view in snapshot.services
        )
        return replace(snapshot, services=services)


def _seen_with(view: ServiceView, endpoint: Endpoint, spare: Collection[str]) -> Endpoint:
    state, revision = endpoint.state, endpoint.revision
    if state is EndpointState.READY and endpoint.replica in spare:
        state = EndpointState.SPARE
    if endpoint.replica.startswith(f"{view.revision}-"):
        revision = view.revision  # known, where a watch can only guess it from a pod's name
    return (
        endpoint
        if (state, revision) == (endpoint.state, endpoint.revision)
        else replace(endpoint, state=state, revision=revision)
    )


def _qualified(view: ServiceView) -> tuple[FallbackView, ...]:
    """A service names another one of its own namespace."""
    namespace, slash, _ = view.name.partition("/")
    if not slash:
        return view.fallback
    return tuple(
        replace(one, service=f"{namespace}/{one.service}") if one.service and "/" not in one.service else one
        for one in view.fallback
    )
