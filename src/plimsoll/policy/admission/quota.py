"""A tenant's quota: requests a second, requests at once, and tokens a minute that are paid for after the answer.

Rates are token buckets. A bucket holds one second of requests (at least one) or one minute of tokens, so a tenant that
was silent may send that much at once. Where several gateways keep one quota, each either takes its share of it
(`TokenBucket` at a fraction of the rate), or spends what it has leased ahead from a common store (`LeasedBucket`).
Either way `admit` decides at once, from what it has here.

`now` is the host's monotonic clock, in seconds. A clock that is set back neither locks a tenant out nor floods: steps
back of less than a second earn nothing until they are made good, after a longer one time begins anew from there.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

REQUESTS_BURST_S = 1.0
TOKENS_BURST_S = 60.0

# Of a leased quota. An eighth of the burst lies at the gateways while they are idle: enough to admit the first requests
# of a burst until the next lease comes, a millisecond later, and little enough that a gateway which gets all the
# traffic has 97% of the quota in its first two seconds, all of it after.
_STOCKED = 1 / 8
_AHEAD_S = 0.1  # a lease is for so much of the present use: several round trips, a tenth of a second's quota at most
_STEP_BACK_S = 1.0
_ONE = 1 - 1e-6  # sums of floats: who sends exactly at the rate is let in


class Refuse(NamedTuple):
    """`reason` names the quota; `retry_after_s` is when it could let one more in, None where nobody can know."""

    reason: str
    retry_after_s: float | None


class TokenBucket:
    """`rate` a second, up to `burst`. Begins full. `balance` may be negative: what was charged after the fact."""

    __slots__ = ("_at", "balance", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.balance = burst
        self._at: float | None = None

    def fill(self, now: float) -> float:
        """The balance at `now`."""
        at = self._at
        if at is None:
            self._at = now
        elif now > at:
            self._at = now
            balance = self.balance + (now - at) * self.rate
            self.balance = balance if balance < self.burst else self.burst
        elif now < at - _STEP_BACK_S:
            self._at = now
        return self.balance

    def take(self, now: float) -> bool:
        """One request. False where there is not one left."""
        if self.fill(now) < _ONE:
            return False
        self.balance -= 1.0
        return True

    def charge(self, amount: float) -> None:
        self.balance -= amount

    def wait_s(self, level: float) -> float | None:
        """Until the balance is `level`, from the last `fill` on; None: never."""
        return max(0.0, (level - self.balance) / self.rate) if self.rate > 0 else None

    def update(self, rate: float, burst: float) -> None:
        """Another quota; the balance stays, as far as the new burst holds it."""
        self.rate, self.burst = rate, burst
        self.balance = min(self.balance, burst)


class LeasedBucket(TokenBucket):
    """Spends what the host has leased for it; `rate` and `burst` are of the whole quota, `share` is this gateway's.

    The host calls `ask`, carries it to the store and answers with `granted`, or with `lost` where the store is away:
    then the bucket fills by itself at its share. `wake(self)` is called, once until the next `ask`, when
    little is left.
    """

    __slots__ = (
        "_asked_at",
        "_demand",
        "_gift",
        "_local_burst",
        "_low",
        "_stock",
        "_used",
        "_wake",
        "_woke",
        "leased",
        "share",
    )

    def __init__(self, rate: float, burst: float, share: float, wake: "Callable[[LeasedBucket], None]") -> None:
        super().__init__(rate, burst)
        self.share = share
        self._wake = wake
        self._woke = False
        self.leased = False
        self._used = 0.0
        self._asked_at: float | None = None
        self._demand = 0.0  # a second, with what was refused
        self._size()
        # One request may come before the first lease does. It is paid for by that lease.
        self.balance = 1.0 if burst > 0 else 0.0
        self._gift = self.balance

    def _size(self) -> None:
        self._local_burst = max(min(1.0, self.burst), self.burst * self.share)
        self._stock = max(min(1.0, self.burst), self.burst * self.share * _STOCKED)
        self._low = self._stock / 2

    @property
    def store_burst(self) -> float:
        """What the store may hold: the burst without what lies at the gateways, so that the sum is the burst. Never
        under one request: a quota smaller than one request a gateway can't be split further."""
        return max(min(1.0, self.burst), self.burst - self._stock / self.share)

    def fill(self, now: float) -> float:
        if self.leased:
            return self.balance
        rate, burst = self.rate, self.burst
        self.rate, self.burst = rate * self.share, self._local_burst
        try:
            return super().fill(now)
        finally:
            self.rate, self.burst = rate, burst

    def take(self, now: float) -> bool:
        self._used += 1.0
        balance = self.balance if self.leased else self.fill(now)
        if balance < self._low + 1.0 and not self._woke:
            self._woke = True
            self._wake(self)
        if balance < _ONE:
            return False
        self.balance = balance - 1.0
        return True

    def charge(self, amount: float) -> None:
        self._used += amount
        self.balance -= amount
        if self.balance < self._low and not self._woke:
            self._woke = True
            self._wake(self)

    def wait_s(self, level: float) -> float | None:
        rate = self.rate if self.leased else self.rate * self.share
        return max(0.0, (level - self.balance) / rate) if rate > 0 else None

    def update(self, rate: float, burst: float) -> None:
        super().update(rate, burst)
        self._size()

    def lease_from(self, share: float, wake: "Callable[[LeasedBucket], None]") -> None:
        """Another share, or another store's host, which asks from now on."""
        self.share, self._wake, self._woke = share, wake, False

    def ask(self, now: float) -> float:
        """How much to lease now; negative: so much is given back, and already taken out here; 0: nothing."""
        elapsed = 1.0 if self._asked_at is None else max(now - self._asked_at, 1e-3)
        lately = self._used / elapsed
        self._demand = max(lately, (lately + self._demand) / 2) if lately else 0.0
        self._asked_at, self._used, self._woke = now, 0.0, False
        target = max(self._stock, min(self._demand * _AHEAD_S, self.burst))
        self._low = target / 2
        if not self.leased:
            return max(0.0, target - self.balance + self._gift)
        if self.balance <= self._low:
            return target - self.balance
        if not lately and self.balance > self._stock:
            back = self._stock - self.balance
            self.balance = self._stock
            return back
        return 0.0

    def granted(self, amount: float) -> None:
        """The store's answer to `ask`, 0 or more."""
        self.leased = True
        self.balance += amount - self._gift
        self._gift = 0.0

    def lost(self, now: float) -> None:
        """The store is away: from now on this gateway's share."""
        self._woke = False
        if self.leased:
            self.leased = False
            self.balance = min(self.balance, self._local_burst)
            self._at = now


