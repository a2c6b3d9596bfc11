"""A reverse proxy in the usual Python way: aiohttp's server in front of aiohttp's client.

python aiohttp_proxy.py UPSTREAM_PORT PORT
"""

import sys

from aiohttp import ClientSession, TCPConnector, web

UPSTREAM = f"http://127.0.0.1:{sys.argv[1]}"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "host"}
SESSION = web.AppKey("session", ClientSession)


async def forward(request: web.Request) -> web.Response:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    body = await request.read()
    url = UPSTREAM + request.rel_url.path_qs
    async with request.app[SESSION].request(request.method, url, data=body, headers=headers) as answer:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        return web.Response(status=answer.status, body=await answer.read(), headers=kept)


async def open_session(app: web.Application):
    app[SESSION] = ClientSession(connector=TCPConnector(limit=0))
    yield
    await app[SESSION].close()


app = web.Application()
app.cleanup_ctx.append(open_session)
app.router.add_route("*", "/{path:.*}", forward)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None, access_log=None)
