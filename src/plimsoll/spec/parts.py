"""The fields of a `ModelService`, each with its default, its meaning, and the checks that need more than one of them.

Text stays text here (`p99: 100ms`), as in Kubernetes' own objects; `service.ModelService` gives plain numbers. A check
over several fields runs where the last of them is read, so that it still runs when an unrelated field is wrong.
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from plimsoll.core.units import parse_duration, parse_quantity
from plimsoll.spec.base import Part
from plimsoll.spec.edge import Access, Cache, Fallback, SessionAffinity, check_fallbacks
from plimsoll.spec.formats import PICKLE_SUFFIXES, suffix_of
from plimsoll.spec.model import ModelSource, Runtime
from plimsoll.spec.pods import Accelerator, PodTemplate, VolumeClaim, check_claims
from plimsoll.spec.scaling_parts import Scaling
from plimsoll.spec.scaling_values import PositiveMoney
from plimsoll.spec.values import (
    Annotations,
    Cores,
    DnsLabel,
    Duration,
    Host,
    Labels,
    Memory,
    PositiveDuration,
    RoutePath,
    Share,
    Window,
    problem_at,
)


class Metadata(Part):
    """Who the service is."""

    name: DnsLabel = Field(
        description="The service's name, a DNS label: its model name at /v2/models/NAME, in metrics, logs and commands."
    )
    namespace: DnsLabel | None = Field(
        default=None, description="The Kubernetes namespace. A laptop has none and says so. Default: the cluster's."
    )
    labels: Labels = Field(default_factory=dict, description="Labels, as Kubernetes has them. Default: none.")
    annotations: Annotations = Field(
        default_factory=dict, description="Free text for people and tools. Plimsoll reads none of it. Default: none."
    )


class Route(Part):
    """A path of the service's own, which takes plain JSON."""

    path: RoutePath = Field(
        description="An absolute path, matched exactly. /v1, /v2 and /metrics belong to the server's protocols."
    )
    host: Host | None = Field(default=None, description="The Host header it holds for. Default: any.")


class Latency(Part):
    """Quantiles of the time from a request's head to the last byte of its answer."""

    p50: PositiveDuration | None = Field(
        default=None, description="Half of the answers come sooner. Default: no budget."
    )
    p95: PositiveDuration | None = Field(
        default=None, description="95% of the answers come sooner. Default: no budget."
    )
    p99: PositiveDuration | None = Field(
        default=None,
        description="99% of the answers come sooner; what batching, admission and scaling aim at. Default: no budget.",
    )

    @field_validator("p95", "p99")
    @classmethod
    def _quantiles_rise(cls, value: str | None, info: ValidationInfo) -> str | None:
        for lower in ("p95", "p50"):
            other = info.data.get(lower)
            if value is not None and other is not None and parse_duration(value) < parse_duration(other):
                raise ValueError(f"{value} is below the {lower} of {other}; expected {other} or more")
        return value


class Cost(Part):
    """What the service may cost, at the prices of the platform's node classes."""

    per_million_requests: PositiveMoney | None = Field(
        default=None, description='Of a million requests answered: "4.00", in the platform\'s currency. Default: none.'
    )
    per_hour: PositiveMoney | None = Field(
        default=None,
        validate_default=True,
        description='Of an hour, however many requests there are: "2.50". Default: none.',
    )
    when_exceeded: Literal["Warn", "CapReplicas"] = Field(
        default="Warn",
        description="Warn: latency wins, and the service says what it costs. CapReplicas: cost wins, and requests "
        "that the replicas it allows can't answer in time are shed.",
    )

    @field_validator("per_hour")
    @classmethod
    def _something_is_allowed(cls, per_hour: str | None, info: ValidationInfo) -> str | None:
        if per_hour is None and info.data.get("per_million_requests", "") is None:
            problem_at(("..",), 'has no amount; expected perMillionRequests: "4.00" or perHour: "2.50"')
        return per_hour


