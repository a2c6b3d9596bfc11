"""The Kubernetes API as plain dicts: few verbs, no object model. What a thousand watched objects cost is then only what
their watcher keeps of them.

    api = Api.connect()                                # in a pod, else KUBECONFIG; lightkube reads both
    await api.get(path_of("v1", "pods", "shop", "a"))  # ApiError says status and reason
    await api.close()

Tokens are read again when the server refuses one, as kubelets rotate them. A connection whose peer died without a word
ends after a quarter of a minute, by TCP's own probes, and within two seconds of the peer's being there again.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import httpx2
import msgspec
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig

from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.errors import HostError

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_TIMEOUT_S = 10.0
_CONNECT_S = 5.0  # a SYN is sent after 0, 1 and 3 s; the next would come at 7
_PROBE_AFTER_S, _PROBE_EACH_S, _PROBES = 5, 2, 5


class ApiError(HostError):
    """The API server's own refusal. `code`: the HTTP status; `reason`: NotFound, Conflict, Forbidden, Expired…"""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message or f"{code} {reason}".strip())
        self.code, self.reason = code, reason


class Unreachable(HostError):
    """The API server gave no answer. Asking again later is right."""


def path_of(api_version: str, plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """`/apis/apps/v1/namespaces/shop/deployments/mood/scale`. Without a namespace: of the whole cluster."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    parts = [root, *(("namespaces", namespace) if namespace else ()), plural, name, subresource]
    return "/".join(part for part in parts if part)


class Api:
    """Used from one event loop."""

    def __init__(self, http: httpx2.AsyncClient, namespace: str = "default") -> None:
        self._http = http
        self.namespace = namespace

    @classmethod
    def connect(cls, config: SingleConfig | None = None, *, context: str | None = None) -> Self:
        """Raises HostError where there is no configuration, or it holds no such context."""
        try:
            chosen = config or KubeConfig.from_env().get(context)
            if chosen is None:
                raise HostError(f"the kubeconfig has no context {context}; see: kubectl config get-contexts")
            params = ConnectionParams(timeout=httpx2.Timeout(_TIMEOUT_S, connect=_CONNECT_S)).httpx_params(chosen)
        except HostError:
            raise
        except Exception as error:
            raise HostError(f"no cluster to talk to: {error}; set KUBECONFIG, or run inside a pod") from error
        # Watches take a connection each, and state pages none: no bound is needed beyond what is asked of it.
        transport = httpx2.AsyncHTTPTransport(
            verify=params["verify"],
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=8),
            socket_options=_keepalive(),
        )
        http = httpx2.AsyncClient(
            base_url=params["base_url"], auth=params["auth"], timeout=params["timeout"], transport=transport
        )
        return cls(http, chosen.namespace or "default")

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Obj:
        return await self._json("GET", path, params)

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Where the answer is no JSON: a pod's log."""
        return (await self._answer("GET", path, params)).text

    async def post(self, path: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None) -> Obj:
        return await self._json("POST", path, params, body)

    async def put(self, path: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None) -> Obj:
        return await self._json("PUT", path, params, body)

    async def patch(
        self, path: str, body: Mapping[str, Any], *, kind: str = MERGE_PATCH, params: Mapping[str, str] | None = None
    ) -> Obj:
        return await self._json("PATCH", path, params, body, kind)

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        await self._answer("DELETE", path, None, body)

    @contextlib.asynccontextmanager
    async def lines(
        self, path: str, params: Mapping[str, str], *, silent_s: float | None, head_s: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A watch's lines. Raises ApiError, and Unreachable where nothing comes for `silent_s`, or no head of an answer
        for `head_s`."""
        timeout = httpx2.Timeout(_TIMEOUT_S, connect=_CONNECT_S, read=silent_s)
        request = self._http.build_request("GET", path, params=dict(params), timeout=timeout)
        with _told():
            try:
                async with asyncio.timeout(head_s):
                    answer = await self._http.send(request, stream=True)
            except TimeoutError as error:
                raise Unreachable(f"the API server does not answer: {path} for {head_s:g} s") from error
            try:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise _refusal(answer)
                yield _split(answer)
            finally:
                await answer.aclose()

    async def close(self) -> None:
        await self._http.aclose()

    async def _json(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> Obj:
        answer = await self._answer(method, path, params, body, kind)
        try:
            found = msgspec.json.decode(answer.content)
        except msgspec.DecodeError as error:
            raise Unreachable(f"{path}: the answer is no JSON; is this an API server?") from error
        if not isinstance(found, dict):
            raise Unreachable(f"{path}: the answer is no object; is this an API server?")
        return found

    async def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> httpx2.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": kind}
        with _told():
            answer = await self._http.request(
                method, path, params=None if params is None else dict(params), content=content, headers=headers
            )
        if answer.status_code >= 400:
            raise _refusal(answer)
        return answer


@contextlib.contextmanager
def _told() -> Any:
    try:
        yield
    except httpx2.HTTPError as error:
        raise Unreachable(f"the API server does not answer: {str(error) or type(error).__name__}") from error


async def _split(answer: httpx2.Response) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in answer.aiter_bytes():
        rest += chunk
        if b"\n" in chunk:
            *lines, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in lines:
                if line:
                    yield line
    # A last line without its end was cut: the next watch brings it again.


def _refusal(answer: httpx2.Response) -> ApiError:
    try:
        status = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict):
        return ApiError(answer.status_code, answer.reason_phrase, answer.text[:300])
    return ApiError(answer.status_code, str(status.get("reason") or ""), str(status.get("message") or ""))


def _keepalive() -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    for name, value in (
        ("TCP_KEEPIDLE", _PROBE_AFTER_S),
        ("TCP_KEEPINTVL", _PROBE_EACH_S),
        ("TCP_KEEPCNT", _PROBES),
    ):
        if hasattr(socket, name):  # Linux; macOS names the first otherwise, and a laptop's cluster is near
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
