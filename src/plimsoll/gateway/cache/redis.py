"""Redis, through redis-py. One MGET a turn of the loop, SETs in one pipeline, values with Redis' own expiry.

Keys are `plimsoll:cache:SERVICE:` and 20 bytes. Values: `frame`.
"""

from plimsoll.core.errors import HostError
from plimsoll.gateway.cache.remote import Name, RemoteSettings

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise HostError("a cache in Redis needs a package: pip install 'plimsoll-serve[redis]'") from error

_SCANNED = 1000  # keys a SCAN looks at: 0.2 ms of Redis' one thread


class RedisWire:
    def __init__(self, url: str, settings: RemoteSettings) -> None:
        """Connects when first used. Raises ValueError where the URL is none."""
        self._redis = Redis.from_url(
            url,
            max_connections=settings.commands + 8,  # lookups, and what no request waits for
            socket_connect_timeout=settings.command_s,
            socket_timeout=settings.command_s,
            retry=Retry(NoBackoff(), 0),  # to try again is the breaker's decision
            client_name="plimsoll-cache",
            decode_responses=False,
        )

    async def fetch(self, names: list[Name]) -> list[bytes | None]:
        values = await self._redis.mget([_key(name) for name in names])
        return [value if isinstance(value, bytes) else None for value in values]

    async def save(self, values: list[tuple[Name, bytes, float]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for name, value, keep_s in values:
            pipeline.set(_key(name), value, px=max(1, int(keep_s * 1000)))
        await pipeline.execute()

    async def purge(self, service: str) -> None:
        pattern, cursor = _prefix(service) + b"*", 0
        while True:
            cursor, keys = await self._redis.scan(cursor, match=pattern, count=_SCANNED)
            if keys:
                await self._redis.unlink(*keys)
            if not cursor:
                return

    async def ping(self) -> None:
        await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()


def _prefix(service: str) -> bytes:
    """A service's name has no character that a pattern would read as its own."""
    return b"plimsoll:cache:%b:" % service.encode()


def _key(name: Name) -> bytes:
    return _prefix(name[0]) + name[1]
