"""A cluster's word on where replicas are, in place of a snapshot's: it comes from a watch of ours, so it goes on being
told while the controllers are away, and within a moment."""

from dataclasses import replace

from plimsoll.core.snapshot import Endpoint, FallbackView, ServiceView, Snapshot


class WatchedReplicas:
    """`synced`: every service was told once. Until then a snapshot's own replicas count."""

    def __init__(self) -> None:
        self.synced = False
        self._of: dict[str, tuple[Endpoint, ...]] = {}

    def put(self, name: str, endpoints: tuple[Endpoint, ...]) -> None:
        if endpoints:
            self._of[name] = endpoints
        else:
            self._of.pop(name, None)

    def applied_to(self, snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, services=tuple(map(self._applied, snapshot.services)))

    def _applied(self, view: ServiceView) -> ServiceView:
        endpoints = self._of.get(view.name, ()) if self.synced else view.endpoints
        return replace(view, endpoints=endpoints, fallback=_qualified(view))


def _qualified(view: ServiceView) -> tuple[FallbackView, ...]:
    """A service names another one of its own namespace."""
    namespace, slash, _ = view.name.partition("/")
    if not slash:
        return view.fallback
    return tuple(
        replace(one, service=f"{namespace}/{one.service}") if one.service and "/" not in one.service else one
        for one in view.fallback
    )
