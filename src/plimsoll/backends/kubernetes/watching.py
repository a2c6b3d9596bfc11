"""One kind of objects, listed once and watched from there: the present state in memory, each change told once.

    pods = Watch(api, path_of("v1", "pods"), label_selector=SERVICE_LABEL, keep=pod_of, on_change=changed)
    task = asyncio.create_task(pods.run())      # until cancelled
    await pods.synced.wait()
    pods.objects["shop", "mood-7c9-x2x"]

The list comes in pages; the watch goes on from its resourceVersion, through ends, breaks and bookmarks. Only a server
that has forgotten that version (410) is asked for the list again, and then what vanished meanwhile is told, too: an
idle watcher makes no list calls. While the server is away, what was seen last stays; it is asked for each second or so,
since a port that nobody listens on costs next to nothing, and a second is what others wait for us.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from plimsoll.backends.kubernetes.api import Api, ApiError, Unreachable
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.pacing import Pace, PaceSettings, Why

LOG = logging.getLogger(__name__)

Kept = TypeVar("Kept")

_AWAY = frozenset({502, 503, 504})  # it is starting, or whatever stands before it finds none


class Change(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Key(NamedTuple):
    """`namespace` "" for objects of the whole cluster."""

    namespace: str
    name: str


class _Event(msgspec.Struct):
    type: str
    object: dict[str, Any]


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """`turn_s`: how long the server keeps one watch open; each takes a little less or more, so that a thousand watchers
    don't come back at once. `silent_s`: beyond that without a line or a bookmark the connection is taken for dead.
    `head_s`: a watch is answered at once, long before its first event. `bookmark_s`: as `silent_s`, once a bookmark
    came: API servers send one a minute, where they keep a cache of the kind."""

    page: int = 100  # objects as text, dicts and what is kept of them are in memory at once
    turn_s: float = 290.0
    silent_s: float = 330.0
    head_s: float = 10.0
    bookmark_s: float = 90.0
    pace: PaceSettings = field(default_factory=PaceSettings)


class Watch(Generic[Kept]):
    """`objects`: what `keep` made of each that is there; those for which it gives None are left out. `on_change(change,
    key, kept)` is called for each change after it stands in `objects`; for DELETED with what was kept last. `problem`:
    why nothing is heard now; "" while all is well; `away`: because the server doesn't answer. `lists`: how often the
    whole list was asked for."""

    def __init__(
        self,
        api: Api,
        path: str,
        *,
        keep: Callable[[Obj], Kept | None],
        on_change: Callable[[Change, Key, Kept], None] | None = None,
        label_selector: str = "",
        field_selector: str = "",
        settings: WatchSettings | None = None,
    ) -> None:
        self.path = path
        self.objects: dict[Key, Kept] = {}
        self.synced = asyncio.Event()
        self.problem = ""
        self.away = False
        self.lists = 0
        self._api, self._keep, self._on_change = api, keep, on_change
        self._settings = settings or WatchSettings()
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._selectors = {key: text for key, text in selectors.items() if text}
        self._open = False  # the present watch was answered
        self._version = ""  # from where to watch; "": list first
        self._decode = msgspec.json.Decoder(_Event).decode

    async def run(self) -> None:
        """Until cancelled. What goes wrong is logged once until it goes well again, and tried again (see `pacing`)."""
        loop, pace = asyncio.get_running_loop(), Pace(self._settings.pace, random.random)
        while True:
            began, self._open = loop.time(), False
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                why = Why.ENDED
            except ApiError as error:
                why = Why.AWAY if error.code in _AWAY else Why.REFUSED
                if error.code == 410:
                    self._version = ""  # what the server knows of the past doesn't reach back so far
                else:
                    self._trouble(_words(self.path, error))
            except Unreachable as error:
                why = Why.AWAY
                self._trouble(str(error))
            except TimeoutError:
                why = Why.AWAY
                LOG.info("%s: no bookmark for %g s; the connection is given up", self.path, self._settings.bookmark_s)
            self.away = why is Why.AWAY
            await asyncio.sleep(pace.wait_s(why, loop.time() - began, held=self._open))

    # --- the list ---------------------------------------------------------------------------------------------------

    async def _list(self) -> None:
        found: dict[Key, Kept] = {}
        params = {**self._selectors, "limit": str(self._settings.page)}
        self.lists += 1
        while True:
            page = await self._api.get(self.path, params)
            meta = page.get("metadata") or {}
            for obj in page.get("items") or ():
                kept = self._keep(obj)
                if kept is not None:
                    found[_key(obj)] = kept
            if not meta.get("continue"):
                break
            params["continue"] = meta["continue"]  # a 410 here begins the list anew
        before = set(self.objects)
        for key in before - found.keys():
            self._gone(key)
        for key, kept in found.items():
            self._is(key, kept)
        self._version = str(meta.get("resourceVersion") or "")
        self.synced.set()

    # --- the watch --------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        settings = self._settings
        turn_s = settings.turn_s * random.uniform(0.9, 1.1)
        params = {
            **self._selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, round(turn_s))),
        }
        silent_s = max(settings.silent_s, turn_s + 10.0)
        async with self._api.lines(self.path, params, silent_s=silent_s, head_s=settings.head_s) as lines:
            self._well()
            await self._hear(lines)

    async def _hear(self, lines: AsyncIterator[bytes]) -> None:
        """Raises TimeoutError where bookmarks came and come no more: a peer that stands still, or is gone behind
        something that keeps its connections, closes none."""
        clock, limit_s, bookmarked = asyncio.get_running_loop().time, self._settings.bookmark_s, False
        async with asyncio.timeout(None) as silence:
            async for line in lines:
                bookmarked = self._take(line) or bookmarked
                if bookmarked:
                    silence.reschedule(clock() + limit_s)

    def _take(self, line: bytes) -> bool:
        """Whether it was a bookmark."""
        try:
            event = self._decode(line)
        except msgspec.MsgspecError as error:
            raise Unreachable(f"{self.path}: a line of the watch is no event: {error}") from error
        if event.type == "ERROR":
            status = event.object
            raise ApiError(int(status.get("code") or 500), str(status.get("reason")), str(status.get("message") or ""))
        version = str(event.object.get("metadata", {}).get("resourceVersion") or "")
        if event.type != "BOOKMARK":
            key, kept = _key(event.object), None if event.type == Change.DELETED else self._keep(event.object)
            if kept is None:
                self._gone(key)
            else:
                self._is(key, kept)
        self._version = version or self._version
        return event.type == "BOOKMARK"

    def _is(self, key: Key, kept: Kept) -> None:
        before = self.objects.get(key)
        if before is not None and before == kept:
            return
        self.objects[key] = kept
        self._tell(Change.ADDED if before is None else Change.MODIFIED, key, kept)

    def _gone(self, key: Key) -> None:
        last = self.objects.pop(key, None)
        if last is not None:
            self._tell(Change.DELETED, key, last)

    def _tell(self, change: Change, key: Key, kept: Kept) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(change, key, kept)
        except Exception:  # one object that can't be understood must not end the watch of all others
            LOG.exception("%s of %s %s could not be taken", change, self.path, "/".join(key))

    def _well(self) -> None:
        self._open, self.away = True, False
        if self.problem:
            LOG.info("%s is watched again", self.path)
        self.problem = ""

    def _trouble(self, text: str) -> None:
        if text != self.problem:
            LOG.warning("%s; what was seen last stays", text)
        self.problem = text


def _key(obj: Obj) -> Key:
    meta = obj["metadata"]
    return Key(meta.get("namespace") or "", meta["name"])


def _words(path: str, error: ApiError) -> str:
    if error.code == 403:
        return f"{path} may not be watched: {error}; grant list and watch to its ServiceAccount"
    if error.code == 404:
        return f"{path} is not served here: are the custom resource definitions installed?"
    return f"{path} can't be watched: {error}"
