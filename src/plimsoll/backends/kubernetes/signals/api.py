"""external.metrics.k8s.io/v1beta1 and custom.metrics.k8s.io/v1beta2, as the API server's aggregator asks for them."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from plimsoll.backends.kubernetes.api import ApiError, Unreachable
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.signals import documents
from plimsoll.backends.kubernetes.signals.access import Caller, FrontProxy, Permissions, caller_of
from plimsoll.backends.kubernetes.signals.book import SignalBook, SignalError
from plimsoll.backends.kubernetes.signals.documents import (
    CUSTOM_GROUP,
    CUSTOM_VERSION,
    EXTERNAL_GROUP,
    EXTERNAL_VERSION,
    GROUPS,
)
from plimsoll.backends.kubernetes.signals.peer import STATE_KEY
from plimsoll.backends.kubernetes.signals.selector import Requirement, parse_selector

LOG = logging.getLogger(__name__)

_Page = Callable[[Request, Caller], Awaitable[Obj]]


class _Refused(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class MetricsApi:
    """`proxy`: whom to believe now; None as long as that isn't known. `clock`: the book's; `wall`: for timestamps."""

    def __init__(
        self,
        book: SignalBook,
        permissions: Permissions,
        *,
        proxy: Callable[[], FrontProxy | None],
        clock: Callable[[], float],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._book, self._permissions, self._proxy = book, permissions, proxy
        self._clock, self._wall = clock, wall

    def app(self) -> Starlette:
        routes = [Route("/apis", self._guarded(self._groups))]
        for group, version in GROUPS:
            routes.append(Route(f"/apis/{group}", self._guarded(self._group)))
            routes.append(Route(f"/apis/{group}/{version}", self._guarded(self._resources)))
        external, custom = f"/apis/{EXTERNAL_GROUP}/{EXTERNAL_VERSION}", f"/apis/{CUSTOM_GROUP}/{CUSTOM_VERSION}"
        routes.append(Route(f"{external}/namespaces/{{namespace}}/{{metric}}", self._guarded(self._external)))
        routes.append(Route(f"{custom}/namespaces/{{namespace}}/pods/{{pod}}/{{metric}}", self._guarded(self._pods)))
        routes.append(Route("/{rest:path}", self._guarded(self._nothing)))
        return Starlette(routes=routes)

    def _guarded(self, page: _Page) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return JSONResponse(await page(request, self._caller(request)))
            except (_Refused, SignalError) as error:
                return _refuse(error.code, error.reason, str(error))
            except (ApiError, Unreachable) as error:
                LOG.warning("whether a caller may read metrics could not be asked: %s", error)
                return _refuse(503, "ServiceUnavailable", f"whether you may read this could not be asked: {error}")

        return answer

    def _caller(self, request: Request) -> Caller:
        proxy = self._proxy()
        if proxy is None:
            raise _Refused(503, "ServiceUnavailable", "who the API server's front proxy is, isn't known here yet")
        headers = [(name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in request.headers.raw]
        caller = caller_of(proxy, request.scope.get("state", {}).get(STATE_KEY), headers)
        if caller is None:
            raise _Refused(401, "Unauthorized", "ask through the API server: kubectl get --raw")
        return caller

    # --- pages --------------------------------------------------------------------------------------------------------

    async def _groups(self, request: Request, caller: Caller) -> Obj:
        return documents.api_groups()

    async def _group(self, request: Request, caller: Caller) -> Obj:
        group = request.url.path.split("/")[2]
        return documents.api_group(group, dict(GROUPS)[group])

    async def _resources(self, request: Request, caller: Caller) -> Obj:
        group, version = request.url.path.split("/")[2:4]
        return documents.api_resources(group, version)

    async def _nothing(self, request: Request, caller: Caller) -> Obj:
        raise _Refused(404, "NotFound", "nothing is served here but the two metrics APIs")

    async def _external(self, request: Request, caller: Caller) -> Obj:
        namespace, metric = request.path_params["namespace"], request.path_params["metric"]
        await self._allow(caller, EXTERNAL_GROUP, EXTERNAL_VERSION, namespace=namespace, resource=metric)
        selector = _selector(request, "labelSelector")
        found = self._book.external(namespace, metric, selector, self._clock())
        return documents.external_values(metric, found, self._wall())

    async def _pods(self, request: Request, caller: Caller) -> Obj:
        namespace, pod, metric = (request.path_params[name] for name in ("namespace", "pod", "metric"))
        await self._allow(
            caller, CUSTOM_GROUP, CUSTOM_VERSION, namespace=namespace, resource="pods", subresource=metric, name=pod
        )
        selector = _selector(request, "labelSelector")
        _selector(request, "metricLabelSelector")  # our pods' metrics have no labels; one that is none is an error
        found = self._book.of_pods(namespace, metric, selector, None if pod == "*" else pod, self._clock())
        return documents.pod_values(namespace, metric, found, self._wall())

    async def _allow(self, caller: Caller, group: str, version: str, **what: str) -> None:
        asked = {"verb": "get", "group": group, "version": version, **what}
        if not await self._permissions.allows(caller, asked, self._clock()):
            resource = "/".join(filter(None, (what["resource"], what.get("subresource"))))
            raise _Refused(
                403, "Forbidden", f'{caller.user} may not get {resource}.{group} in namespace "{what["namespace"]}"'
            )


def _selector(request: Request, name: str) -> Requirement:
    try:
        return parse_selector(request.query_params.get(name, ""))
    except ValueError as error:
        raise _Refused(400, "BadRequest", str(error)) from None


def _refuse(code: int, reason: str, message: str) -> Response:
    return JSONResponse(documents.status(code, reason, message), status_code=code)
