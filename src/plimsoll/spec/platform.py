"""One `Platform`: what is the same for all services. Absent, everything has its default."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from plimsoll.spec.base import ClusterMetadata, Part, Whole
from plimsoll.spec.nodes import NodeClass
from plimsoll.spec.platform_cluster import (
    AcceleratorClass,
    Disruption,
    GatewayTls,
    HostTemplate,
    ModelCache,
    ParentRef,
    check_accelerator_classes,
)
from plimsoll.spec.pod_values import Subdomain
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
    parent_refs: Annotated[tuple[ParentRef, ...], Field(strict=False, max_length=32)] = Field(
        default=(),
        description="The Gateways of the Gateway API that services are reached through. Default: none; with "
        "hostnameTemplate an Ingress, else only within the cluster.",
    )
    hostname_template: HostTemplate | None = Field(
        default=None,
        description="The host of a service, of {name} and {namespace}: {name}.{namespace}.infer.example.com. Default: "
        "none; services are told apart by their paths.",
    )
    ingress_class_name: Subdomain | None = Field(
        default=None, description="The class of the Ingresses, without parentRefs. Default: the cluster's default."
    )
    tls: GatewayTls | None = Field(
        default=None,
        description="The certificate of an Ingress's hosts (a Gateway has its own). Default: none; plain HTTP.",
    )
    replica_tls: Literal["Disabled", "Required"] = Field(
        default="Disabled",
        description="Required: gateways and replicas speak TLS, and each proves who it is. Disabled: plain HTTP, kept "
        "apart by NetworkPolicies.",
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

    accelerator_classes: Annotated[tuple[AcceleratorClass, ...], Field(strict=False, max_length=256)] = Field(
        default=(), description="The accelerators that services may ask for. Default: none."
    )
    disruption: Disruption = Field(default_factory=Disruption, description="What gives way when there is no room.")
    model_cache: ModelCache = Field(
        default_factory=ModelCache, description="Where models' artifacts are kept between pods. Default: nowhere."
    )
    network_policy: Literal["Enabled", "Disabled"] = Field(
        default="Enabled",
        description="Enabled: NetworkPolicies let in the gateway to replicas, and out only to name servers and model "
        "stores. Disabled: none are made.",
    )
    monitoring: Literal["None", "ServiceMonitor", "PodMonitor"] = Field(
        default="None", description="What the Prometheus operator is given to scrape the replicas by."
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

    @field_validator("accelerator_classes")
    @classmethod
    def _classes_are_somewhere(
        cls, classes: tuple[AcceleratorClass, ...], info: ValidationInfo
    ) -> tuple[AcceleratorClass, ...]:
        check_accelerator_classes(classes, info.data.get("node_classes"))
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

    def accelerator_class(self, name: str) -> AcceleratorClass | None:
        return next((one for one in self.spec.accelerator_classes if one.name == name), None)

    def node_class(self, name: str) -> NodeClass | None:
        return next((one for one in self.spec.node_classes if one.name == name), None)

    def host_of(self, name: str, namespace: str) -> str | None:
        """A service's host by the template; None without one."""
        template = self.spec.gateway.hostname_template
        return None if template is None else template.replace("{name}", name).replace("{namespace}", namespace)

    @property
    def rate_limits_secret_ref(self) -> PlatformSecretRef | None:
        backend = self.spec.gateway.rate_limits.backend
        return None if backend is None else backend.secret_ref
