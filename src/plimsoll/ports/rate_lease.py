"""Where several gateways share tenants' rates: each leases a little ahead of what it admits.

All asks of one round go together, because a round trip costs more than what it carries.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Ask(NamedTuple):
    """`want` more of one tenant's `kind` of quota ("requests", "tokens"); negative: so much is given back.

    `rate` a second and `burst` are the whole quota's, as the store should keep it.
    """

    tenant: str
    kind: str
    want: float
    rate: float
    burst: float


class RateLeases(Protocol):
    async def lease(self, asks: Sequence[Ask]) -> list[float]:
        """What is granted, in the order of `asks`: from 0 to `want`; 0 for what is given back. All gateways together
        are never granted more than `rate * t + burst` over any time t. Raises LeasesLost where the store is away."""
        ...

    async def close(self) -> None: ...


class LeasesLost(Exception):  # the caller keeps to its share meanwhile
    """`str()` says why, without the store's password."""
