"""One `Platform`: what is the same for all services. Absent, everything has its default."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from plimsoll.spec.base import ClusterMetadata, Part, Whole
from plimsoll.spec.tenant import PlatformSecretRef


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
