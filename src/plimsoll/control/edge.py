"""What gateways are told beside the services: tenants, how their rates are shared, and the secrets behind all that.

Secrets are read anew at each turn, so a rotated key needs no restart. One that can't be read any more keeps its last
good value, and the timeline says so; at `apply` it is refused at its line. Values go into views alone.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from plimsoll.control.timeline import Kind, Level, Timeline
from plimsoll.core.errors import SpecError, SpecErrors
from plimsoll.core.snapshot import LimitsView, TenantView
from plimsoll.spec import Documents, ModelService, Platform, SecretRef, Tenant, Whole, limits_view, tenant_view

SecretReader = Callable[[Path, str, str], str]
"""From the folder of the file that refers to it, the secret's name and its key to its value. Raises LookupError."""

CACHE_REF = "spec.cache.backend.secretRef"
LIMITS_REF = "spec.gateway.rateLimits.backend.secretRef"
_SCHEMES = {"Redis": ("redis", "rediss"), "Memcached": ("memcached",)}

_Made = TypeVar("_Made")


def no_secrets(directory: Path, name: str, key: str) -> str:
    raise LookupError("there are no secrets here")


class Edge:
    """`tenants` by name. Reading a secret costs a stat; used from the controller's loop."""

    def __init__(self, secrets: SecretReader, timeline: Timeline, *, gateways: int) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.platform: Platform | None = None
        self._secrets, self._timeline, self._gateways = secrets, timeline, gateways
        self._good: dict[tuple[str, str], object] = {}  # the last views by kind and name, for secrets that fail
        self._tenant_views: dict[str, tuple[Tenant, dict[SecretRef, str], TenantView]] = {}  # and what they come from

    def check(self, documents: Documents) -> None:
        """Raises SpecErrors where a secret is missing or holds something else, or a key is two tenants'."""
        problems: list[SpecError] = []
        steps: list[Callable[[], object]] = [
            *(partial(self._cache_url, one) for one in documents.services),
            *(partial(self._tenant, one) for one in documents.tenants),
            *(partial(self._limits, one) for one in documents.platforms),
        ]
        for step in steps:
            try:
                step()
            except SpecErrors as errors:
                problems += errors.errors
        problems += self._shared_keys(documents.tenants) if not problems else []
        if problems:
            raise SpecErrors(problems)

    def take(self, documents: Documents) -> list[tuple[Whole, str]]:
        """Makes them the wanted ones; each with `created`, `updated` or `unchanged`."""
        taken: list[tuple[Whole, str]] = []
        for tenant in documents.tenants:
            taken.append((tenant, _change(self.tenants.get(tenant.name), tenant)))
            self.tenants[tenant.name] = tenant
        for platform in documents.platforms:
            taken.append((platform, _change(self.platform, platform)))
            self.platform = platform
        return taken

    def forget(self, kind: str, name: str) -> None:
        """Keeps nothing of what was deleted, its secrets least of all."""
        self._good.pop((kind, name), None)
        if kind == "Tenant":
            self.tenants.pop(name, None)
            self._tenant_views.pop(name, None)

    def tenant_views(self) -> tuple[TenantView, ...]:
        views = [self._kept("Tenant", name, partial(self._tenant, one)) for name, one in sorted(self.tenants.items())]
        return tuple(view for view in views if view is not None)

    def limits(self) -> LimitsView:
        kept = self._kept("Platform", "", partial(self._limits, self.platform))
        return kept if kept is not None else LimitsView(self._gateways)

    def cache_url(self, service: ModelService) -> str:
        return self._kept("ModelService", service.name, partial(self._cache_url, service)) or ""

    def _kept(self, kind: str, name: str, make: Callable[[], _Made]) -> _Made | None:
        """What `make` gives, else what it gave last; None where it never did."""
        try:
            made = make()
        except SpecErrors as errors:
            for problem in errors.errors:
                message = f"{problem}; gateways go on with what it was"
                self._timeline.record_once(
                    name if kind == "ModelService" else "", Kind.REFUSED, message, level=Level.WARNING
                )
            return self._good.get((kind, name))  # type: ignore[return-value]  # what `make` of this key gave
        self._good[kind, name] = made
        return made

    # Each raises SpecErrors at the line of the reference that can't be used.

    def _tenant(self, tenant: Tenant) -> TenantView:
        problems: list[SpecError] = []
        values: dict[SecretRef, str] = {}
        for index, key in enumerate(tenant.spec.auth.api_keys):
            ref = key.hash_secret_ref
            try:
                values[ref] = self._read(tenant, f"spec.auth.apiKeys[{index}].hashSecretRef", ref)
            except SpecErrors as errors:
                problems += errors.errors
        if problems:
            raise SpecErrors(problems)
        last = self._tenant_views.get(tenant.name)
        if last is None or last[0] is not tenant or last[1] != values:
            last = self._tenant_views[tenant.name] = (tenant, values, tenant_view(tenant, secrets=values.__getitem__))
        return last[2]

    def _limits(self, platform: Platform | None) -> LimitsView:
        return limits_view(
            platform,
            gateways=self._gateways,
            secrets=lambda ref: self._url(platform, LIMITS_REF, ref, "Redis") if platform is not None else "",
        )

    def _cache_url(self, service: ModelService) -> str:
        ref, cache = service.cache_secret_ref, service.spec.cache
        return "" if ref is None or cache is None else self._url(service, CACHE_REF, ref, cache.backend.type)

    def _url(self, whole: Whole, key: str, ref: SecretRef, kind: str) -> str:
        url = self._read(whole, key, ref)
        if url.partition("://")[0] not in _SCHEMES[kind] or len(url.split()) != 1 or not url.partition("://")[2]:
            expected = " or ".join(f"{scheme}://…" for scheme in _SCHEMES[kind])
            raise SpecErrors([whole.problem(key, f"secret {ref.name}, key {ref.key}, is no {kind} URL: {expected}")])
        return url

    def _read(self, whole: Whole, key: str, ref: SecretRef) -> str:
        try:
            return self._secrets(self._where(whole, ref), ref.name, ref.key).strip()
        except LookupError as error:
            raise SpecErrors([whole.problem(key, str(error.args[0]))]) from None

    def _where(self, whole: Whole, ref: SecretRef) -> Path:
        """Where the secret is to be looked for: beside the file that refers to it."""
        return whole.directory

    def _shared_keys(self, tenants: Iterable[Tenant]) -> Iterator[SpecError]:
        """One API key can't stand for two tenants: only its hash can tell."""
        wanted = self.tenants | {tenant.name: tenant for tenant in tenants}
        owners: dict[str, str] = {}
        for name, tenant in sorted(wanted.items()):
            try:
                digests = self._tenant(tenant).key_digests.values()
            except SpecErrors:
                continue  # one that was taken long ago: told at each turn
            for digest in digests:
                owner = owners.setdefault(digest, name)
                if owner != name:
                    message = (
                        f"one of its keys is a key of tenant {owner} too; make another: plimsoll tenant key {name}"
                    )
                    yield tenant.problem("spec.auth.apiKeys", message)


def _change(before: Whole | None, after: Whole) -> str:
    return "created" if before is None else "unchanged" if before == after else "updated"