class Budget(Part):
    """What the service allows itself, counted over the window."""

    window: Window = Field(default="5m", description="The time over which quantiles and errors are counted.")
    latency: Latency = Field(default_factory=Latency, description="The latency budget. Default: none.")
    error_rate: Share | None = Field(
        default=None,
        description="The share of requests that may be shed, expire, find no replica, lose theirs or fail in the model "
        "over everything but what clients got wrong: 0.1%. Default: no budget.",
    )
    cost: Cost | None = Field(default=None, description="What the service may cost. Default: no budget.")


class Requests(Part):
    """What a replica is given."""

    cpu: Cores | None = Field(
        default=None,
        description='CPU cores, also how many threads a model computes with: "1", 500m. Default: limits.cpu, else "1".',
    )
    memory: Memory | None = Field(default=None, description="Memory set aside: 512Mi. Default: limits.memory.")


class Limits(Part):
    """What a replica can't exceed."""

    cpu: Cores | None = Field(default=None, description="CPU cores. Default: no limit.")
    memory: Memory | None = Field(
        default=None, description="A replica that uses more is ended and its service says so: 1Gi. Default: no limit."
    )


class Resources(Part):
    """A replica's share of the machine."""

    requests: Requests = Field(default_factory=Requests, description="What a replica is given.")
    limits: Limits = Field(default_factory=Limits, description="What a replica can't exceed. Default: no limits.")

    @field_validator("limits")
    @classmethod
    def _limits_cover_requests(cls, limits: Limits, info: ValidationInfo) -> Limits:
        requests = info.data.get("requests")
        for key in ("cpu", "memory"):
            low, high = getattr(requests, key, None), getattr(limits, key)
            if low is not None and high is not None and parse_quantity(high) < parse_quantity(low):
                problem_at((key,), f"{high} is below the request of {low}; expected {low} or more")
        return limits


class Batching(Part):
    """How requests are joined into one call of predict."""

    max_size: int | None = Field(
        default=None,
        ge=1,
        description="The most items in one call. Default: what the model takes and the latency budget lets in.",
    )
    linger: Duration = Field(
        default="0s", description="How long a free model waits for more requests. 0s: it never waits."
    )


