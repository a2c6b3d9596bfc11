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
        return [*_of_service(whole), *_of_pods(whole), *_of_costs(whole, platform), *_of_cache(whole)]
    return [*_of_secrets(whole), *_of_nodes(whole), *_of_cluster(whole)]


def _of_service(service: ModelService) -> Iterator[str]:
    if service.metadata.namespace is not None:
        yield "metadata.namespace: a laptop has no namespaces; services are told apart by name"
    if service.spec.scaling.writer != "Controller":
        yield f"spec.scaling.writer: {service.spec.scaling.writer} is a cluster's; the controller writes the count here"
    if service.spec.scaling.hpa is not None and service.spec.scaling.hpa.memory_target is not None:
        yield "spec.scaling.hpa.memoryTarget: memory doesn't count here; the metric alone decides"
    resources = service.spec.resources
    if resources.requests.memory is not None:
        yield "spec.resources.requests.memory: nothing is set aside here; limits.memory holds"
    if resources.requests.cpu is not None and service.cpus % 1:
        yield "spec.resources.requests.cpu: replicas get whole cores here; a fraction is shared, not throttled"
    if resources.limits.cpu is not None:
        yield "spec.resources.limits.cpu: replicas are kept to cores here, not throttled"


def _of_pods(service: ModelService) -> Iterator[str]:
    """What only pods have. A key that says what a laptop does anyway is no line."""
    spec = service.spec
    if spec.runtime.image is not None:
        yield "spec.runtime.image: replicas run in this Python here, not in an image"
    if spec.runtime.env:
        yield "spec.runtime.env: replicas have this shell's environment; set the variables in it"
    if spec.accelerator is not None:
        yield "spec.accelerator: nothing is handed out here; a model sees the accelerators that this machine has"
    if spec.workload != "Deployment":
        yield f"spec.workload: a laptop has processes, no {spec.workload}"
    if spec.volume_claims:
        yield "spec.volumeClaims: a laptop has no volumes; replicas see its files"
    if spec.pod_template is not None:
        yield "spec.podTemplate: a laptop has no pods"


def _of_cluster(whole: Whole) -> Iterator[str]:
    if not isinstance(whole, Platform):
        return
    spec, gateway = whole.spec, whole.spec.gateway
    written = {
        "spec.gateway.parentRefs": (gateway.parent_refs, "a laptop has one gateway of its own, and no routes to it"),
        "spec.gateway.hostnameTemplate": (gateway.hostname_template, "a laptop's services are told apart by path"),
        "spec.gateway.ingressClassName": (gateway.ingress_class_name, "a laptop has no Ingress"),
        "spec.gateway.tls": (gateway.tls, "a cluster's; here plimsoll up --tls-cert and --tls-key"),
        "spec.gateway.replicaTls": (gateway.replica_tls == "Required", "replicas are reached by Unix sockets here"),
        "spec.acceleratorClasses": (spec.accelerator_classes, "a laptop hands out none; their prices count"),
        "spec.disruption": ("disruption" in spec.model_fields_set, "a laptop has no other nodes to wait for"),
        "spec.modelCache": (spec.model_cache.type != "None", "models are local files here"),
        "spec.networkPolicy": ("network_policy" in spec.model_fields_set, "a laptop has no pods to keep apart"),
        "spec.monitoring": (spec.monitoring != "None", "a laptop has no Prometheus operator; /metrics is there"),
    }
    yield from (f"{key}: {why}" for key, (said, why) in written.items() if said)


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
