"""Which keys of a valid service a backend can't honour: listed when it is applied, never silently ignored."""

from plimsoll.spec.service import ModelService


def not_honoured(service: ModelService, backend: str = "local") -> list[str]:
    """Lines `KEY: why`. Backends other than `local` honour every key there is now."""
    if backend != "local":
        return []
    found: list[str] = []
    if service.metadata.namespace is not None:
        found.append("metadata.namespace: a laptop has no namespaces; services are told apart by name")
    if service.max_replicas > service.min_replicas:
        found.append(
            "spec.scaling.maxReplicas: nothing scales by itself yet; minReplicas run (plimsoll scale sets another)"
        )
    resources = service.spec.resources
    if resources.requests.memory is not None:
        found.append("spec.resources.requests.memory: nothing is set aside here; limits.memory holds")
    if resources.requests.cpu is not None and service.cpus % 1:
        found.append("spec.resources.requests.cpu: replicas get whole cores here; a fraction is shared, not throttled")
    if resources.limits.cpu is not None:
        found.append("spec.resources.limits.cpu: replicas are kept to cores here, not throttled")
    return found
