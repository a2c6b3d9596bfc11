"""Objects of any kind on a cluster, by what they say of themselves: found by discovery, applied, listed, deleted.

For commands, which look at a cluster once; what watches uses `watching`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from plimsoll.backends.kubernetes.api import APPLY_PATCH, Api, ApiError
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.errors import UserError

_PAGE = 500


class NotServed(UserError):
    """The cluster doesn't know this kind."""


class Kind(NamedTuple):
    plural: str
    namespaced: bool


class Reach:
    """`api`'s cluster. Raises ApiError with the server's own words, Unreachable where there is no answer."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._kinds: dict[str, dict[str, Kind]] = {}

    async def kinds(self, api_version: str) -> Mapping[str, Kind]:
        """By their name; empty where the cluster doesn't serve that version. Asked once."""
        if api_version not in self._kinds:
            self._kinds[api_version] = await self._discover(api_version)
        return self._kinds[api_version]

    def forget(self) -> None:
        """After definitions were applied: there are more kinds than there were."""
        self._kinds.clear()

    async def _discover(self, api_version: str) -> dict[str, Kind]:
        root = "/apis" if "/" in api_version else "/api"
        try:
            found = await self.api.get(f"{root}/{api_version}")
        except ApiError as error:
            if error.code in (404, 503):  # 503: an aggregated API whose server is away
                return {}
            raise
        resources = found.get("resources") or []
        return {
            one["kind"]: Kind(one["name"], bool(one.get("namespaced"))) for one in resources if "/" not in one["name"]
        }

    async def path(self, api_version: str, kind: str, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Raises NotServed. `namespace`: left out of the path for kinds of the whole cluster."""
        known = (await self.kinds(api_version)).get(kind)
        if known is None:
            raise NotServed(f"the cluster serves no {kind} of {api_version}; is its operator or CRD installed?")
        root = "/apis" if "/" in api_version else "/api"
        within = ["namespaces", namespace] if known.namespaced and namespace else []
        return "/".join(part for part in (root, api_version, *within, known.plural, name, sub) if part)

    async def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Obj | None:
        try:
            return await self.api.get(await self.path(api_version, kind, namespace, name))
        except NotServed:
            return None
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def list(self, api_version: str, kind: str, namespace: str = "", *, labels: str = "") -> list[Obj]:
        """All of them, page by page; none where the kind isn't served. `namespace` "": of all namespaces."""
        try:
            path = await self.path(api_version, kind, namespace)
        except NotServed:
            return []
        params = {"limit": str(_PAGE)} | ({"labelSelector": labels} if labels else {})
        found: list[Obj] = []
        while True:
            page = await self.api.get(path, params)
            found += [{"apiVersion": api_version, "kind": kind} | one for one in page.get("items") or []]
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return found
            params["continue"] = more

    async def apply(self, obj: Obj, manager: str, *, force: bool = False, dry_run: bool = False) -> Obj:
        """Server-side. Raises ApiError 409 where another owns a field and `force` isn't given."""
        meta = obj["metadata"]
        namespace = meta.get("namespace") or self.api.namespace
        path = await self.path(obj["apiVersion"], obj["kind"], namespace, meta["name"])
        params = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        if dry_run:
            params["dryRun"] = "All"
        return await self.api.patch(path, obj, kind=APPLY_PATCH, params=params)

    async def patch(self, obj: Obj, change: Mapping[str, Any], *, sub: str = "") -> Obj:
        """A merge patch."""
        meta = obj["metadata"]
        path = await self.path(obj["apiVersion"], obj["kind"], meta.get("namespace", ""), meta["name"], sub)
        return await self.api.patch(path, change)

    async def delete(self, obj: Obj, *, orphan: bool = False) -> bool:
        """Whether it was there. `orphan`: what it owns stays."""
        meta = obj["metadata"]
        body = {"propagationPolicy": "Orphan" if orphan else "Background"}
        try:
            path = await self.path(obj["apiVersion"], obj["kind"], meta.get("namespace", ""), meta["name"])
            await self.api.delete(path, body)
        except NotServed:
            return False
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    async def may(self, verb: str, group: str, resource: str, namespace: str = "", sub: str = "") -> bool:
        """Whether whoever asks may do that, by the server's own word."""
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace, "subresource": sub}
        review = await self.api.post(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
            },
        )
        return bool((review.get("status") or {}).get("allowed"))
