"""From what users write to what gateways are told (`core.snapshot`). Secrets come through a function: no I/O here."""

import re
from collections.abc import Callable
from typing import TypedDict

from plimsoll.core.errors import SpecErrors
from plimsoll.core.snapshot import (
    AffinityType,
    AffinityView,
    Allow,
    CacheBackend,
    CacheView,
    FallbackType,
    FallbackView,
    JwtView,
    LimitsView,
    TenantView,
)
from plimsoll.core.subjects import canonical_subject
from plimsoll.core.units import parse_duration, parse_quantity
from plimsoll.spec.edge import SecretRef
from plimsoll.spec.platform import Platform
from plimsoll.spec.service import ModelService
from plimsoll.spec.tenant import Tenant

Secrets = Callable[[SecretRef], str]

_DIGEST = re.compile(r"sha256:([0-9A-Fa-f]{64})\Z")


class ServiceViews(TypedDict):
    """Fields of a `ServiceView`: `ServiceView(name=…, revision=…, **service_views(service))`."""

    namespace: str
    labels: dict[str, str]
    anonymous: bool | None
    cache: CacheView | None
    fallback: tuple[FallbackView, ...]
    affinity: AffinityView | None
    hedging: bool


def service_views(service: ModelService, *, cache_url: str = "", cache_epoch: int = 0) -> ServiceViews:
    """`cache_url`: what the secret at `service.cache_secret_ref` holds. `cache_epoch`: how often it was purged."""
    return ServiceViews(
        namespace=service.metadata.namespace or "",
        labels=dict(service.labels),
        anonymous=service.spec.access.anonymous,
        cache=cache_view(service, url=cache_url, epoch=cache_epoch),
        fallback=fallback_views(service),
        affinity=affinity_view(service),
        hedging=service.hedges,
    )


def cache_view(service: ModelService, *, url: str = "", epoch: int = 0) -> CacheView | None:
    cache = service.spec.cache
    if cache is None:
        return None
    ttl_s = parse_duration(cache.ttl)
    oldest_s = max((step.max_age_s for step in fallback_views(service)), default=0.0)
    return CacheView(
        ttl_s=ttl_s,
        max_bytes=int(parse_quantity(cache.max_size)),
        per_tenant=cache.scope == "Tenant",
        inputs=() if cache.key is None else cache.key.inputs,
        backend=CacheBackend(cache.backend.type),
        url=url,
        epoch=epoch,
        stale_s=max(0.0, oldest_s - ttl_s),
    )


def fallback_views(service: ModelService) -> tuple[FallbackView, ...]:
    return tuple(
        FallbackView(
            type=FallbackType(step.type),
            max_age_s=0.0 if step.max_age is None else parse_duration(step.max_age),
            service="" if step.service is None else step.service.name,
            body=step.body or "",
            content_type=step.content_type or "application/json",
        )
        for step in service.spec.fallback
    )


def affinity_view(service: ModelService) -> AffinityView | None:
    affinity = service.spec.session_affinity
    if affinity is None:
        return None
    kind = AffinityType(affinity.type)
    return AffinityView(kind, affinity.name.lower() if kind is AffinityType.HEADER else affinity.name)


def tenant_view(tenant: Tenant, *, secrets: Secrets) -> TenantView:
    """`secrets` gives what a secret holds; what it raises goes through. SpecErrors: what it gave are no hashes."""
    spec = tenant.spec
    digests: dict[str, str] = {}
    for index, key in enumerate(spec.auth.api_keys):
        ref = key.hash_secret_ref
        text = secrets(ref)
        try:
            found = parse_key_hashes(text)
        except ValueError as error:
            where = f"spec.auth.apiKeys[{index}].hashSecretRef"
            raise SpecErrors([tenant.problem(where, f"secret {ref.name}, key {ref.key}: {error}")]) from None
        digests |= {key.name if at == 0 else f"{key.name}/{at + 1}": digest for at, digest in enumerate(found)}
    jwt = spec.auth.jwt
    return TenantView(
        name=tenant.name,
        key_digests=digests,
        jwt=None if jwt is None else JwtView(jwt.issuer, jwt.audience, jwt.jwks_uri, dict(jwt.claims)),
        subjects=tuple(canonical_subject(one.subject) for one in spec.auth.certificates),
        allow=tuple(Allow(one.namespaces, dict(one.service_selector.match_labels)) for one in spec.allow or ()),
        requests_per_s=_float(spec.quota.requests_per_second),
        concurrent_requests=spec.quota.concurrent_requests,
        tokens_per_minute=_float(spec.quota.tokens_per_minute),
        weight=float(spec.weight),
        max_priority=spec.max_priority,
    )


def parse_key_hashes(text: str) -> tuple[str, ...]:
    """The digests of a hash file, in lower-case hex: a line `sha256:HEX` each; empty lines and `#` comments are fine.

    Two and more are one key's while it is being replaced. ValueError names the line, never what it holds: it may be
    the key itself.
    """
    found: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        digest = _DIGEST.match(stripped)
        if digest is None:
            raise ValueError(f"line {number} is no hash; expected sha256: and 64 hex digits (never the key itself)")
        found.append(digest[1].lower())
    if not found:
        raise ValueError("holds no hash; expected a line sha256:HEX")
    return tuple(dict.fromkeys(found))


def limits_view(platform: Platform | None, *, gateways: int, secrets: Secrets) -> LimitsView:
    ref = None if platform is None else platform.rate_limits_secret_ref
    return LimitsView(gateways=gateways, url="" if ref is None else secrets(ref).strip())


def _float(number: float | None) -> float | None:
    return None if number is None else float(number)
