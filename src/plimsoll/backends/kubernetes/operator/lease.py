"""Of several processes one acts: an election by a Lease of coordination.k8s.io.

    elected = Elected(api, "plimsoll-system", LEASE_CONTROLLER, identity="plimsoll-controller-x2x_3f9c")
    task = asyncio.create_task(elected.run())     # until cancelled
    elected.leading                               # ask before each act
    task.cancel(); await elected.release()        # the next one needn't wait

Clocks of several machines are never compared: a holder is taken for gone when its Lease has not *changed* for the
lease's duration on the observer's own clock, counted from when the observer saw it. A holder counts from before it
asked, and stops leading after `renew_by_s`, two thirds of that. So two lead at once only where one clock runs 1.5 times
as fast as the other, or where an act takes longer than the difference.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from plimsoll.backends.kubernetes.api import Api, ApiError, Unreachable, path_of
from plimsoll.backends.kubernetes.objects import Obj

LOG = logging.getLogger(__name__)

API = "coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """client-go's own figures: 15, 10 and 2 s."""

    duration_s: float = 15.0
    renew_by_s: float = 10.0
    every_s: float = 2.0


def lease_settings(duration_s: float) -> LeaseSettings:
    """In client-go's proportions."""
    return LeaseSettings(duration_s, duration_s * 2 / 3, duration_s * 2 / 15)


class Election:
    """Decides; asks nobody. `now`: seconds of a clock that never jumps; `wall`: what is written into the Lease for
    people to read, never compared."""

    def __init__(self, namespace: str, name: str, identity: str, settings: LeaseSettings | None = None) -> None:
        self.settings = settings or LeaseSettings()
        self.identity = identity
        self._meta = {"name": name, "namespace": namespace}
        self._lease: Obj | None = None
        self._changed_at = 0.0
        self._held_at: float | None = None  # when the request was sent by which we came to hold it last

    @property
    def holder(self) -> str:
        """As last seen; "" for nobody."""
        return str(self._spec.get("holderIdentity") or "")

    def leads(self, now: float) -> bool:
        return self._held_at is not None and now - self._held_at < self.settings.renew_by_s

    def observe(self, lease: Obj | None, now: float) -> None:
        """What the API server says it is; None: there is none."""
        if _mark(lease) != _mark(self._lease):
            self._changed_at = now
        self._lease = lease
        if self.holder != self.identity:
            self._held_at = None

    def wrote(self, lease: Obj, asked_at: float, now: float) -> None:
        """What the API server made of our write, and when it was sent."""
        self.observe(lease, now)
        if self.holder == self.identity:
            self._held_at = asked_at

    def claim(self, now: float, wall: datetime) -> Obj | None:
        """The Lease to write now (POST where it has no resourceVersion, else PUT); None: another holds it."""
        mine = self.holder == self.identity
        if self._lease is not None and not mine and self.holder and not self._expired(now):
            return None
        spec = dict(self._spec)
        stamp = _micro(wall)
        if not mine:
            spec["acquireTime"] = stamp
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (self._lease is not None)
        spec |= {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self.settings.duration_s)),
            "renewTime": stamp,
        }
        return self._with(spec)

    def release(self, now: float, wall: datetime) -> Obj | None:
        """The Lease to write so that the next one need not wait; None: it isn't ours."""
        held, self._held_at = self.leads(now), None
        if not held:
            return None
        return self._with(self._spec | {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro(wall)})

    @property
    def _spec(self) -> dict[str, Any]:
        return {} if self._lease is None else self._lease.get("spec") or {}

    def _expired(self, now: float) -> bool:
        return now - self._changed_at > float(self._spec.get("leaseDurationSeconds") or self.settings.duration_s)

    def _with(self, spec: dict[str, Any]) -> Obj:
        meta: dict[str, Any] = dict(self._meta)
        if self._lease is not None:
            meta["resourceVersion"] = self._lease["metadata"]["resourceVersion"]  # who was quicker makes this a 409
        return {"apiVersion": API, "kind": "Lease", "metadata": meta, "spec": spec}


class Elected:
    """Keeps an election going. `on_change(leading)` is called on the loop when it turns. `problem`: why the Lease can't
    be had, beside another's holding it."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        settings: LeaseSettings | None = None,
        on_change: Callable[[bool], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.election = Election(namespace, name, identity, settings)
        self.problem = ""
        self._api, self._clock, self._on_change = api, clock, on_change
        self._folder, self._path = (
            path_of(API, "leases", namespace),
            path_of(API, "leases", namespace, name),
        )
        self._told = False

    @property
    def leading(self) -> bool:
        """Reads the clock: a process that was stopped for a while knows at once that it leads no more."""
        return self.election.leads(self._clock())

    async def run(self) -> None:
        """Until cancelled. Doesn't release: who is cancelled may have acts under way (see `release`)."""
        settings = self.election.settings
        while True:
            self._tell()
            try:
                # No answer may keep us from noticing that time is up.
                async with asyncio.timeout(settings.every_s * 2):
                    await self._turn()
                self._trouble("")
            except (ApiError, Unreachable, TimeoutError) as error:
                self._trouble(_words(self._path, error))
            self._tell()
            await asyncio.sleep(settings.every_s * random.uniform(0.9, 1.1))

    async def release(self) -> None:
        """Gives it back if it is ours; a failure is only logged, since it ends by itself."""
        lease = self.election.release(self._clock(), datetime.now(UTC))
        self._tell()
        if lease is None:
            return
        try:
            async with asyncio.timeout(self.election.settings.every_s):
                await self._api.put(self._path, lease)
        except (ApiError, Unreachable, TimeoutError) as error:
            LOG.warning("the lease could not be given back: %s", error)

    async def _turn(self) -> None:
        if not self.leading:
            self.election.observe(await self._found(), self._clock())
        asked_at = self._clock()
        lease = self.election.claim(asked_at, datetime.now(UTC))
        if lease is None:
            return
        try:
            if "resourceVersion" in lease["metadata"]:
                written = await self._api.put(self._path, lease)
            else:
                written = await self._api.post(self._folder, lease)
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            # Somebody was quicker, or it was deleted; the next turn sees who leads.
            self.election.observe(await self._found(), self._clock())
            return
        # Where time was up meanwhile that is told first: whoever asked `leading` then has let go of its work.
        self._tell()
        self.election.wrote(written, asked_at, self._clock())

    async def _found(self) -> Obj | None:
        try:
            return await self._api.get(self._path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def _tell(self) -> None:
        leading = self.leading
        if leading == self._told:
            return
        self._told = leading
        who = self.election.identity if leading else self.election.holder or "nobody"
        LOG.info("%s now: %s", "leading" if leading else "not leading", who, extra={"lease": self._path})
        if self._on_change is not None:
            self._on_change(leading)

    def _trouble(self, text: str) -> None:
        if text and text != self.problem:
            LOG.warning("%s", text)
        self.problem = text


def _mark(lease: Obj | None) -> tuple[Any, ...] | None:
    """What changes whenever its holder writes it. The resourceVersion would too, but others may add a label."""
    if lease is None:
        return None
    spec = lease.get("spec") or {}
    return spec.get("holderIdentity"), spec.get("renewTime"), spec.get("acquireTime")


def _micro(wall: datetime) -> str:
    return wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _words(path: str, error: Exception) -> str:
    if isinstance(error, ApiError) and error.code == 403:
        return f"{path} may not be kept: {error}; grant get, create and update of leases to the ServiceAccount"
    return f"{path} can't be kept: {error or type(error).__name__}"
