"""One `ModelService`: what the user wrote, where it stands, and what it means in seconds, bytes and cores."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from plimsoll.core.units import parse_duration, parse_quantity, parse_share
from plimsoll.spec.base import Whole
from plimsoll.spec.edge import SecretRef
from plimsoll.spec.formats import Format, is_import
from plimsoll.spec.parts import Metadata, ServiceSpec

KIND = "ModelService"

_TIMEOUT_S = 60.0  # without a budget and without a timeout
_TIMEOUT_PER_P99 = 2.0
_ZERO_AFTER_S = 600.0


class ModelService(Whole):
    """Serves one model inside its budget."""

    api_version: Literal["plimsoll.dev/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["ModelService"] = Field(description="What this document describes.")
    metadata: Metadata = Field(description="Who the service is.")
    spec: ServiceSpec = Field(description="The model, its budget, and how it is run.")

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels

    @property
    def model_format(self) -> Format:
        return self.spec.model.guessed_format

    @property
    def namespace(self) -> str:
        """Empty where none is written."""
        return self.metadata.namespace or ""

    @property
    def local_path(self) -> str:
        """Of the model's file, folder or class. Raises SpecError where the model is an artifact."""
        path = self.spec.model.path
        if path is None:
            message = "an artifact is fetched on a cluster alone; here write path: a file or folder beside this file"
            raise self.problem("spec.model.uri", message)
        return path

    @property
    def in_image(self) -> bool:
        """Whether the model comes with the image: a class to import, or an absolute path in `runtime.image`."""
        path = self.spec.model.path
        return path is not None and (is_import(path) or (path.startswith("/") and self.spec.runtime.image is not None))

    @property
    def is_packed(self) -> bool:
        """Whether a cluster can get at the model: an artifact, or in the image."""
        return self.spec.model.uri is not None or self.in_image

    @property
    def p50_s(self) -> float | None:
        return _seconds(self.spec.budget.latency.p50)

    @property
    def p95_s(self) -> float | None:
        return _seconds(self.spec.budget.latency.p95)

    @property
    def p99_s(self) -> float | None:
        return _seconds(self.spec.budget.latency.p99)

    @property
    def target_s(self) -> float | None:
        """What admission, batching and scaling aim at: the p99 budget, None without one."""
        return self.p99_s

    @property
    def timeout_s(self) -> float:
        """When an answer is worthless: as written, else twice the p99 budget, else 60 s."""
        if self.spec.timeout is not None:
            return parse_duration(self.spec.timeout)
        return _TIMEOUT_S if self.p99_s is None else _TIMEOUT_PER_P99 * self.p99_s

    @property
    def window_s(self) -> float:
        return parse_duration(self.spec.budget.window)

    @property
    def error_rate(self) -> float | None:
        """A share of one: 0.001 for `0.1%`; None without a budget."""
        return None if self.spec.budget.error_rate is None else parse_share(self.spec.budget.error_rate)

    @property
    def hold_s(self) -> float:
        return parse_duration(self.spec.scaling.hold)

    @property
    def min_replicas(self) -> int:
        return self.spec.scaling.min_replicas

    @property
    def max_replicas(self) -> int:
        return self.spec.scaling.max_replicas or max(1, self.spec.scaling.min_replicas)

    @property
    def scale_to_zero_after_s(self) -> float:
        after = self.spec.scaling.scale_to_zero_after
        return _ZERO_AFTER_S if after is None else parse_duration(after)

    @property
    def stabilization_window_s(self) -> float | None:
        """Of scaling down; None: the policy's own."""
        return _seconds(self.spec.scaling.scale_down.stabilization_window)

    @property
    def cost_per_hour(self) -> float | None:
        """In the platform's currency; None without a budget an hour."""
        return None if self.spec.budget.cost is None else _money(self.spec.budget.cost.per_hour)

    @property
    def cost_per_million(self) -> float | None:
        """Of requests, in the platform's currency; None without a budget."""
        return None if self.spec.budget.cost is None else _money(self.spec.budget.cost.per_million_requests)

    @property
    def cost_caps(self) -> bool:
        """Whether replicas end where the cost budget does, even if the latency budget breaks."""
        return self.spec.budget.cost is not None and self.spec.budget.cost.when_exceeded == "CapReplicas"

    @property
    def wanted_replicas(self) -> int:
        """Before anything scales: the manual override, which may be 0, else minReplicas."""
        return self.min_replicas if self.spec.replicas is None else self.spec.replicas

    @property
    def cpus(self) -> float:
        """Cores a replica is given. As in Kubernetes, a limit without a request is the request too."""
        written = self.spec.resources.requests.cpu or self.spec.resources.limits.cpu
        return 1.0 if written is None else parse_quantity(written)

    @property
    def threads(self) -> int:
        """Threads a model computes with. Rounded down: more threads than cores are throttled in turns."""
        return max(1, int(self.cpus))

    @property
    def memory_limit_bytes(self) -> int | None:
        return _bytes(self.spec.resources.limits.memory)

    @property
    def memory_request_bytes(self) -> int | None:
        return _bytes(self.spec.resources.requests.memory or self.spec.resources.limits.memory)

    @property
    def predict_timeout_s(self) -> float:
        return parse_duration(self.spec.runtime.predict_timeout)

    @property
    def load_timeout_s(self) -> float:
        return parse_duration(self.spec.runtime.load_timeout)

    @property
    def max_batch(self) -> int | None:
        """Items in one call; None: the model and the budget bound it, not the user."""
        return self.spec.batching.max_size

    @property
    def linger_s(self) -> float:
        return parse_duration(self.spec.batching.linger)

    @property
    def retries(self) -> bool:
        return self.spec.retry == "Once"

    @property
    def hedges(self) -> bool:
        return self.spec.hedging == "Slow"

    @property
    def fallback_services(self) -> tuple[str, ...]:
        """Names of the services that answer where this one can't, in order."""
        return tuple(step.service.name for step in self.spec.fallback if step.service is not None)

    @property
    def cache_secret_ref(self) -> SecretRef | None:
        """Where the URL of the cache's backend is to be read; None: in memory, or no cache at all."""
        return None if self.spec.cache is None else self.spec.cache.backend.secret_ref


def _seconds(text: str | None) -> float | None:
    return None if text is None else parse_duration(text)


def _money(text: str | None) -> float | None:
    return None if text is None else float(text)


def _bytes(text: str | None) -> int | None:
    return None if text is None else int(parse_quantity(text))
