"""Objects, their versions and what happened to them: the part that etcd and the watch cache play.

Every change gets the next resourceVersion. What happened is kept until `compact()`; a watch that asks for older gets
410. All methods are synchronous and safe to call from any thread.
"""

import asyncio
import bisect
import threading
from typing import NamedTuple

import msgspec
from tests.kube.errors import ApiError

encode = msgspec.json.encode


def clone(obj):
    """A copy that shares nothing; faster than copy.deepcopy."""
    return msgspec.json.decode(encode(obj))


class Record:
    """One version of one object. Nobody may change `obj`; `copy()` is for changing."""

    __slots__ = ("_raw", "name", "namespace", "obj", "rv")

    def __init__(self, obj, rv):
        self.obj, self.rv, self._raw = obj, rv, None
        meta = obj["metadata"]
        self.name, self.namespace = meta["name"], meta.get("namespace", "")

    @property
    def raw(self):
        if self._raw is None:
            self._raw = encode(self.obj)
        return self._raw

    @property
    def labels(self):
        return self.obj["metadata"].get("labels") or {}

    def copy(self):
        return msgspec.json.decode(self.raw)


def _owners(record):
    if record is None:
        return set()
    return {owner["uid"] for owner in record.obj["metadata"].get("ownerReferences") or ()}


class Event(NamedTuple):
    """`before`: the version that this one replaced, None where it is new."""

    type: str  # ADDED, MODIFIED, DELETED
    store: tuple[str, str]
    record: Record
    before: Record | None

    @property
    def rv(self):
        return self.record.rv


class Store:
    def __init__(self):
        self.lock = threading.RLock()
        self.rv = 1
        self.objects = {}  # (group, plural) -> {(namespace, name): Record}
        self.owned = {}  # uid of an owner -> {(store, namespace, name)} of what names it
        self.history = []
        self.compacted = 0
        self._listeners = set()

    # --- reading ------------------------------------------------------------------------------------------------------
    def get(self, store, namespace, name):
        return self.objects.get(store, {}).get((namespace, name))

    def list(self, store, namespace=""):
        """In the order of namespace and name, as etcd's keys are."""
        with self.lock:
            found = self.objects.get(store, {})
            return [found[key] for key in sorted(key for key in found if not namespace or key[0] == namespace)]

    def owned_by(self, uid, store):
        """Records of a kind that name `uid` among their owners."""
        with self.lock:
            keys = sorted(key for key in self.owned.get(uid, ()) if key[0] == store)
            return [record for _, *place in keys if (record := self.get(store, *place)) is not None]

    def since(self, rv, store=None):
        """Events after resourceVersion `rv`."""
        with self.lock:
            if rv < self.compacted:
                raise ApiError(410, f"too old resource version: {rv} ({self.compacted})")
            start = bisect.bisect_right(self.history, rv, key=lambda event: event.rv)
            return [event for event in self.history[start:] if store is None or event.store == store]

    # --- writing ------------------------------------------------------------------------------------------------------
    def put(self, store, obj):
        """Stores `obj` (which is then the store's) under the next resourceVersion."""
        with self.lock:
            self.rv += 1
            obj["metadata"]["resourceVersion"] = str(self.rv)
            record = Record(obj, self.rv)
            kept = self.objects.setdefault(store, {})
            before = kept.get((record.namespace, record.name))
            kept[record.namespace, record.name] = record
            self._index(store, before, record)
            self._tell(Event("MODIFIED" if before else "ADDED", store, record, before))
            return record

    def drop(self, store, namespace, name):
        with self.lock:
            before = self.objects.get(store, {}).pop((namespace, name), None)
            if before is None:
                return None
            self._index(store, before, None)
            self.rv += 1
            obj = before.copy()
            obj["metadata"]["resourceVersion"] = str(self.rv)
            record = Record(obj, self.rv)
            self._tell(Event("DELETED", store, record, before))
            return record

    def _index(self, store, before, after):
        old, new = _owners(before), _owners(after)
        if old == new:
            return
        key = (store, (after or before).namespace, (after or before).name)
        for uid in old - new:
            self.owned.get(uid, set()).discard(key)
        for uid in new - old:
            self.owned.setdefault(uid, set()).add(key)

    def compact(self):
        """Forgets what happened: who resumes from before gets 410 Gone."""
        with self.lock:
            self.history.clear()
            self.compacted = self.rv

    def _tell(self, event):
        self.history.append(event)
        if len(self.history) > 200_000:
            del self.history[:100_000]
            self.compacted = self.history[0].rv - 1
        for listener in tuple(self._listeners):
            listener(event)

    def listen(self, listener):
        """Calls `listener(event)` in the thread of whoever changes something. Returns how to end it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def queue(self, store, loop):
        """(queue of Events of that kind from now on, resourceVersion of now, how to end it). Call it in the loop."""
        queue = asyncio.Queue()
        here = threading.get_ident()  # of the loop

        def listener(event):
            if store is not None and event.store != store:
                return
            if threading.get_ident() == here:
                queue.put_nowait(event)
            else:
                loop.call_soon_threadsafe(queue.put_nowait, event)

        with self.lock:
            return queue, self.rv, self.listen(listener)
