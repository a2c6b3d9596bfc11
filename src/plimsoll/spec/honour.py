"""Which keys of a valid object a backend can't honour: listed when it is applied, never silently ignored."""

from collections.abc import Iterator

from plimsoll.spec.base import Whole
from plimsoll.spec.platform import Platform
from plimsoll.spec.scaling import price_per_hour
from plimsoll.spec.service import ModelService
from plimsoll.spec.tenant import PlatformSecretRef, Tenant


def not_honoured(whole: Whole, backend: str = "local", *, platform: Platform | None = None) -> list[str]:
    """Lines `KEY: why`. Backends other than `local` honour every key there is now. `platform`: whose prices hold for a
    service; without them a budget of costs bounds nothing, on any backend."""
    if backend != "local":
        return [*_of_costs(whole, platform)] if isinstance(whole, ModelService) else []
    if isinstance(whole, ModelService):
        return [*_of_service(whole), *_of_costs(whole, platform), *_of_cache(whole)]
    return [*_of_secrets(whole), *_of_nodes(whole)]


def _of_service(service: ModelService) -> Iterator[str]:
    if service.metadata.namespace is not None:
        yield "metadata.namespace: a laptop has no namespaces; services are told apart by name"
    if service.spec.scaling.writer != "Controller":
        yield f"spec.scaling.writer: {service.spec.scaling.writer} is a cluster's; the controller writes the count here"
    resources = service.spec.resources
    if resources.requests.memory is not None:
        yield "spec.resources.requests.memory: nothing is set aside here; limits.memory holds"
    if resources.requests.cpu is not None and service.cpus % 1:
        yield "spec.resources.requests.cpu: replicas get whole cores here; a fraction is shared, not throttled"
    if resources.limits.cpu is not None:
        yield "spec.resources.limits.cpu: replicas are kept to cores here, not throttled"


def _of_costs(service: ModelService, platform: Platform | None) -> Iterator[str]:
    if service.spec.budget.cost is None or price_per_hour(service, platform) is not None:
        return
    if platform is None or not platform.spec.node_classes:
        yield "spec.budget.cost: nothing has a price; write a Platform with nodeClasses"
    else:
        yield "spec.budget.cost: a replica fits on none of the platform's node classes, so it has no price"


def _of_nodes(whole: Whole) -> Iterator[str]:
    if isinstance(whole, Platform) and whole.spec.node_classes:
        yield "spec.nodeClasses: a laptop has no nodes; their prices count here, the rest is for plimsoll plan"


def _of_cache(service: ModelService) -> Iterator[str]:
    cache = service.spec.cache
    if cache is not None and cache.backend.type != "Memory" and "max_size" in cache.model_fields_set:
        yield f"spec.cache.maxSize: {cache.backend.type} bounds its own memory"


def _of_secrets(whole: Whole) -> Iterator[str]:
    refs: list[tuple[str, PlatformSecretRef]] = []
    if isinstance(whole, Tenant):
        keys = enumerate(whole.spec.auth.api_keys)
        refs += [(f"spec.auth.apiKeys[{index}].hashSecretRef", key.hash_secret_ref) for index, key in keys]
    if isinstance(whole, Platform) and whole.rate_limits_secret_ref is not None:
        refs.append(("spec.gateway.rateLimits.backend.secretRef", whole.rate_limits_secret_ref))
    for key, ref in refs:
        if ref.namespace is not None:
            yield f"{key}.namespace: a laptop has no namespaces; the file secrets/{ref.name}/{ref.key} is read"
