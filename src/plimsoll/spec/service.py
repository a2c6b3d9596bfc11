"""One `ModelService`: what the user wrote, where it stands, and what it means in seconds, bytes and cores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from plimsoll.core.errors import SpecError
from plimsoll.core.units import parse_duration, parse_quantity, parse_share
from plimsoll.spec.explain import validated
from plimsoll.spec.formats import Format, guess_format
from plimsoll.spec.origin import Origin
from plimsoll.spec.parts import Metadata, Part, ServiceSpec

API_VERSION = "plimsoll.dev/v1alpha1"
KIND = "ModelService"

_TIMEOUT_S = 60.0  # without a budget and without a timeout
_TIMEOUT_PER_P99 = 2.0


class ModelService(Part):
    """Serves one model inside its budget."""

    api_version: Literal["plimsoll.dev/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["ModelService"] = Field(description="What this document describes.")
    metadata: Metadata = Field(description="Who the service is.")
    spec: ServiceSpec = Field(description="The model, its budget, and how it is run.")

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @classmethod
    def parse(cls, data: object, origin: Origin | None = None) -> "ModelService":
        """From the form that `dump` gives. Raises SpecErrors with everything that is wrong."""
        origin = origin or Origin()
        service = validated(cls, data, origin)
        service._origin = origin
        return service

    def dump(self) -> dict[str, Any]:
        """As the user wrote it: JSON-able, camelCase, without what was left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def __eq__(self, other: object) -> bool:
        """Equal where the same is written, wherever it stands."""
        return isinstance(other, ModelService) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # labels are dicts; pydantic's frozen hash would fail at run time

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def directory(self) -> Path:
        """What `spec.model.path` is relative to: the folder of the file (as it was named to `load_file`)."""
        return Path(self._origin.file).parent

    def problem(self, key: str, message: str) -> SpecError:
        """An error found later, at the line of `key`: `problem("spec.model.path", "no such file")`."""
        return self._origin.problem(key, message)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels

    @property
    def model_format(self) -> Format:
        return self.spec.model.format or guess_format(self.spec.model.path)

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
        return self.spec.scaling.max_replicas or self.spec.scaling.min_replicas

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


def _seconds(text: str | None) -> float | None:
    return None if text is None else parse_duration(text)


def _bytes(text: str | None) -> int | None:
    return None if text is None else int(parse_quantity(text))
