"""The host: watches fill the cache and the queue, workers look at one service each, one operator of several acts.

    operator = Operator(api, OperatorSettings(identity="plimsoll-operator-x2x"))
    await operator.run(stop)                       # until `stop` is set; gives the Lease back

All operators watch, so that the next one needs no list when it takes over; only the one that leads acts.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from plimsoll.backends.kubernetes.api import Api, ApiError, Unreachable
from plimsoll.backends.kubernetes.names import CONTROLLER, LEASE_OPERATOR, METRICS_PORT, SYSTEM_NAMESPACE
from plimsoll.backends.kubernetes.operator.cache import Cache, How
from plimsoll.backends.kubernetes.operator.certificates import CertificateSettings
from plimsoll.backends.kubernetes.operator.figures import PATH, FiguresPage, worth_a_look
from plimsoll.backends.kubernetes.operator.keeper import Keeper, World
from plimsoll.backends.kubernetes.operator.lease import Elected, LeaseSettings
from plimsoll.backends.kubernetes.operator.plain import PlainKinds
from plimsoll.backends.kubernetes.operator.queue import QueueSettings, WorkQueue
from plimsoll.backends.kubernetes.operator.renewing import Pair, Renewing
from plimsoll.backends.kubernetes.operator.replica_certificates import CertificateTimes, ReplicaCertificates
from plimsoll.backends.kubernetes.operator.rolling import RollSettings
from plimsoll.backends.kubernetes.operator.seen import ServiceKey
from plimsoll.backends.kubernetes.operator.status import StatusSettings
from plimsoll.backends.kubernetes.operator.telling import Recorder
from plimsoll.backends.kubernetes.operator.watches import Watches
from plimsoll.backends.kubernetes.operator.world import discovered, platform_of, served_kinds
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.spec import Platform

LOG = logging.getLogger(__name__)

_LOOK_AROUND_S = 0.5


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """`namespaces`: those whose services are kept; none: all. `controller`: the address of the controllers' pages, ""
    for the Service's own. `together_s`: events of one service that come within it are one look."""

    identity: str = "plimsoll-operator"
    namespace: str = SYSTEM_NAMESPACE
    namespaces: tuple[str, ...] = ()
    controller: str = ""
    options: ClusterOptions = field(default_factory=ClusterOptions)
    certificate_names: tuple[str, ...] = ()
    together_s: float = 0.05
    discover_every_s: float = 60.0
    figures_every_s: float = 10.0
    certificates_every_s: float = 30.0
    finish_s: float = 5.0
    queue: QueueSettings = field(default_factory=QueueSettings)
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    rolling: RollSettings = field(default_factory=RollSettings)
    status: StatusSettings = field(default_factory=StatusSettings)
    certificates: CertificateSettings = field(default_factory=CertificateSettings)
    replica_certificates: CertificateTimes = field(default_factory=CertificateTimes)


@dataclass(slots=True)
class Counts:
    """For the metrics. `applied_s`: from a changed spec to its objects, each as it is measured."""

    looks: int = 0
    failures: int = 0
    look_s: Callable[[float], None] = lambda _: None
    applied_s: Callable[[float], None] = lambda _: None


