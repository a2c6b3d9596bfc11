"""One `Platform`: what is the same for all services. Absent, everything has its default."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from plimsoll.spec.base import ClusterMetadata, Part, Whole
from plimsoll.spec.nodes import NodeClass
from plimsoll.spec.scaling_values import Currency
from plimsoll.spec.tenant import PlatformSecretRef
from plimsoll.spec.values import problem_at


class RateLimitsBackend(Part):
    """Where gateways count together."""

    type: Literal["Redis"] = Field(description="Redis.")
    secret_ref: PlatformSecretRef = Field(description="The secret that holds its URL: redis://… or rediss://….")


class RateLimits(Part):
    """How the tenants' quotas hold across several gateways."""

    backend: RateLimitsBackend | None = Field(
        default=None,
        description="Where gateways count together. Default: nowhere; each of N gateways allows an N-th of a quota.",
    )


class PlatformGateway(Part):
    """What all gateways share."""

    rate_limits: RateLimits = Field(
        default_factory=RateLimits, description="How the tenants' quotas hold across several gateways."
    )


class PlatformSpec(Part):
    """The whole of a platform."""

    gateway: PlatformGateway = Field(default_factory=PlatformGateway, description="What all gateways share.")
    currency: Currency = Field(default="USD", description="Of all prices and costs, as ISO 4217 names it: USD, EUR.")
    node_classes: Annotated[tuple[NodeClass, ...], Field(strict=False, max_length=1000)] = Field(
        default=(),
        description="The kinds of nodes there are, for costs, for plan and for placement. Default: none; nothing has "
        "a price, and there is room for every replica.",
    )

    @field_validator("node_classes")
    @classmethod
    def _names_differ(cls, classes: tuple[NodeClass, ...]) -> tuple[NodeClass, ...]:
        seen: dict[str, int] = {}
        for index, one in enumerate(classes):
            first = seen.setdefault(one.name, index)
            if first != index:
                problem_at((index, "name"), f"{one.name} is the name of nodeClasses[{first}] too; expected another")
        return classes


class Platform(Whole):
    """What is the same for all services. There is one."""

    api_version: Literal["plimsoll.dev/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["Platform"] = Field(description="What this document describes.")
    metadata: ClusterMetadata = Field(description="Who the platform is.")
    spec: PlatformSpec = Field(description="What all services share.")

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels

    @property
    def rate_limits_secret_ref(self) -> PlatformSecretRef | None:
        backend = self.spec.gateway.rate_limits.backend
        return None if backend is None else backend.secret_ref
