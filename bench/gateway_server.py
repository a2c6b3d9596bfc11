"""Our gateway process without a controller: python gateway_server.py UPSTREAM_ADDRESS PORT [AUDIT_FILE]

With AUDIT_FILE every feature of a request's way is on: the tenant is known by a key (KEY), has quotas and shares, the
cache is asked first and filled after, one of two replicas is chosen, and the audit log gets a line.
"""

import asyncio
import hashlib
import sys

from plimsoll.app.child_host import run_loop
from plimsoll.core.snapshot import CacheView, Endpoint, ServiceView, Snapshot, TenantView
from plimsoll.gateway import Gateway, GatewaySettings

KEY = "plm_a-key-of-the-benchmarks-0123456789-abcdefg"


def snapshot(upstream: str, *, everything: bool) -> Snapshot:
    if not everything:
        endpoint = Endpoint("upstream", "bench-1", upstream)
        return Snapshot(1, (ServiceView("bench", "bench-1", endpoints=(endpoint,)),))
    endpoints = tuple(Endpoint(f"upstream-{number}", "bench-1", upstream) for number in range(2))
    cache = CacheView(ttl_s=60.0, max_bytes=64 * 2**20)
    service = ServiceView("bench", "bench-1", endpoints=endpoints, anonymous=False, cache=cache, target_s=0.1)
    tenant = TenantView(
        "bench",
        key_digests={"default": hashlib.sha256(KEY.encode()).hexdigest()},
        requests_per_s=1e6,
        concurrent_requests=100_000,
        tokens_per_minute=1e9,
        weight=3.0,
        max_priority=5,
    )
    return Snapshot(1, (service,), tenants=(tenant,))


async def main() -> int:
    audit = sys.argv[3] if len(sys.argv) > 3 else None
    listen = (f"tcp:127.0.0.1:{sys.argv[2]}",)
    gateway = Gateway(GatewaySettings("bench", listen, "unix:/nonexistent/control.sock", audit=audit))
    await gateway.start()
    gateway.door.take(snapshot(sys.argv[1], everything=audit is not None))
    await asyncio.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(run_loop(main()))
