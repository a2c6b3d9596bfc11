"""Who is asking: a gateway's tenants, by API key, token or client certificate.

    directory = Directory()
    directory.take(snapshot)                    # each new snapshot; quotas of tenants that stay keep what was spent
    tenant = directory.identify(headers, subjects, wall_clock)   # None: nobody said who they are
    directory.permit(tenant, service_view)      # 401 for nobody where somebody is wanted, 403 for the wrong one

The first of these counts: `authorization: Bearer KEY-OR-TOKEN`, `x-api-key: KEY`, the certificate's subject. What is
sent and wrong is refused, also where nobody need say who they are: a client with an old key should hear of it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from time import monotonic

from plimsoll.core.api_keys import PREFIX
from plimsoll.core.errors import Unauthorized
from plimsoll.core.snapshot import JwtView, LimitsView, ServiceView, Snapshot, TenantView
from plimsoll.core.subjects import canonical_subject
from plimsoll.gateway.tenants.fetch import Fetcher
from plimsoll.gateway.tenants.jwks import Fetch, KeySet
from plimsoll.gateway.tenants.keys import ApiKeys
from plimsoll.gateway.tenants.leasing import Leasing
from plimsoll.gateway.tenants.tenant import Tenant
from plimsoll.gateway.tenants.tokens import Tokens
from plimsoll.policy.admission import TenantQuota

LOG = logging.getLogger(__name__)
_KEY = PREFIX.encode()
_canonical = lru_cache(maxsize=4096)(canonical_subject)  # a connection says the same subjects with each request


class Directory:
    """Made within a running loop. `identify` never waits; what has to be fetched is fetched beside it."""

    def __init__(self, fetch: Fetch | None = None, now: Callable[[], float] = monotonic) -> None:
        self._fetch = fetch or Fetcher()
        self._now = now
        self._views: dict[str, TenantView] = {}
        self._tenants: dict[str, Tenant] = {}
        self._keys = ApiKeys(())
        self._subjects: dict[str, str] = {}
        self._key_sets: dict[str, KeySet] = {}
        self._tokens: Tokens | None = None
        self._limits = LimitsView()
        self._leasing: Leasing | None = None
        self._problems: list[str] = []

    @property
    def empty(self) -> bool:
        """There are no tenants at all."""
        return not self._tenants

    def take(self, snapshot: Snapshot) -> set[str]:
        """The snapshot's tenants, from now on. Requests under way keep the tenant they came with. Names of those that
        are gone."""
        before = self._tenants.keys()
        self._lease(snapshot.limits)
        services = {service.name: service for service in snapshot.services}
        share = 1 / max(1, snapshot.limits.gateways)
        wake = None if self._leasing is None else self._leasing.wake
        tenants: dict[str, Tenant] = {}
        for view in snapshot.tenants:
            limits = (view.requests_per_s, view.concurrent_requests, view.tokens_per_minute, share, wake)
            known = self._tenants.get(view.name)
            if known is None:
                quota = TenantQuota(*limits)
            else:
                quota = known.quota
                quota.update(*limits)
            tenants[view.name] = Tenant(view, services, quota)
        self._tenants = tenants
        if self._leasing is not None:
            self._leasing.use({name: tenant.quota for name, tenant in tenants.items()})
        views = {view.name: view for view in snapshot.tenants}
        if views != self._views or self._tokens is None:
            self._learn(views)
            self._views = views
        return before - tenants.keys()

    def identify(
        self, headers: Iterable[tuple[bytes, bytes]], peer_subjects: Sequence[str], now_wall: float
    ) -> Tenant | None:
        """`headers`: names in lower case. `now_wall`: seconds since 1970. None: the request carries no credentials, or
        there are no tenants. Raises Unauthorized (401), whose reason never holds what was sent, and KeysPending."""
        if not self._tenants:
            return None
        authorization = api_key = None
        for name, value in headers:
            if name == b"authorization":
                if authorization is not None and authorization != value:
                    raise Unauthorized("more than one authorization header")
                authorization = value
            elif name == b"x-api-key":
                if api_key is not None and api_key != value:
                    raise Unauthorized("more than one x-api-key header")
                api_key = value
        return self.who(authorization, api_key, peer_subjects, now_wall)

    def who(
        self, authorization: bytes | None, api_key: bytes | None, peer_subjects: Sequence[str], now_wall: float
    ) -> Tenant | None:
        """`identify` for a caller that has looked at the headers already."""
        if not self._tenants:
            return None
        if authorization is not None:
            if authorization[:7].lower() != b"bearer ":
                raise Unauthorized("only Bearer authorization is understood: an API key or a token")
            credential = authorization[7:].strip()
            if credential[:4] == _KEY or credential.count(b".") != 2 or self._tokens is None:
                return self._by_key(credential)
            return self._tenants[self._tokens.find(credential, now_wall)]
        if api_key is not None:
            return self._by_key(api_key)
        for subject in peer_subjects:
            name = self._subjects.get(_canonical(subject))
            if name is not None:
                return self._tenants[name]
        return None

    def permit(self, tenant: Tenant | None, service: ServiceView) -> None:
        """Raises Unauthorized: 401 where an unnamed client needs a name, 403 where this tenant may not call it."""
        anonymous = service.anonymous
        if tenant is None:
            if not (anonymous if anonymous is not None else not self._tenants):
                raise Unauthorized(f"{service.name} wants an API key or a token")
        elif not (anonymous or tenant.allows(service.name)):
            raise Unauthorized(f"tenant {tenant.name} may not call {service.name}", status=403)

    def get(self, name: str) -> Tenant | None:
        return self._tenants.get(name)

    def problems(self) -> list[str]:
        """What is wrong now, in sentences for `status`."""
        found = list(self._problems)
        found += [keys.problem for keys in self._key_sets.values() if keys.problem is not None]
        if self._leasing is not None and self._leasing.degraded is not None:
            found.append(self._leasing.degraded)
        return found

    def close(self) -> None:
        """Ends what runs beside it."""
        for keys in self._key_sets.values():
            keys.close()
        self._key_sets.clear()
        if self._leasing is not None:
            self._leasing.close()
            self._leasing = None

    def _by_key(self, key: bytes) -> Tenant:
        name = self._keys.find(key)
        if name is None:
            raise Unauthorized("the API key is not known")
        return self._tenants[name]

    def _lease(self, limits: LimitsView) -> None:
        if limits.url != self._limits.url:
            if self._leasing is not None:
                self._leasing.close()
                self._leasing = None
            if limits.url:
                self._leasing = Leasing(limits.url, self._now)
        if self._leasing is not None:
            self._leasing.gateways = limits.gateways
        self._limits = limits

    def _learn(self, views: dict[str, TenantView]) -> None:
        """Indexes of who may say what to prove who they are."""
        self._keys = ApiKeys(views.values())
        self._problems = list(self._keys.problems)
        self._subjects = {}
        for view in views.values():
            for subject in view.subjects:
                known = self._subjects.setdefault(_canonical(subject), view.name)
                if known != view.name:
                    self._problems.append(f"tenant {view.name}: the certificate subject {subject} is {known}'s")
        signed: dict[str, JwtView | None] = {name: view.jwt for name, view in views.items() if view.jwt is not None}
        if signed and not _can_verify():
            self._problems.append("tokens are refused: install plimsoll-serve[jwt]")
            signed = {}
        before = {name: view.jwt for name, view in self._views.items() if view.jwt is not None}
        if self._tokens is None or signed != before:
            old, self._key_sets = self._key_sets, {}
            self._tokens = Tokens(
                (view for name, view in views.items() if name in signed), lambda uri: self._key_set(uri, old)
            )
            for keys in old.values():
                keys.close()
        for problem in self._problems:
            LOG.warning("%s", problem)

    def _key_set(self, uri: str, old: dict[str, KeySet]) -> KeySet:
        keys = self._key_sets.get(uri)
        if keys is None:
            keys = old.pop(uri) if uri in old else KeySet(uri, self._fetch, self._now)
            self._key_sets[uri] = keys
            keys.start()
        return keys


def _can_verify() -> bool:
    try:
        import cryptography  # noqa: F401
        import jwt  # noqa: F401
    except ImportError:
        return False
    return True
