"""One watch: from a resourceVersion on, with bookmarks, selectors and tables, until the client goes or time is up."""

import asyncio

from tests.kube import tables
from tests.kube.errors import ApiError
from tests.kube.listing import namespace_of, wanted
from tests.kube.store import Event, encode


class Watch:
    def __init__(self, api, request, bookmark_s):
        self._store, self._request, self._kind = api.store, request, request.kind
        self._takes = wanted(request)
        self._namespace = namespace_of(request)
        self._bookmarks = request.query.get("allowWatchBookmarks") in ("true", "1")
        self._bookmark_s = bookmark_s
        self._ends_s = float(request.query.get("timeoutSeconds") or 3600)

    async def serve(self, receive, send):
        loop = asyncio.get_running_loop()
        with self._store.lock:
            queue, rv, end = self._store.queue(self._kind.store, loop)
            try:
                first = self._first(rv)
            except ApiError as error:
                first = [_line("ERROR", error.status())]
                end()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            # headers go out at once, also where nothing is to be told yet
            await send({"type": "http.response.body", "body": b"".join(first), "more_body": True})
            if not (first and first[0].startswith(b'{"type":"ERROR"')):
                await self._follow(queue, send, gone, loop.time() + self._ends_s)
            await send({"type": "http.response.body", "body": b""})
        finally:
            end()
            gone.cancel()

    async def _follow(self, queue, send, gone, ends):
        loop = asyncio.get_running_loop()
        while True:
            getting = asyncio.ensure_future(queue.get())
            left = min(self._bookmark_s, ends - loop.time())
            await asyncio.wait({getting, gone}, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                getting.cancel()
                return
            if not getting.done():
                getting.cancel()
                if loop.time() >= ends:
                    return
                if self._bookmarks:
                    await send(_chunk(self._bookmark(self._store.rv)))
                continue
            lines = self._lines(getting.result())
            while not queue.empty():
                lines += self._lines(queue.get_nowait())
            if lines:
                await send(_chunk(b"".join(lines)))

    def _first(self, rv):
        """What is told at once. Called with the store's lock held, so that nothing is missed or told twice."""
        query = self._request.query
        since = query.get("resourceVersion") or ""
        initial = query.get("sendInitialEvents") == "true"
        if since in ("", "0") or initial:
            records = self._store.list(self._kind.store, self._namespace)
            lines = [self._told("ADDED", record) for record in records if self._takes(record)]
            if initial:
                lines.append(self._bookmark(rv, {"k8s.io/initial-events-end": "true"}))
            return lines
        if not since.isdigit():
            raise ApiError(400, f"Invalid value: {since!r}: resourceVersion")
        return [line for event in self._store.since(int(since), self._kind.store) for line in self._lines(event)]

    def _lines(self, event: Event):
        record = event.record
        if self._namespace and record.namespace != self._namespace:
            return []
        now = self._takes(record)
        before = event.before is not None and self._takes(event.before)
        if event.type == "DELETED":
            return [self._told("DELETED", record)] if before else []
        if now:
            return [self._told("MODIFIED" if before else "ADDED", record)]
        return [self._told("DELETED", record)] if before else []

    def _told(self, word, record):
        from tests.kube.server import versioned

        if self._request.as_table:
            include = self._request.query.get("includeObject", "Metadata")
            return _line(word, tables.table(self._kind, [record], record.rv, include))
        return b'{"type":"' + word.encode() + b'","object":' + versioned(self._kind, record) + b"}\n"

    def _bookmark(self, rv, annotations=None):
        meta = {"resourceVersion": str(rv), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        return _line("BOOKMARK", {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": meta})


def _line(word, obj):
    return encode({"type": word, "object": obj}) + b"\n"


def _chunk(raw):
    return {"type": "http.response.body", "body": raw, "more_body": True}


async def disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass
