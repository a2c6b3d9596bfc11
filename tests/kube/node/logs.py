"""Logs over HTTPS, where the API server looks for them: /containerLogs/NAMESPACE/POD/CONTAINER on each node's port."""

import asyncio
import contextlib
import ssl

from aiohttp import web


class LogServer:
    """`find(namespace, pod, container)` gives the Container, None where there is none."""

    def __init__(self, find, cert, key):
        self._find, self._files = find, (cert, key)
        self._runner, self.port = None, 0

    async def start(self):
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self._files)
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def close(self):
        await self._runner.cleanup()

    async def _serve(self, request):
        names = request.match_info
        container = self._find(names["namespace"], names["pod"], names["container"])
        if container is None:
            return web.Response(status=404, text="container not found")
        query = request.query
        path = container.previous_log_file if query.get("previous") == "true" else container.log_file
        raw = path.read_bytes() if path.exists() else b""
        at = len(raw)
        if "tailLines" in query:
            raw = (
                b"".join(raw.splitlines(keepends=True)[-int(query["tailLines"]) :])
                if query["tailLines"] != "0"
                else b""
            )
        if query.get("follow") != "true":
            return web.Response(body=raw, content_type="text/plain")
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        await answer.write(raw)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while True:
                with path.open("rb") as log:
                    log.seek(at)
                    more = log.read()
                at += len(more)
                if more:
                    await answer.write(more)
                elif not container.running:
                    break
                await asyncio.sleep(0.05)
        return answer
