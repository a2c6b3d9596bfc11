"""The API server's HTTP side: an ASGI application over `Api`. Routes, authorises, streams watches."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote

import aiohttp
import yaml
from tests.kube import discovery, tables
from tests.kube.access import Access, Question
from tests.kube.aggregation import Aggregation
from tests.kube.api import APPLY, Stale, Write
from tests.kube.errors import ApiError
from tests.kube.faults import Faults, RequestLog
from tests.kube.kinds import Kind
from tests.kube.listing import list_page
from tests.kube.services import Services
from tests.kube.store import encode
from tests.kube.subresources import Subresources
from tests.kube.watching import Watch, disconnected
from tests.kube.webhooks import Webhooks

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class Request:
    method: str
    path: list[str]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    kind: Kind | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    user: object = None

    @property
    def verb(self):
        if self.kind is None:
            return _VERBS.get(self.method, self.method.lower())
        if self.method == "GET" and not self.name:
            return "watch" if self.watches else "list"
        if self.method == "DELETE" and not self.name:
            return "deletecollection"
        return _VERBS.get(self.method, self.method.lower())

    @property
    def watches(self):
        return self.query.get("watch") in ("1", "true")

    @property
    def resource(self):
        if self.kind is None:
            return "/" + "/".join(self.path)
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def as_table(self):
        return "as=Table" in self.headers.get("accept", "")

    @property
    def content_type(self):
        return self.headers.get("content-type", "").split(";")[0].strip()

    def write(self):
        agent = self.headers.get("user-agent", "unknown").split("/")[0]
        return Write(
            self.query.get("fieldManager") or ("unknown" if self.content_type in APPLY else agent or "unknown"),
            self.query.get("force") == "true",
            self.query.get("fieldValidation") == "Strict",
            self.query.get("dryRun") == "All",
        )

    def document(self):
        """The body, decoded."""
        if not self.body:
            return {}
        if "protobuf" in self.content_type:
            raise ApiError(415, "protobuf is not understood here: use `kubectl create -f` or `kubectl apply` instead")
        try:
            if "yaml" in self.content_type and self.body[:1] not in b"{[":
                return yaml.safe_load(self.body)
            return json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise ApiError(400, f"the body can't be read: {error}") from None


class Server:
    """`app` is the ASGI application."""

    def __init__(self, api, front_proxy, client_ca):
        self.api = api
        self.access, self.faults, self.log = Access(api), Faults(), RequestLog()
        self.services = Services(api)
        self.webhooks = Webhooks(api, self.services)
        self.aggregation = Aggregation(api, self.services, front_proxy, client_ca)
        self.subresources = Subresources(api, self.access)
        self.bookmark_s = 60.0

    async def app(self, scope, receive, send):
        if scope["type"] != "http":
            return
        began = time.monotonic()
        request = _request(scope)
        code = 200
        try:
            body = await _body(receive)
            if body is None:
                return
            request.body = body
            request.user = self.access.user_of(request.headers.get("authorization"))
            self._route(request)
            if self.faults.delay_s:
                await asyncio.sleep(self.faults.delay_s)
            self.faults.check(request.verb, request.resource)
            self._authorize(request)
            if request.kind is not None and request.verb == "watch":
                self._logged(request, 200, began)
                await Watch(self.api, request, self.bookmark_s).serve(receive, send)
                return
            code, answer = await self._answer(request)
        except ApiError as error:
            code, answer = error.code, error.status()
        self._logged(request, code, began)
        if isinstance(answer, AsyncGenerator):
            await _send_stream(receive, send, answer)
        else:
            await _send(send, code, answer)

    def _logged(self, request, code, began):
        user = request.user.name if request.user else ""
        spent = time.monotonic() - began
        self.log.add(request.verb, request.resource, request.namespace, request.name, user, code, spent)

    # --- routes -------------------------------------------------------------------------------------------------------
    def _route(self, request):
        match request.path:
            case ["api", version, *rest] if rest:
                group = ""
            case ["apis", group, version, *rest] if rest:
                pass
            case _:
                return
        find = self.api.registry.find
        if rest[0] == "namespaces" and len(rest) >= 3 and (kind := find(group, version, rest[2])):
            request.namespace, rest = rest[1], rest[2:]
        else:
            kind = find(group, version, rest[0])
        if kind is None:
            return
        request.kind = kind
        request.name = rest[1] if len(rest) > 1 else ""
        request.subresource = "/".join(rest[2:3])
        if kind.plural == "namespaces" and group == "":
            request.namespace = request.name
        if request.subresource and request.subresource not in kind.subresources:
            raise ApiError(404, "the server could not find the requested resource")

    def _authorize(self, request):
        if request.kind is None:
            if len(request.path) > 3 and self.aggregation.find(*request.path[1:3]):
                return  # the aggregated server asks by a SubjectAccessReview
            asked = _of_unknown(request)
        else:
            kind = request.kind
            namespace = request.namespace
            # A list or watch of one by its name is held against resourceNames (apiserver, request/requestinfo.go).
            one = re.fullmatch(r"metadata\.name=([^,=]+)", request.query.get("fieldSelector", ""))
            name = one[1] if one and not request.name else request.name
            asked = Question(request.verb, kind.group, request.resource, namespace, name)
            if request.content_type in APPLY and self.api.store.get(kind.store, namespace, request.name) is None:
                self.access.check(request.user, asked)
                asked = Question("create", kind.group, request.resource, namespace, request.name)
        self.access.check(request.user, asked)

    async def _answer(self, request):
        if request.kind is None:
            return await self._other(request)
        if request.kind.review:
            answer = self.access.review(request.kind, request.document(), request.user, request.namespace)
            return 201, answer
        if request.subresource in self.subresources.own:
            return await self.subresources.answer(request)
        match request.verb:
            case "get":
                return 200, self._get(request)
            case "list":
                return 200, list_page(self.api, request)
            case "deletecollection":
                return 200, await self._delete_all(request)
            case "delete":
                return await self._delete(request)
            case "create" | "update" | "patch":
                return await self._write(request)
        raise ApiError(405, f"{request.method} is not allowed here")

    async def _other(self, request):
        if request.path in (["healthz"], ["livez"], ["readyz"]):
            return 200, b"ok"
        match request.path:
            case ["apis", group, version, *_] if service := self.aggregation.find(group, version):
                return await self._elsewhere(service, request)
        found = discovery.answer(self.api.registry, request.path, self.aggregation.groups())
        if found is None:
            raise ApiError(404, "the server could not find the requested resource")
        return 200, found

    async def _elsewhere(self, service, request):
        try:
            path = "/" + "/".join(quote(step) for step in request.path)
            kind = request.content_type or "application/json"
            return await self.aggregation.forward(
                service, request.method, path, request.query, request.body, request.user, kind
            )
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(503, f"error trying to reach service: {error}") from None

    def _get(self, request):
        record = self.api.found(request.kind, request.namespace, request.name)
        if request.subresource == "scale":
            return self.api.scale(request.kind, record.obj)
        if request.as_table:
            return tables.table(request.kind, [record], record.rv, request.query.get("includeObject", "Metadata"))
        return versioned(request.kind, record)

    # --- writing ------------------------------------------------------------------------------------------------------
    async def _write(self, request):
        existed = True
        while True:
            change = self._plan(request)
            existed = change.before is not None
            record = await self._commit(change, request)
            if record is not None:
                break
        if request.subresource == "scale":
            return 200, self.api.scale(request.kind, record.obj)
        return (200 if existed else 201), versioned(request.kind, record)

    def _plan(self, request):
        api, kind, write = self.api, request.kind, request.write()
        namespace = "" if not kind.namespaced else request.namespace
        document = request.document()
        if request.method == "POST":
            if kind.namespaced and not namespace:
                raise ApiError(405, "create needs a namespace in the URL")
            return api.plan_create(kind, namespace, document, write)
        if request.method == "PUT":
            if request.subresource == "scale":
                return api.plan_scale(kind, namespace, request.name, document, write)
            return api.plan_update(kind, namespace, request.name, document, request.subresource, write)
        return api.plan_patch(kind, namespace, request.name, request.content_type, document, request.subresource, write)

    async def _commit(self, change, request):
        """None where somebody was faster."""
        await self.webhooks.ask(change, request.user, dry_run=request.write().dry_run)
        try:
            return self.api.commit(change, dry_run=request.write().dry_run)
        except Stale:
            return None

    async def _delete(self, request):
        options = _delete_options(request)
        namespace = request.namespace if request.kind.namespaced else ""
        while True:
            change = self.api.plan_delete(request.kind, namespace, request.name, options)
            record = await self._commit(change, request)
            if record is not None:
                break
        if change.after is not None:
            return 200, versioned(request.kind, record)
        details = {"name": request.name, "group": request.kind.group, "kind": request.kind.plural,
                   "uid": record.obj["metadata"]["uid"]}  # fmt: skip
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return 200, status

    async def _delete_all(self, request):
        page = json.loads(list_page(self.api, request))
        for item in page["items"]:
            meta = item["metadata"]
            change = self.api.plan_delete(
                request.kind, meta.get("namespace", ""), meta["name"], _delete_options(request)
            )
            await self._commit(change, request)
        return page


def versioned(kind, record):
    """The object in the version that was asked for, as bytes."""
    if record.obj.get("apiVersion") in (None, kind.api_version):
        return record.raw
    return encode({**record.obj, "apiVersion": kind.api_version})


def _delete_options(request):
    options = request.document() if request.body else {}
    for key in ("gracePeriodSeconds", "propagationPolicy", "dryRun"):
        if key in request.query:
            value = request.query[key]
            options[key] = int(value) if value.isdigit() else value
    if options.get("dryRun"):
        request.query["dryRun"] = "All"
    return options


def _request(scope):
    path = [unquote(step) for step in scope["raw_path"].decode().split("?")[0].split("/") if step]
    query = {key: values[-1] for key, values in parse_qs(scope["query_string"].decode(), True).items()}
    headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
    return Request(scope["method"], path, query, headers)


async def _body(receive):
    """None where the client went in the middle of it: nothing was asked for then."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send_stream(receive, send, chunks):
    """Until they end or the client goes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    gone = asyncio.ensure_future(disconnected(receive))
    try:
        while True:
            more = asyncio.ensure_future(anext(chunks, None))
            await asyncio.wait({more, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() or more.result() is None:
                more.cancel()
                break
            await send({"type": "http.response.body", "body": more.result(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _send(send, code, answer):
    raw = answer if isinstance(answer, bytes) else encode(answer)
    kind = b"text/plain" if raw[:1] != b"{" else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(raw)).encode())]
    if code == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


def _of_unknown(request):
    """A kind that isn't served is asked for as any other: who may finds none (404), and others may not (403)."""
    path = request.path
    match path:
        case ["api", _, "namespaces", namespace, plural, *rest] | [
            "apis",
            _,
            _,
            "namespaces",
            namespace,
            plural,
            *rest,
        ]:
            pass
        case ["api", _, plural, *rest] | ["apis", _, _, plural, *rest]:
            namespace = ""
        case _:
            return Question(request.verb, path="/" + "/".join(path))
    group = path[1] if path[0] == "apis" else ""
    verb = "list" if request.verb == "get" and not rest else request.verb
    return Question(verb, group, "/".join([plural, *rest[1:2]]), namespace, rest[0] if rest else "")
