"""Our gateway process with one endpoint and no controller: python gateway_server.py UPSTREAM_ADDRESS PORT"""

import asyncio
import sys

from plimsoll.app.child_host import run_loop
from plimsoll.core.snapshot import Endpoint, ServiceView, Snapshot
from plimsoll.gateway import Gateway, GatewaySettings


async def main() -> int:
    gateway = Gateway(GatewaySettings("bench", (f"tcp:127.0.0.1:{sys.argv[2]}",), "unix:/nonexistent/control.sock"))
    await gateway.start()
    endpoint = Endpoint("upstream", "bench-1", sys.argv[1])
    gateway.door.take(Snapshot(1, (ServiceView("bench", "bench-1", endpoints=(endpoint,)),)))
    await asyncio.Event().wait()
    return 0


run_loop(main())
