"""How requests from outside reach a service: an HTTPRoute where the platform names a Gateway, else an Ingress.

Under the operator every request goes through Plimsoll's gateway, which knows tenants, budgets and replicas. An
HTTPRoute stands in the service's namespace and leads to the gateway's Service in another, which a ReferenceGrant there
allows. An Ingress can't lead to another namespace, so it stands beside the gateway itself. (A Service of type
ExternalName in the service's namespace would be the other way: Traefik, Contour and others refuse those unless told,
since they lead anywhere.) Rendered plain, both lead to the service's own Service.
"""

from typing import Any

from plimsoll.backends.kubernetes.names import GATEWAY
from plimsoll.backends.kubernetes.objects import Obj, digest_of, without_empty
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.backends.kubernetes.render.service import PORT
from plimsoll.spec.platform import PlatformGateway

GATEWAY_API = "gateway.networking.k8s.io"
ROUTE_API = f"{GATEWAY_API}/v1"
_NGINX_S = 60  # its proxy_read_timeout; other controllers leave the annotation alone
GRANT_API = f"{GATEWAY_API}/v1beta1"


def routes(scene: Scene) -> list[Obj]:
    """Everything a service needs to be reached from outside; nothing where the platform says no way."""
    gateway = None if scene.platform is None else scene.platform.spec.gateway
    if gateway is None:
        return []
    if gateway.parent_refs:
        if not scene.options.has(ROUTE_API):
            scene.note("Platform spec.gateway.parentRefs", f"{ROUTE_API} is not served; install the Gateway API first")
            return []
        return _http_routes(scene, gateway)
    return [_ingress(scene, gateway)] if gateway.hostname_template is not None else []


def host_of(scene: Scene) -> str | None:
    """None without a template."""
    if scene.platform is None or scene.platform.spec.gateway.hostname_template is None:
        return None
    if not scene.namespace and "{namespace}" in scene.platform.spec.gateway.hostname_template:
        scene.note("metadata.namespace", "the host's name is made for the namespace default; name another: --namespace")
    return scene.platform.host_of(scene.name, scene.namespace or "default")


# --- Gateway API ------------------------------------------------------------------------------------------------------
def _http_routes(scene: Scene, gateway: PlatformGateway) -> list[Obj]:
    """One for the service's own host, or for its paths on any host; and one for each host of its routes."""
    own = host_of(scene)
    found = [_http_route(scene, gateway, scene.name, own, [] if own is not None else _any_host(scene))]
    for host, paths in _by_host(scene).items():
        if host != own:
            name = f"{scene.name}-{digest_of(host, 8)}"
            found.append(_http_route(scene, gateway, name, host, [("Exact", path) for path in paths]))
    if not scene.plain:
        found.append(_grant(scene))
    return found


def _by_host(scene: Scene) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for route in scene.service.spec.routes:
        if route.host is not None:
            found.setdefault(route.host, []).append(route.path)
    return found


def _any_host(scene: Scene) -> list[tuple[str, str]]:
    """A path for each of its routes, and the inference protocols' own."""
    paths = [("Exact", route.path) for route in scene.service.spec.routes if route.host is None]
    model = [f"/v2/models/{scene.name}", f"/v1/models/{scene.name}"]
    return paths + [("PathPrefix", path) for path in model]


def _http_route(
    scene: Scene, gateway: PlatformGateway, name: str, host: str | None, paths: list[tuple[str, str]]
) -> Obj:
    """`paths`: (type, path); none: all."""
    parents = [
        without_empty({"name": one.name, "namespace": one.namespace, "sectionName": one.section_name})
        for one in gateway.parent_refs
    ]
    backend: Obj = {"name": scene.name, "port": PORT}
    if not scene.plain:
        backend = {"name": GATEWAY, "namespace": scene.options.system_namespace, "port": PORT}
    rule = {
        "matches": [{"path": {"type": kind, "value": path}} for kind, path in paths],
        "backendRefs": [backend],
        # The service's own timeout ends a request; a proxy's default (15 s in some) must not be sooner.
        "timeouts": {"request": f"{_longest_s(scene)}s"},
    }
    spec = {"parentRefs": parents, "hostnames": None if host is None else [host], "rules": [without_empty(rule)]}
    return {"apiVersion": ROUTE_API, "kind": "HTTPRoute", "metadata": scene.meta(name), "spec": without_empty(spec)}


def _longest_s(scene: Scene) -> int:
    """A request may be held for a replica first."""
    return int(scene.service.timeout_s + scene.service.hold_s) + 1


def _grant(scene: Scene) -> Obj:
    """One for each namespace with services: its HTTPRoutes may lead to the gateway."""
    namespace = scene.namespace or "default"
    return {
        "apiVersion": GRANT_API,
        "kind": "ReferenceGrant",
        "metadata": scene.shared_meta(f"plimsoll-{namespace}"[:253], scene.options.system_namespace),
        "spec": {
            "from": [{"group": GATEWAY_API, "kind": "HTTPRoute", "namespace": namespace}],
            "to": [{"group": "", "kind": "Service", "name": GATEWAY}],
        },
    }


# --- Ingress ----------------------------------------------------------------------------------------------------------
def _ingress(scene: Scene, gateway: PlatformGateway) -> Obj:
    own = host_of(scene) or ""
    name = scene.name if scene.plain else f"{scene.namespace or 'default'}.{scene.name}"
    by_host = {own: ["/"]} | {host: paths for host, paths in _by_host(scene).items() if host != own}
    annotations: dict[str, Any] = {}
    if _longest_s(scene) > _NGINX_S:
        annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] = str(_longest_s(scene))
    tls: list[Obj] = []
    if gateway.tls is not None:
        secret = gateway.tls.secret_name or f"{name}-tls"
        tls = [{"hosts": list(by_host), "secretName": secret}]
        issuer = gateway.tls.issuer_ref
        if issuer is not None:
            kind = "cluster-issuer" if issuer.kind == "ClusterIssuer" else "issuer"
            annotations[f"cert-manager.io/{kind}"] = issuer.name
    spec = {
        "ingressClassName": gateway.ingress_class_name,
        "tls": tls,
        "rules": [{"host": host, "http": {"paths": _ingress_paths(scene, paths)}} for host, paths in by_host.items()],
    }
    make = scene.meta if scene.plain else scene.system_meta
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": make(name, annotations=annotations),
        "spec": without_empty(spec),
    }


def _ingress_paths(scene: Scene, paths: list[str]) -> list[Obj]:
    backend = {"service": {"name": scene.name if scene.plain else GATEWAY, "port": {"name": "http"}}}
    return [{"path": path, "pathType": "Prefix" if path == "/" else "Exact", "backend": backend} for path in paths]