class Operator:
    def __init__(
        self,
        api: Api,
        settings: OperatorSettings | None = None,
        *,
        on_pair: Callable[[Pair], None] | None = None,
    ) -> None:
        self.settings = settings = settings or OperatorSettings()
        self.counts = Counts()
        self.queue: WorkQueue[ServiceKey] = WorkQueue(settings.queue)
        self.world = World(settings.options)
        self.cache = Cache(self._changed, self._drifted)
        self.recorder = Recorder(api, time.time)
        self.elected = Elected(
            api,
            settings.namespace,
            LEASE_OPERATOR,
            settings.identity,
            settings=settings.lease,
            on_change=self._turned,
        )
        self.certificates = ReplicaCertificates(
            api,
            settings.namespace,
            services=self.cache.services.values,
            settled=self._settled,
            times=settings.replica_certificates,
        )
        self.keeper = Keeper(
            api,
            self.cache,
            self.world,
            tell=self.recorder.tell,
            may_act=lambda: self.elected.leading,
            prepare=self.certificates.prepare,
            rolling=settings.rolling,
            status=settings.status,
        )
        self.plain = PlainKinds(self.keeper.applier)
        self.watches = Watches(api, self.cache, settings.namespaces, on_platform=self._platform, on_tenant=self._tenant)
        self.cache.nodes = self.watches.nodes.objects
        self.renewing = Renewing(
            api,
            settings.namespace,
            more_names=settings.certificate_names,
            settings=settings.certificates,
            on_pair=on_pair,
        )
        page = settings.controller or f"http://{CONTROLLER}.{settings.namespace}.svc:{METRICS_PORT}{PATH}"
        self.figures = FiguresPage(page)
        self._api = api
        self._wake = asyncio.Event()
        self._working: dict[ServiceKey, asyncio.Task[None]] = {}
        self._since: dict[ServiceKey, float] = {}
        self._discovered = False
        self._leads = asyncio.Event()
        self._written: Platform | None = None  # as it stands; the world's may be held back
        self._certify_now = asyncio.Event()
        self._away = False

    @property
    def ready(self) -> bool:
        """Whether it sees the cluster; the one that waits for the Lease is ready, too."""
        return self._discovered and (self.watches.synced or self.world.blind is not None)

    @property
    def _may_look(self) -> bool:
        known = self.world.blind is not None or self.certificates.knows(self._written)
        return self.elected.leading and self.ready and known

    async def run(self, stop: asyncio.Event) -> None:
        """Raises only what is a fault of ours: whatever the API server does is waited out."""
        endless: list[Coroutine[Any, Any, None]] = [
            self.watches.run(),
            self.elected.run(),
            self.recorder.run(),
            self._each(self.settings.discover_every_s, self._discover),
            self._each(self.settings.figures_every_s, self._ask_figures),
            self._each(self.settings.certificates_every_s, self._renew, self._leads),
            self._each(self.settings.certificates_every_s, self._certify, self._certify_now),
            self._each(_LOOK_AROUND_S, self._look_around),
            self._dispatch(),
        ]
        tasks = [asyncio.create_task(one) for one in endless]
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        dispatcher = tasks[-1]
        dispatcher.cancel()
        if self._working:  # half a look costs the next operator a little; a whole one nothing
            await asyncio.wait(list(self._working.values()), timeout=self.settings.finish_s)
        for task in (*tasks, stopped, *self._working.values()):
            task.cancel()
        await asyncio.gather(*tasks, stopped, *self._working.values(), return_exceptions=True)
        await self.elected.release()
        await self.figures.close()
        for one in done:
            if one is not stopped and not one.cancelled() and one.exception() is not None:
                raise one.exception() or AssertionError

    # --- work ---------------------------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        while True:
            now = time.monotonic()
            may_look = self._may_look
            if may_look:
                while (key := self.queue.take(now)) is not None:
                    self._working[key] = asyncio.create_task(self._work(key))
            self._wake.clear()
            # What keeps a leader from looking (a new kind's objects are listed first) ends without a word.
            wait_s = self.queue.wait_s(now) if may_look else _LOOK_AROUND_S if self.elected.leading else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _work(self, key: ServiceKey) -> None:
        began, failed, again_s, since = time.monotonic(), True, None, self._since.pop(key, None)
        try:
            failed, again_s = await self.keeper.look(key, time.time())
        except Unreachable as error:
            LOG.info("%s is looked at again later: %s", key, error)
        except Exception:  # one service that can't be handled must not end the others'
            LOG.exception("%s could not be looked at; it is tried again", key)
        finally:
            now = time.monotonic()
            self.counts.looks += 1
            self.counts.failures += failed
            self.counts.look_s(now - began)
            if since is not None:
                if failed:
                    self._since.setdefault(key, since)
                else:
                    self.counts.applied_s(now - since)
            self._working.pop(key, None)
            self.queue.done(key, now, failed=failed, again_s=again_s)
            if key not in self.cache.services:
                self.queue.forget(key)
            self._wake.set()

    def _changed(self, key: ServiceKey, how: How) -> None:
        if not self.elected.leading:
            return  # who takes over looks at all
        now = time.monotonic()
        if how is How.SPEC:
            self._since.setdefault(key, now)
        self.queue.add(key, now, after_s=self.settings.together_s if how is How.STATE else 0.0)
        self._wake.set()

    def _drifted(self, *of: Any) -> bool:
        return self.keeper.drifted(*of)

    def _settled(self, key: ServiceKey) -> bool:
        return self.keeper.settled(key)

    def _all(self) -> None:
        now = time.monotonic()
        for key in self.cache.keys():  # noqa: SIM118 - of services and orphans, no mapping
            self.queue.add(key, now)
        self._wake.set()

    def _turned(self, leading: bool) -> None:
        self.queue.clear()
        self._since.clear()
        if leading:
            self.keeper.forget_all()
            self.certificates.forget()
            self._certify_now.set()
            self._leads.set()
            self._all()
            return
        for task in self._working.values():
            task.cancel()

    # --- what changes around services ---------------------------------------------------------------------------------

    async def _discover(self) -> None:
        found = await discovered(self._api, self.world.options)
        self.watches.served(found.apis)
        self._discovered = True
        if found != self.world.options:
            self.world.options = found
            self.world.serial += 1
            self._all()
        if (unserved := self.keeper.unserved()) and (come := await served_kinds(self._api, unserved)):
            now = time.monotonic()
            for key in self.keeper.served(come):
                self.queue.add(key, now)
            self._wake.set()

    def _platform(self) -> None:
        platform, name, problem = platform_of(self.watches.platform_objects())
        self.plain.platform(name, problem)
        if problem:
            LOG.warning("Platform %s: %s; the one before holds", name, problem)
            return
        self._written = platform
        self._adopt()

    def _adopt(self) -> None:
        """What is rendered from now on: with TLS behind the gateway only once gateways are ready for it."""
        if self.elected.leading:
            if not self.certificates.knows(self._written):
                self._certify_now.set()
                return
            platform = self.certificates.allowed(self._written)
        else:
            platform = self._written
        if platform != self.world.platform:
            self.world.platform = platform
            self.world.serial += 1
            self._all()

    async def _certify(self) -> None:
        """For gateways and replicas; the services must be seen first."""
        if not self.elected.leading or not self.ready or self.world.blind is not None:
            return
        try:
            await self.certificates.turn(time.time(), self._written)
        finally:
            self._adopt()
            self._wake.set()

    def _tenant(self) -> None:
        self.plain.wake()

    async def _look_around(self) -> None:
        """Whether we may see what we need, and are answered; and what a Platform or a Tenant is told."""
        away, self._away = self._away, self.watches.away
        if away and not self._away:
            self.queue.forgive(time.monotonic())
            self._wake.set()
        blind = self.watches.blind()
        if blind != self.world.blind:
            self.world.blind = blind
            self._all()
        certificates = self.certificates
        if self.elected.leading and (not certificates.knows(self._written) or certificates.overdue(time.time())):
            self._certify_now.set()
        if self.elected.leading:
            await self.plain.turn(self.watches.platforms.objects, self.watches.tenants.objects, time.time())

    async def _ask_figures(self) -> None:
        if not self.elected.leading:
            return
        found = await self.figures.ask()
        if found is None:
            return
        now = time.monotonic()
        for key in self.cache.services:
            before, after = self.cache.figures.get(key), found.get(key)
            if worth_a_look(before, after):
                self.queue.add(key, now)
            if after is None:
                self.cache.figures.pop(key, None)
            else:
                self.cache.figures[key] = after
        self._wake.set()

    async def _renew(self) -> None:
        await self.renewing.turn(time.time(), leading=self.elected.leading)

    async def _each(
        self, every_s: float, turn: Callable[[], Coroutine[Any, Any, None]], sooner: asyncio.Event | None = None
    ) -> None:
        """What fails is said once until it succeeds again; the first turn is at once, and soon again while it fails or
        where `sooner` is set."""
        sooner = sooner or asyncio.Event()
        said = ""
        while True:
            wait_s = every_s
            try:
                await turn()
                said = ""
            except (ApiError, Unreachable) as error:
                wait_s = min(every_s, 2.0)
                if str(error) != said:
                    LOG.warning("%s: %s", turn.__name__.strip("_").replace("_", " "), error)
                said = str(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await sooner.wait()
            sooner.clear()
