"""Decisions about answers that were computed before: what is kept, who waits for whom, when a store is let alone."""

from plimsoll.policy.caching.breaker import Breaker, Use
from plimsoll.policy.caching.flights import Landing, SingleFlight, landing
from plimsoll.policy.caching.freshness import is_fresh
from plimsoll.policy.caching.lru import Lru

__all__ = ["Breaker", "Landing", "Lru", "SingleFlight", "Use", "is_fresh", "landing"]
