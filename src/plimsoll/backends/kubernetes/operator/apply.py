"""Server-side apply of what was rendered, as `plimsoll-operator`, with the answers remembered: what is unchanged and
undrifted costs no call.

A count is sent once, when a workload is made. Our apply then owns `spec.replicas`, and one without it would set the
count back to 1: so right after it the count is handed over to a second manager, and only then applied without. Whoever
writes `/scale` later takes it from either. An operator that died between the two steps is made up for by the next.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from plimsoll.backends.kubernetes.api import APPLY_PATCH, Api, ApiError, Unreachable
from plimsoll.backends.kubernetes.names import FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj, ObjectKey, digest_of, key_of
from plimsoll.backends.kubernetes.operator.fields import COUNTED, mark_of, mark_of_rendered, owns_count
from plimsoll.backends.kubernetes.operator.kinds import REVISIONS, Kind, kind_of
from plimsoll.backends.kubernetes.operator.seen import Owned

LOG = logging.getLogger(__name__)

COUNT_MANAGER = "plimsoll-count"  # keeps spec.replicas for nobody, so that our apply may let go of it
_TRIES = (0.05, 0.2, 0.8)  # seconds before trying once more; beyond that the queue's back-off takes over
_AGAIN = frozenset({409, 429, 500, 502, 503, 504})

Result = TypeVar("Result")


class Refused(Exception):
    """The API server refused one object. `doing`: what was asked, in words."""

    def __init__(self, doing: str, error: ApiError) -> None:
        super().__init__(f"can't {doing}: {error}")
        self.doing, self.error = doing, error


@dataclass(slots=True)
class Stands:
    """One object as we applied it: `digest` of what was rendered, `mark` and `version` of the answer."""

    digest: str
    mark: str
    version: str


@dataclass(slots=True)
class Memory:
    """Of one service. `objects`: what we applied and how it stood then. `unserved`: those of them that were left out,
    since this cluster knows no such kind."""

    objects: dict[ObjectKey, Stands] = field(default_factory=dict)
    unserved: set[ObjectKey] = field(default_factory=set)

    def settled(self, key: ObjectKey, digest: str, owned: Owned | None) -> bool:
        """Whether an object that was rendered with `digest` needs no call. `owned`: as the watch shows it."""
        stands = self.objects.get(key)
        if stands is None or stands.digest != digest:
            return False
        # Not seen yet, or not to be seen: one that is deleted is forgotten (`lost`).
        return owned is None or not newer(owned.version, stands.version) or owned.mark == stands.mark

    def drifted(self, key: ObjectKey, owned: Owned | None) -> bool:
        """Whether the watch shows something else than we applied."""
        stands = self.objects.get(key)
        if stands is None or owned is None or stands.version == "":
            return False
        return newer(owned.version, stands.version) and owned.mark != stands.mark

    def served(self, kinds: Collection[Kind]) -> bool:
        """These kinds are known now. Whether something of them was left out."""
        found = {key for key in self.unserved if kind_of(key) in kinds}
        self.unserved -= found
        for key in found:
            self.objects.pop(key, None)
        return bool(found)

    def lost(self, key: ObjectKey) -> bool:
        """It was deleted. Whether it was one of ours."""
        return self.objects.pop(key, None) is not None


def newer(one: str, other: str) -> bool:
    """Of resourceVersions, which are numbers that grow (Kubernetes 1.35 says so; older servers do it as well)."""
    try:
        return int(one) > int(other or 0)
    except ValueError:
        return one != other


class Applier:
    """`calls`: how many requests were made, for the metrics."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.calls = 0

    async def apply_all(
        self, objects: Iterable[Obj], memory: Memory, owned: Mapping[ObjectKey, Owned]
    ) -> list[Refused]:
        """Each object that isn't as rendered, together. Returns what was refused: one object's trouble doesn't keep
        another from being applied. Raises Unreachable."""
        work = []
        for obj in objects:
            key = key_of(obj)
            digest = digest_of(_without_count(obj), 16)
            seen = owned.get(key)
            if memory.settled(key, digest, seen):
                continue
            stands = seen is not None and seen.mark == mark_of_rendered(obj, key.kind) and not seen.owns_count
            if key not in memory.objects and seen is not None and stands:
                memory.objects[key] = Stands(digest, seen.mark, seen.version)  # another operator did it
                continue
            work.append(self._apply(key, obj, digest, memory, seen))
        found = await asyncio.gather(*work, return_exceptions=True)
        refused: list[Refused] = []
        for one in found:
            if isinstance(one, Refused):
                refused.append(one)
            elif isinstance(one, BaseException):
                raise one
        return refused

    async def _apply(self, key: ObjectKey, obj: Obj, digest: str, memory: Memory, seen: Owned | None) -> None:
        kind = kind_of(key)
        counted = key.kind in COUNTED and "replicas" in obj["spec"]  # whose caller has looked
        if seen is None and key not in memory.objects and not counted:
            await self._make_sure(obj)
        if seen is not None and seen.owns_count and not counted:
            await self.hand_over(kind, key)
        try:
            answer = await self.applied(obj)
            if counted:
                await self.hand_over(kind, key, answer)
                answer = await self.applied(_without_count(obj))
        except Refused as refused:
            if refused.error.code != 404 or not kind.foreign:
                raise
            LOG.info("%s is not served here: %s is left out", kind.api_version, key.name)
            memory.objects[key] = Stands(digest, "", "")
            memory.unserved.add(key)
            return
        memory.unserved.discard(key)
        if not kind.shared:
            meta = answer["metadata"]
            memory.objects[key] = Stands(digest, mark_of(answer, key.kind), str(meta.get("resourceVersion", "")))
        else:
            memory.objects[key] = Stands(digest, "", "")

    async def _make_sure(self, obj: Obj) -> None:
        """That it is free, or ours. Watches show ours alone, and a forced apply takes any."""
        kind = kind_of(key_of(obj))
        if kind.shared or kind == REVISIONS:
            return
        try:
            await self.stands(obj)
        except Refused as refused:
            if refused.error.code != 403:  # so does the apply, whose verb is the one to name
                raise

    async def applied(self, obj: Obj, *, manager: str = FIELD_MANAGER, force: bool = True) -> Obj:
        key = key_of(obj)
        params = {"fieldManager": manager, "force": "true" if force else "false"}
        path = kind_of(key).path(key.namespace, key.name)
        return await self._tried(
            f"apply {key.kind} {key.name}",
            lambda: self._api.patch(path, obj, kind=APPLY_PATCH, params=params),
        )

    async def hand_over(self, kind: Kind, key: ObjectKey, live: Obj | None = None) -> None:
        """Makes the count a second manager's as it stands. A conflict says that it is a scaler's already. `live`: the
        object as the server has just shown it."""
        if live is None:
            path = kind.path(key.namespace, key.name)
            live = await self._tried(f"read {key.kind} {key.name}", lambda: self._api.get(path))
        if not owns_count(live):
            return
        body: Obj = {
            "apiVersion": key.api_version,
            "kind": key.kind,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": live["metadata"]["uid"]},
            "spec": {"replicas": live["spec"]["replicas"]},
        }
        try:
            await self.applied(body, manager=COUNT_MANAGER, force=False)
        except Refused as refused:
            if refused.error.code != 409:
                raise

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> str:
        """The workload's resourceVersion after it. Nothing but the count is touched."""
        path = kind.path(namespace, name, "scale")
        body = {"spec": {"replicas": replicas}}
        params = {"fieldManager": FIELD_MANAGER}
        answer = await self._tried(
            f"scale {kind.kind} {name}", lambda: self._api.patch(path, body, params=params)
        )  # fmt: skip
        return str(answer["metadata"].get("resourceVersion") or "")

    async def stands(self, obj: Obj) -> bool:
        """Whether there is one already that was made for the same service. Raises Refused for anybody else's."""
        key = key_of(obj)
        live = await self.found(kind_of(key), key.namespace, key.name)
        if live is not None:
            _refuse_anothers(live, obj)
        return live is not None

    async def found(self, kind: Kind, namespace: str, name: str) -> Obj | None:
        try:
            return await self._tried(f"read {kind.kind} {name}", lambda: self._api.get(kind.path(namespace, name)))
        except Refused as refused:
            if refused.error.code == 404:
                return None
            raise

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Its pods in the background; gone already is as good."""
        path = kind.path(namespace, name)
        try:
            await self._tried(
                f"delete {kind.kind} {name}", lambda: self._api.delete(path, {"propagationPolicy": "Background"})
            )
        except Refused as refused:
            if refused.error.code != 404:
                raise

    async def patch(self, doing: str, path: str, body: Mapping[str, Any]) -> Obj:
        """A merge patch."""
        params = {"fieldManager": FIELD_MANAGER}
        return await self._tried(doing, lambda: self._api.patch(path, body, params=params))

    async def _tried(self, doing: str, ask: Callable[[], Awaitable[Result]]) -> Result:
        for wait_s in (*_TRIES, None):
            self.calls += 1
            try:
                return await ask()
            except ApiError as error:
                # Another 409 is an answer, not a race: a uid that is gone, a field that is a scaler's.
                if error.code not in _AGAIN or wait_s is None or (error.code == 409 and not _raced(error)):
                    raise Refused(doing, error) from error
                LOG.debug("%s: %s; once more in %s s", doing, error, wait_s)
            except Unreachable:
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
        raise AssertionError("the last try returns or raises")


def _refuse_anothers(live: Obj, obj: Obj) -> None:
    """Raises Refused where what stands was not made for the service that `obj` is rendered for."""
    wanted, there = obj["metadata"], live["metadata"]
    labels = there.get("labels") or {}
    same = all(labels.get(one) == (wanted.get("labels") or {}).get(one) for one in (MANAGED_BY_LABEL, SERVICE_LABEL))
    owners = [{(one["kind"], one["name"]) for one in meta.get("ownerReferences") or ()} for meta in (wanted, there)]
    if (same and SERVICE_LABEL in labels) or owners[0] & owners[1]:
        return
    name = there["name"]
    label = (wanted.get("labels") or {}).get(SERVICE_LABEL, name)
    words = (
        "there is one of that name that is not this service's; delete it, or give one of the two another name. To hand "
        f"it over: kubectl label {obj['kind'].lower()} {name} {MANAGED_BY_LABEL}={MANAGED_BY} {SERVICE_LABEL}={label}"
    )
    raise Refused(f"apply {obj['kind']} {name}", ApiError(409, "AlreadyExists", words))


def _without_count(obj: Obj) -> Obj:
    """The count is sent once: whether it is there makes no other object."""
    if obj["kind"] not in COUNTED or "replicas" not in obj["spec"]:
        return obj
    return {**obj, "spec": {key: value for key, value in obj["spec"].items() if key != "replicas"}}


def _raced(error: ApiError) -> bool:
    return "the object has been modified" in str(error) or "please apply your changes" in str(error)