Wake = Callable[[LeasedBucket], None]


class TenantQuota:
    """One tenant's at one gateway. `admit` each request; `ended` each that was admitted, once.

    Quotas are the tenant's whole; None: no such quota. `share`: this gateway's part of them, 1/N of N gateways. Rates
    keep to it, or with `wake` are leased. Requests at once are always shared, rounded up, so that each gateway lets at
    least one in.
    """

    __slots__ = ("_limit", "_reasons", "in_flight", "requests", "tokens")

    def __init__(
        self,
        requests_per_s: float | None = None,
        concurrent: int | None = None,
        tokens_per_minute: float | None = None,
        share: float = 1.0,
        wake: Wake | None = None,
    ) -> None:
        self.in_flight = 0
        self.requests: TokenBucket | None = None
        self.tokens: TokenBucket | None = None
        self.update(requests_per_s, concurrent, tokens_per_minute, share, wake)

    def update(
        self,
        requests_per_s: float | None = None,
        concurrent: int | None = None,
        tokens_per_minute: float | None = None,
        share: float = 1.0,
        wake: Wake | None = None,
    ) -> None:
        """Another quota, from now on. What was spent stays spent."""
        self._limit = None if concurrent is None else math.ceil(concurrent * share)
        self.requests = _bucket(self.requests, requests_per_s, REQUESTS_BURST_S, share, wake)
        per_s = None if tokens_per_minute is None else tokens_per_minute / 60
        self.tokens = _bucket(self.tokens, per_s, TOKENS_BURST_S, share, wake)
        self._reasons = (
            f"over the quota of {concurrent} requests at once",
            f"over the quota of {tokens_per_minute or 0:g} tokens a minute",
            f"over the quota of {requests_per_s or 0:g} requests a second",
        )

    def admit(self, now: float) -> Refuse | None:
        """None: it may come in. What is refused costs nothing of any quota."""
        if self._limit is not None and self.in_flight >= self._limit:
            return Refuse(self._reasons[0], None)
        tokens = self.tokens
        if tokens is not None and tokens.fill(now) <= 0.0:
            return Refuse(self._reasons[1], tokens.wait_s(0.0))
        requests = self.requests
        if requests is not None and not requests.take(now):
            return Refuse(self._reasons[2], requests.wait_s(1.0))
        self.in_flight += 1
        return None

    def ended(self, now: float, tokens: float = 0.0) -> None:
        """A request that was admitted has ended, having used so many tokens."""
        if self.in_flight > 0:
            self.in_flight -= 1
        if tokens > 0 and self.tokens is not None:
            self.tokens.fill(now)
            self.tokens.charge(tokens)


def _bucket(
    known: TokenBucket | None, rate: float | None, burst_s: float, share: float, wake: Wake | None
) -> TokenBucket | None:
    if rate is None:
        return None
    burst = max(1.0, rate * burst_s) if rate > 0 else 0.0
    if wake is None:
        rate, burst = rate * share, max(1.0, burst * share) if rate > 0 else 0.0
        if known is None or isinstance(known, LeasedBucket):
            made = TokenBucket(rate, burst)
            if known is not None:
                made.balance = min(known.balance, burst)
            return made
        known.update(rate, burst)
        return known
    if isinstance(known, LeasedBucket):
        known.lease_from(share, wake)
        known.update(rate, burst)
        return known
    leased = LeasedBucket(rate, burst, share, wake)
    if known is not None:  # a debt is carried on; what was earned as a share is the store's to give now
        leased.balance = min(leased.balance, known.balance)
    return leased
