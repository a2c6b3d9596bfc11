"""A request's way past the cache: look → a fresh answer, or lead, or follow who computes the same already.

What becomes of the followers when their leader ends is `policy.caching.landing`; this file carries it out.
"""

import asyncio
from typing import TYPE_CHECKING

from plimsoll.core.outcome import Outcome
from plimsoll.gateway.answer import Answer
from plimsoll.gateway.cache import CacheKey, Hit, ServiceCache
from plimsoll.policy.caching import Landing, landing

if TYPE_CHECKING:
    from plimsoll.gateway.forwarding import Forwarding


def begin_trip(forwarding: "Forwarding", cache: ServiceCache, now: float) -> bool:
    """False where this request is to be dispatched at once. One whose client wants a new answer (`no-cache`) follows
    nobody either; what it gets is kept all the same."""
    ask = cache.key(forwarding.exchange, forwarding.tenant_name, forwarding.service.view.revision)
    if ask is None:
        return False
    trip = forwarding.trip = CacheTrip(forwarding, cache, ask)
    if not ask.may_read:
        return False
    cache.lookup(ask, now, trip.found)
    return True


class CacheTrip:
    """From the look into the cache to the request's end. One that is held shares nothing meanwhile: `held`, `again`."""

    __slots__ = ("_answer", "_ask", "_cache", "_forwarding", "_found_at", "_in_flight", "_leads", "_stale")

    def __init__(self, forwarding: "Forwarding", cache: ServiceCache, ask: CacheKey) -> None:
        self._forwarding = forwarding
        self._cache = cache
        self._ask = ask
        self._in_flight = False  # it leads, or follows
        self._leads = False
        self._answer: Answer | None = None
        self._stale: Hit | None = None
        self._found_at = 0.0

    def found(self, hit: Hit | None) -> None:
        forwarding = self._forwarding
        if forwarding.ended:
            return
        if hit is not None and hit.fresh:
            forwarding.answer_cached(hit.lines, hit.body, hit.age_s, self._ask.revision)
            return
        now = forwarding.now()
        self._stale, self._found_at = hit, now
        # Else its time was so short that the fallback has it already.
        if forwarding.target is forwarding.service and self._join():
            forwarding.dispatch(now)

    def _join(self) -> bool:
        """Whether it leads."""
        self._in_flight = True
        self._leads = self._cache.flights.join(self._ask.key, self._forwarding)
        return self._leads

    def stale_at(self, now: float) -> Hit | None:
        """What the cache held that was no longer fresh, for a StaleCache fallback; as old as it is now."""
        hit = self._stale
        return None if hit is None else Hit(hit.lines, hit.body, False, hit.age_s + now - self._found_at)

    def held(self) -> None:
        """It waits for a replica, perhaps for long. Who waits for its answer waits likewise, each as long as it may."""
        if self._in_flight:
            self._in_flight = False
            for follower in self._cache.flights.done(self._ask.key):
                follower.trip.go_alone()

    def again(self) -> bool:
        """A replica is there. Whether it is to go to it; else another that was held with it does, and it follows."""
        return not self._ask.may_read or self._join()

    def take_lead(self) -> None:
        """The one before it ended without an answer for others. Begins in a turn of its own: where each is refused at
        once, hundreds of followers would lead one within the other."""
        self._leads = True
        asyncio.get_running_loop().call_soon(self._promoted)

    def _promoted(self) -> None:
        if not self._forwarding.ended and self._in_flight:
            self._go()

    def go_alone(self) -> None:
        self._in_flight = False
        self._go()

    def _go(self) -> None:
        forwarding = self._forwarding
        forwarding.since = now = forwarding.now()  # late, but not by its own doing nor by a long queue
        forwarding.dispatch(now)

    def follow(self, answer: Answer) -> None:
        """Its leader's answer."""
        self._in_flight = False
        body = self._cache.answer(self._ask, answer.body)
        self._forwarding.answer_cached(answer.lines, body, 0.0, self._ask.revision)

    def answered(self, answer: Answer, outcome: Outcome) -> None:
        """A replica's answer, before `ended`."""
        if outcome is not Outcome.OK:
            return
        forwarding = self._forwarding
        if self._cache.store(
            self._ask, forwarding.revision, answer.status, answer.lines, answer.body, forwarding.now()
        ):
            self._answer = answer

    def ended(self, outcome: Outcome) -> None:
        if not self._in_flight:
            return
        self._in_flight = False
        key, flights, forwarding = self._ask.key, self._cache.flights, self._forwarding
        if not self._leads:
            flights.leave(key, forwarding)
            return
        if flights.alone(key):
            return
        answer = self._answer
        match landing(outcome, answer is not None):
            case Landing.SHARE:
                assert answer is not None
                for follower in flights.done(key):
                    follower.trip.follow(answer)
            case Landing.PROMOTE:
                leader = flights.promote(key)
                if leader is not None:
                    leader.trip.take_lead()
            case Landing.RELEASE:
                for follower in flights.done(key):
                    follower.trip.go_alone()
