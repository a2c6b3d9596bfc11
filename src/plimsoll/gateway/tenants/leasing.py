"""Keeps a gateway's leased quotas filled, beside the request path: admission never waits for the store.

A bucket that runs low wakes the loop; it asks for all that run low in one round trip, at most each 20 ms, and each half
second for all, which also finds out whether the store is there. While it is away each bucket keeps to its share.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from plimsoll.gateway.tenants.redis_leases import RedisLeases
from plimsoll.policy.admission import LeasedBucket, TenantQuota
from plimsoll.ports.rate_lease import Ask, LeasesLost, RateLeases

LOG = logging.getLogger(__name__)
_HEARTBEAT_S = 0.5  # with the timeout: a store that died is noticed within a second
_TIMEOUT_S = 0.3
_SPACING_S = 0.02


class Leasing:
    """`use` the quotas of a snapshot; `wake` is for their buckets. Runs from the first `use` until `close`."""

    def __init__(self, url: str, now: Callable[[], float], connect: Callable[[str], RateLeases] = RedisLeases) -> None:
        self.gateways = 1
        self.degraded: str | None = None
        self._url = url
        self._now = now
        self._connect = connect
        self._leases: RateLeases | None = None
        self._buckets: list[tuple[str, str, LeasedBucket]] = []
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def use(self, quotas: Mapping[str, TenantQuota]) -> None:
        self._buckets = [
            (name, kind, bucket)
            for name, quota in quotas.items()
            for kind, bucket in (("requests", quota.requests), ("tokens", quota.tokens))
            if isinstance(bucket, LeasedBucket)
        ]
        self._woken.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self, bucket: LeasedBucket) -> None:
        self._woken.set()

    def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while not self._closed:  # a client library may swallow a cancellation, too
                await self._round()
                await asyncio.sleep(_SPACING_S if self.degraded is None else _HEARTBEAT_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HEARTBEAT_S):  # wait_for swallows a cancellation, before Python 3.12
                        await self._woken.wait()
        finally:
            if self._leases is not None:
                with suppress(Exception):
                    await self._leases.close()

    async def _round(self) -> None:
        self._woken.clear()
        now = self._now()
        asking: list[tuple[LeasedBucket, Ask]] = []
        for name, kind, bucket in self._buckets:
            want = bucket.ask(now)
            if want or not bucket.leased:
                asking.append((bucket, Ask(name, kind, want, bucket.rate, bucket.store_burst)))
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                if self._leases is None:
                    self._leases = self._connect(self._url)
                granted = await self._leases.lease([ask for _, ask in asking])
        except (LeasesLost, TimeoutError) as error:
            self._lost(str(error) or "no answer in time")
            return
        except Exception as error:  # a bug of ours must not leave tenants without their rates
            LOG.exception("leasing rates failed")
            self._lost(type(error).__name__)
            return
        for (bucket, _), amount in zip(asking, granted, strict=True):
            bucket.granted(amount)
        if self.degraded is not None:
            self.degraded = None
            LOG.info("tenants' rates are leased from Redis again")

    def _lost(self, why: str) -> None:
        now = self._now()
        for _, _, bucket in self._buckets:
            bucket.lost(now)
        known = self.degraded
        self.degraded = (
            f"Redis can't be used for tenants' rates ({why}): each of {self.gateways} gateways takes 1/{self.gateways}"
        )
        if known is None:
            LOG.warning("%s", self.degraded)
