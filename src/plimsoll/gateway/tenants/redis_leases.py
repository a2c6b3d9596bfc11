"""RateLeases in Redis: one script for all asks of a round, by Redis' own clock, so gateways' clocks don't matter.

Each quota is a token bucket in one hash, `plimsoll:{rates}:TENANT:KIND`; the tag in braces keeps them on one node of a
cluster, as one script needs. A hash that has refilled is worth no memory and expires.
"""

from collections.abc import Sequence
from typing import Any, cast

from plimsoll.ports.rate_lease import Ask, LeasesLost

# `n` is what is left, `t` when that was so: text of microseconds, since Lua writes 14 digits of a number.
_SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local granted = {}
for i, key in ipairs(KEYS) do
  local want, rate, burst = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local left = burst
  local known = redis.call('HMGET', key, 'n', 't')
  if known[1] then
    left = math.min(burst, tonumber(known[1]) + math.max(0, now - tonumber(known[2])) * rate)
  end
  local give = math.max(0, math.min(want, left))
  if want < 0 then left = math.min(burst, left - want) else left = left - give end
  redis.call('HSET', key, 'n', string.format('%.6f', left), 't', string.format('%.6f', now))
  redis.call('PEXPIRE', key, math.ceil(1000 * (burst - left) / math.max(rate, 0.000001)) + 60000)
  granted[i] = string.format('%.6f', give)
end
return granted
"""


class RedisLeases:
    """`url`: redis://, rediss:// or unix://. Raises LeasesLost at once where it can't be used at all."""

    def __init__(self, url: str, timeout_s: float = 0.25) -> None:
        try:
            from redis.asyncio import Redis
            from redis.backoff import NoBackoff
            from redis.exceptions import NoScriptError, RedisError
            from redis.retry import Retry
        except ImportError:
            raise LeasesLost("redis-py is not installed: plimsoll-serve[redis]") from None
        self._errors = (RedisError, OSError, TimeoutError)
        self._no_script = NoScriptError
        try:
            self._redis: Any = Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
                decode_responses=False,
                max_connections=1,
            )
        except (ValueError, TypeError):
            raise LeasesLost("its URL can't be read; expected redis://HOST:PORT") from None
        self._script = self._redis.register_script(_SCRIPT)

    async def lease(self, asks: Sequence[Ask]) -> list[float]:
        keys = [f"plimsoll:{{rates}}:{ask.tenant}:{ask.kind}" for ask in asks]
        numbers = [number for ask in asks for number in (ask.want, ask.rate, ask.burst)]
        try:
            if not asks:
                await self._redis.ping()
                return []
            return [float(text) for text in cast("list[bytes]", await self._script(keys=keys, args=numbers))]
        except self._errors as error:
            raise LeasesLost(_why(error)) from None

    async def close(self) -> None:
        await self._redis.aclose()


def _why(error: Exception) -> str:
    """Of Redis' own words only what can't hold a password."""
    return {
        "ConnectionError": "no connection",
        "TimeoutError": "no answer in time",
        "AuthenticationError": "it wants another password",
        "ReadOnlyError": "it is a read-only replica",
        "BusyLoadingError": "it is loading its data",
    }.get(type(error).__name__, type(error).__name__)
