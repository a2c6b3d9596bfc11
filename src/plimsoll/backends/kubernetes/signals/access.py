"""Who asks an aggregated API, and whether it may.

The API server's aggregator shows a client certificate of the front proxy's CA and says in headers whom it asks for;
which CA and which names stands in the ConfigMap kube-system/extension-apiserver-authentication. Nobody else is
believed. Whether that user may read the metric, the API server is asked (SubjectAccessReview); its answer is kept for
seconds.
https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from plimsoll.backends.kubernetes.api import Api, path_of
from plimsoll.backends.kubernetes.objects import Obj

CONFIG_NAMESPACE, CONFIG_NAME = "kube-system", "extension-apiserver-authentication"
_KEPT_S = 10.0
_MOST = 1000


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """`ca`: PEM. `names`: common names that it may have, any where empty. Headers in lower case."""

    ca: str = ""
    names: frozenset[str] = frozenset()
    user: tuple[str, ...] = ("x-remote-user",)
    group: tuple[str, ...] = ("x-remote-group",)
    extra: tuple[str, ...] = ("x-remote-extra-",)
    uid: tuple[str, ...] = ("x-remote-uid",)


@dataclass(frozen=True, slots=True)
class Caller:
    user: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    uid: str = ""


def front_proxy(config: Obj) -> FrontProxy:
    """From the ConfigMap. Raises ValueError for one that says no CA: then nobody can be believed."""
    data = config.get("data") or {}
    ca = data.get("requestheader-client-ca-file") or ""
    if not ca:
        raise ValueError(
            f"{CONFIG_NAMESPACE}/{CONFIG_NAME} has no requestheader-client-ca-file: the API server aggregates nothing"
        )
    usual = FrontProxy()
    return FrontProxy(
        ca,
        frozenset(_names(data, "requestheader-allowed-names")),
        _headers(data, "requestheader-username-headers", usual.user),
        _headers(data, "requestheader-group-headers", usual.group),
        _headers(data, "requestheader-extra-headers-prefix", usual.extra),
        _headers(data, "requestheader-uid-headers", usual.uid),
    )


def caller_of(proxy: FrontProxy, peer: Mapping[str, Any] | None, headers: Sequence[tuple[str, str]]) -> Caller | None:
    """None: it is not to be believed. `peer`: the certificate that it showed, verified against the CA; `headers`: names
    in lower case."""
    if not peer or (proxy.names and _common_name(peer) not in proxy.names):
        return None
    user = next((value for name, value in headers if name in proxy.user and value), "")
    if not user:
        return None
    extra: dict[str, list[str]] = {}
    for name, value in headers:
        for prefix in proxy.extra:
            if name.startswith(prefix):
                extra.setdefault(unquote(name[len(prefix) :]), []).append(value)
    return Caller(
        user,
        tuple(value for name, value in headers if name in proxy.group),
        {key: tuple(values) for key, values in extra.items()},
        next((value for name, value in headers if name in proxy.uid), ""),
    )


class Permissions:
    """Asks the API server whether callers may, and keeps its word for some seconds."""

    def __init__(self, api: Api, *, kept_s: float = _KEPT_S) -> None:
        self._api, self._kept_s = api, kept_s
        self._known: dict[tuple[Caller, str], tuple[float, bool]] = {}

    async def allows(self, caller: Caller, what: Mapping[str, str], now: float) -> bool:
        """`what`: resourceAttributes: namespace, verb, group, version, resource, subresource, name. Raises ApiError or
        Unreachable."""
        key = (_hashable(caller), json.dumps(what, sort_keys=True))
        known = self._known.get(key)
        if known is not None and 0.0 <= now - known[0] < self._kept_s:
            return known[1]
        spec: dict[str, Any] = {"user": caller.user, "groups": list(caller.groups), "resourceAttributes": dict(what)}
        if caller.extra:
            spec["extra"] = {name: list(values) for name, values in caller.extra.items()}
        if caller.uid:
            spec["uid"] = caller.uid
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self._api.post(path_of("authorization.k8s.io/v1", "subjectaccessreviews"), review)
        allowed = bool((answer.get("status") or {}).get("allowed"))
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (now, allowed)
        return allowed


def _hashable(caller: Caller) -> Any:
    return (caller.user, caller.groups, caller.uid, tuple(sorted(caller.extra.items())))


def _common_name(peer: Mapping[str, Any]) -> str:
    return next((value for part in peer.get("subject", ()) for key, value in part if key == "commonName"), "")


def _names(data: Mapping[str, str], key: str) -> list[str]:
    found = json.loads(data.get(key) or "[]")
    return [str(one) for one in found] if isinstance(found, list) else []


def _headers(data: Mapping[str, str], key: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower() for name in _names(data, key)) or usual
