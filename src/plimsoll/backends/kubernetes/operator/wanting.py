"""What a ModelService asks for, understood once a generation: its revision, its resolved defaults, where it is reached;
or what is wrong with it. Pure; a few milliseconds a service, so its result is kept and the rendered objects are not.
"""

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from plimsoll.backends.kubernetes.artifacts.references import parse_uri
from plimsoll.backends.kubernetes.conditions import Reason
from plimsoll.backends.kubernetes.names import GATEWAY
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.seen import ServiceObject
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render import RevisionPlan, revision_of
from plimsoll.backends.kubernetes.render.model import ModelNotPacked
from plimsoll.backends.kubernetes.render.scaling import KEDA_API
from plimsoll.core.errors import PlimsollError, SpecErrors, UserError
from plimsoll.spec import ModelService, Platform

_MOST_RESOLVED = 300_000  # characters: etcd takes 1.5 MB an object, and the spec stands in it already


@dataclass(frozen=True, slots=True)
class Problem:
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Wish:
    """`revision` is None where `problem` is not. `first`: the count of a service's first revision. Budgets are as
    written: `100ms`."""

    generation: int
    problem: Problem | None = None
    revision: str | None = None
    digest: str = ""
    first: int = 0
    url: str = ""
    model_digest: str = ""
    workload: str = "Deployment"
    p99_s: float | None = None
    p95_s: float | None = None
    p50_s: float | None = None
    error_rate: float | None = None
    costs: bool = False  # whether a cost is budgeted
    budget: str = ""
    resolved: Obj = field(default_factory=dict)
    configmap: str = ""  # that holds its model; "" for none
    note: str = ""  # what the cluster lacks for it, while it serves without


class Understood(NamedTuple):
    """The wish, and what it was made of while it is at hand; None where the wish is a problem."""

    wish: Wish
    service: ModelService | None = None
    plan: RevisionPlan | None = None


def understood(service: ServiceObject, platform: Platform | None, options: ClusterOptions) -> Understood:
    try:
        parsed = ModelService.parse(service.body)
    except SpecErrors as error:
        return _wrong(service, Reason.INVALID_SPEC, spec_words(error))
    try:
        plan = revision_of(parsed, platform, options)
    except ModelNotPacked as error:
        return _wrong(service, Reason.MODEL_NOT_PACKED, str(error))
    except (UserError, SpecErrors) as error:
        return _wrong(service, Reason.INVALID_SPEC, spec_words(error))
    latency, written = parsed.spec.budget.latency, parsed.spec.budget.error_rate
    return Understood(
        Wish(
            generation=service.generation,
            revision=plan.name,
            digest=plan.digest,
            first=first_count(parsed),
            url=url_of(parsed, platform, options),
            model_digest=parsed.spec.model.digest or "",
            workload=parsed.spec.workload,
            p99_s=parsed.p99_s,
            p95_s=parsed.p95_s,
            p50_s=parsed.p50_s,
            error_rate=parsed.error_rate,
            costs=(parsed.cost_per_hour, parsed.cost_per_million) != (None, None),
            budget=latency.p99 or latency.p95 or latency.p50 or written or "",
            resolved=resolved(parsed),
            configmap=parse_uri(parsed.spec.model.uri).configmap if parsed.spec.model.uri else "",
            note=_lacks(parsed, options),
        ),
        parsed,
        plan,
    )


def _lacks(service: ModelService, options: ClusterOptions) -> str:
    if service.spec.scaling.writer == "KEDA" and not options.has(KEDA_API):
        return "nothing scales it: writer KEDA, which is not installed here (writer: Controller needs nothing)"
    return ""


def first_count(service: ModelService) -> int:
    """Unless a person says 0, at least one, even of a service that may sleep: so whoever applies a model that doesn't
    load hears of it at once, not with the first request. It goes when nobody asked for `scaleToZeroAfter`. (An HPA
    would rest for ever at 0.)"""
    wanted = service.wanted_replicas
    return wanted if service.spec.replicas is not None else max(1, wanted)


def resolved(service: ModelService) -> Obj:
    """The spec with every default filled in, those that follow from other keys too. Nothing for one so large that it
    doesn't fit into its object twice: then no condition could be written either."""
    found: Obj = service.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    found["timeout"] = service.spec.timeout or f"{service.timeout_s:g}s"
    found["model"]["format"] = service.model_format
    found["scaling"]["maxReplicas"] = service.max_replicas
    return found if len(json.dumps(found)) <= _MOST_RESOLVED else {}


def url_of(service: ModelService, platform: Platform | None, options: ClusterOptions) -> str:
    """Its own host, where the platform names hosts; else the gateway's address within the cluster."""
    name, namespace = service.name, service.metadata.namespace or "default"
    host = None if platform is None else platform.host_of(name, namespace)
    if host is None or platform is None:
        return f"http://{GATEWAY}.{options.system_namespace}.svc/v2/models/{name}"
    gateway = platform.spec.gateway
    secure = gateway.tls is not None or any("https" in (one.section_name or "") for one in gateway.parent_refs)
    return f"{'https' if secure else 'http'}://{host}"


def spec_words(error: PlimsollError) -> str:
    """Each problem once, on one line."""
    return "; ".join(dict.fromkeys(str(error).splitlines()))


def _wrong(service: ServiceObject, reason: Reason, message: str) -> Understood:
    return Understood(Wish(service.generation, Problem(reason, message)))
