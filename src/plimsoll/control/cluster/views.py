"""A service as its gateways need it. Endpoints are not in it: a gateway watches them itself, and knows of a pod within
a second, whether a controller is there or not. Only spares stand in it, for nobody else knows which those are."""

from plimsoll.control.cluster.service import ClusterService
from plimsoll.core.snapshot import Endpoint, EndpointState, Route, ServiceView
from plimsoll.ports.backend import ReplicaPhase
from plimsoll.spec.views import service_views


def refresh_view(state: ClusterService, no_room: str | None = None) -> ServiceView:
    """Made anew only where something in it has changed: a thousand services are looked at each second. `no_room`: why
    nobody is held for a first replica."""
    state.spare_ids = _spares(state)
    failed = None if state.ready else state.nobody_will_come or no_room
    revision = state.serving_id
    made_from = (state.service, revision, state.spare_ids, state.cache_url, failed)
    if state.view is None or not _same(made_from, state.view_of):
        state.view, state.view_of = _view(state, revision, failed), made_from
    return state.view


def _same(new: tuple[object, ...], old: tuple[object, ...]) -> bool:
    """The service by identity: comparing what was written takes longer than making the view."""
    return bool(old) and new[0] is old[0] and new[1:] == old[1:]


def _view(state: ClusterService, revision: str, failed: str | None) -> ServiceView:
    service = state.service
    return ServiceView(
        name=state.name,
        revision=revision,
        routes=tuple(Route(route.path, route.host) for route in service.spec.routes),
        endpoints=tuple(
            Endpoint(replica.id, replica.revision, replica.address, EndpointState.SPARE)
            for replica in state.seen
            if replica.id in state.spare_ids
        ),
        timeout_s=service.timeout_s,
        target_s=service.target_s,
        hold_s=service.hold_s,
        retry=service.retries,
        failed=failed,
        window_s=service.window_s,
        **service_views(service, cache_url=state.cache_url),
    )


def _spares(state: ClusterService) -> frozenset[str]:
    """Of the ready replicas those beyond what is wanted, the youngest."""
    if not state.spares:
        return frozenset()
    ready = sorted(
        (replica for replica in state.seen if replica.phase is ReplicaPhase.READY),
        key=lambda replica: (replica.ready_at or 0.0, replica.id),
    )
    return frozenset(replica.id for replica in ready[state.wanted :][: state.spares])
