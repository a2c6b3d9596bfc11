"""Answers that were computed before: what makes two requests the same, where answers are kept, who waits for whom.

`ServiceCache` is what a request meets, `CacheStores` what a gateway has one of. docs/caching.md tells users.
"""

from plimsoll.gateway.cache.key import CacheKey
from plimsoll.gateway.cache.parts import protocol_of
from plimsoll.gateway.cache.service_cache import Hit, ServiceCache
from plimsoll.gateway.cache.stores import CacheStores, require

__all__ = ["CacheKey", "CacheStores", "Hit", "ServiceCache", "protocol_of", "require"]
