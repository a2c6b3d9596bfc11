"""What the admin API tells of tenants: never a key, a digest, or where one is kept."""

from collections.abc import Iterable
from dataclasses import dataclass

from plimsoll.core.snapshot import LimitsView, ServiceView, TenantView


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """`auth`: `ApiKey NAME` for each key, `JWT`, `Certificate` for each. `services`: those that run now and that it may
    call. Quotas are the tenant's whole; None: no limit."""

    name: str
    auth: tuple[str, ...]
    services: tuple[str, ...]
    all_services: bool
    requests_per_s: float | None
    concurrent_requests: int | None
    tokens_per_minute: float | None
    weight: float
    max_priority: int


@dataclass(frozen=True, slots=True)
class LimitsTold:
    """How the tenants' quotas hold over `gateways`; `told` says it in a line."""

    gateways: int
    shared: bool
    told: str


def tenant_status(view: TenantView, services: Iterable[ServiceView]) -> TenantStatus:
    # A key that is being replaced has several digests: NAME, NAME/2, …
    auth = list(dict.fromkeys(f"ApiKey {name.partition('/')[0]}" for name in view.key_digests))
    auth += ["JWT"] if view.jwt is not None else []
    auth += ["Certificate"] * len(view.subjects)
    return TenantStatus(
        name=view.name,
        auth=tuple(auth),
        services=tuple(sorted(one.name for one in services if may_call(view, one))),
        all_services=not view.allow,
        requests_per_s=view.requests_per_s,
        concurrent_requests=view.concurrent_requests,
        tokens_per_minute=view.tokens_per_minute,
        weight=view.weight,
        max_priority=view.max_priority,
    )


def may_call(tenant: TenantView, service: ServiceView) -> bool:
    """Whether one of the tenant's `allow` entries fits: its namespaces (none: any) and all of its labels."""
    return not tenant.allow or any(
        (not entry.namespaces or service.namespace in entry.namespaces)
        and entry.labels.items() <= service.labels.items()
        for entry in tenant.allow
    )


def limits_told(view: LimitsView) -> LimitsTold:
    share = f"each of {view.gateways} gateways takes 1/{view.gateways} of a quota"
    if view.gateways == 1:
        told = "quotas hold in the one gateway"
    elif view.url:
        told = f"quotas hold over all gateways together, through Redis; while it is away {share}"
    else:
        told = f"{share}; they don't count together"
    return LimitsTold(view.gateways, bool(view.url), told)