class ServiceSpec(Part):
    """The whole of a service."""

    model: ModelSource = Field(description="What is served.")
    runtime: Runtime = Field(default_factory=Runtime, validate_default=True, description="How the model runs.")
    retry: Literal["Once", "Never"] = Field(
        default="Once",
        description="Whether a request whose replica died is tried on another. Never for a model with side effects.",
    )
    routes: Annotated[tuple[Route, ...], Field(strict=False)] = Field(
        default=(),
        description="Paths of the service's own that take plain JSON, beside /v2/models/NAME. Default: none.",
    )
    budget: Budget = Field(default_factory=Budget, description="What the service allows itself.")
    timeout: PositiveDuration | None = Field(
        default=None,
        description="When an answer is worthless: nothing is computed then. Default: twice the p99 budget, else 60s.",
    )
    scaling: Scaling = Field(default_factory=Scaling, description="How many replicas run.")
    replicas: int | None = Field(
        default=None, ge=0, description="A manual override of the replica count. Default: scaling decides."
    )
    resources: Resources = Field(default_factory=Resources, description="A replica's share of the machine.")
    batching: Batching = Field(default_factory=Batching, description="How requests are joined into one call.")
    access: Access = Field(default_factory=Access, description="Who may ask.")
    cache: Cache | None = Field(
        default=None, description="Answers kept for the same question. Default: every request is computed."
    )
    fallback: Annotated[tuple[Fallback, ...], Field(strict=False)] = Field(
        default=(),
        description="What answers when the model can't in time, tried in order. Default: the request is refused.",
    )
    session_affinity: SessionAffinity | None = Field(
        default=None, description="Requests of one session go to one replica. Default: any replica."
    )
    hedging: Literal["Never", "Slow"] = Field(
        default="Never",
        description="Slow: a second replica is asked when the first takes longer than usual; the first answer wins.",
    )
    accelerator: Accelerator | None = Field(
        default=None, description="What each replica gets of GPUs and their like. Default: none."
    )
    workload: Literal["Deployment", "StatefulSet"] = Field(
        default="Deployment",
        description="What runs the replicas on a cluster. StatefulSet: for those with volumes or names of their own.",
    )
    volume_claims: Annotated[tuple[VolumeClaim, ...], Field(strict=False, max_length=16)] = Field(
        default=(), description="Volumes of each replica's own, with workload: StatefulSet. Default: none."
    )
    pod_template: PodTemplate | None = Field(
        default=None, description="Merged into the replicas' pods, last of all. Default: nothing."
    )

    @field_validator("runtime")
    @classmethod
    def _pickles_are_allowed_aloud(cls, runtime: Runtime, info: ValidationInfo) -> Runtime:
        model = info.data.get("model")
        if model is None or "Pickle" in runtime.unsafe_formats:
            return runtime
        where, key = (model.path, "path") if model.path is not None else (model.uri or "", "uri")
        if suffix_of(where) in PICKLE_SUFFIXES:
            message = "a pickle runs any code it holds when loaded; save the model with skops, or allow it: "
            problem_at(("..", "model", key), message + "runtime: {unsafeFormats: [Pickle]}")
        return runtime

    @field_validator("routes")
    @classmethod
    def _routes_differ(cls, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        seen: dict[tuple[str, str | None], int] = {}
        for index, route in enumerate(routes):
            first = seen.setdefault((route.path, route.host), index)
            if first != index:
                problem_at((index, "path"), f"{route.path} is the same route as routes[{first}]; remove one")
        return routes

    @field_validator("timeout")
    @classmethod
    def _timeout_covers_p99(cls, timeout: str | None, info: ValidationInfo) -> str | None:
        p99 = _p99(info)
        if timeout is not None and p99 is not None and parse_duration(timeout) < parse_duration(p99):
            raise ValueError(f"{timeout} is below the p99 budget of {p99}; expected {p99} or more")
        return timeout

    @field_validator("batching")
    @classmethod
    def _linger_leaves_time(cls, batching: Batching, info: ValidationInfo) -> Batching:
        p99 = _p99(info)
        if p99 is not None and parse_duration(batching.linger) >= parse_duration(p99):
            problem_at(("linger",), f"{batching.linger} uses up the p99 budget of {p99}; expected less")
        return batching

    @field_validator("fallback")
    @classmethod
    def _fallbacks_can_be_tried(cls, fallback: tuple[Fallback, ...], info: ValidationInfo) -> tuple[Fallback, ...]:
        check_fallbacks(fallback)
        if "cache" not in info.data:
            return fallback  # it is wrong itself, and says so
        cache = info.data["cache"]
        for index, step in enumerate(fallback):
            if step.type != "StaleCache" or step.max_age is None:
                continue
            if cache is None:
                problem_at((index, "type"), "StaleCache needs a cache to take from; add cache: {ttl: 10m}")
            if parse_duration(step.max_age) <= parse_duration(cache.ttl):
                message = f"{step.max_age} is not above the cache's ttl of {cache.ttl}; what is younger is no fallback"
                problem_at((index, "maxAge"), message)
        return fallback

    @field_validator("volume_claims")
    @classmethod
    def _claims_have_a_set(cls, claims: tuple[VolumeClaim, ...], info: ValidationInfo) -> tuple[VolumeClaim, ...]:
        check_claims(claims, info.data.get("workload"))
        return claims

    @field_validator("hedging")
    @classmethod
    def _hedging_asks_twice(cls, hedging: str, info: ValidationInfo) -> str:
        if hedging == "Slow" and info.data.get("retry") == "Never":
            raise ValueError(
                "Slow asks two replicas, and retry: Never allows one; remove hedging, or write retry: Once"
            )
        return hedging


def _p99(info: ValidationInfo) -> str | None:
    budget = info.data.get("budget")
    return budget.latency.p99 if isinstance(budget, Budget) else None
