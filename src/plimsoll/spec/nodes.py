"""The kinds of nodes that a platform has: what they cost, what fits on one, how long a new one takes."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from plimsoll.core.units import parse_duration
from plimsoll.spec.base import Part
from plimsoll.spec.scaling_values import Money
from plimsoll.spec.values import Cores, DnsLabel, Duration, Labels, Memory, PositiveDuration

MOST_NODES = 100_000
_MOST_WATTS = 100_000


class Capacity(Part):
    """What one node has for replicas."""

    cpu: Cores | None = Field(default=None, description='CPU cores: "16". Default: no bound.')
    memory: Memory | None = Field(default=None, description="Memory: 32Gi. Default: no bound.")
    accelerators: int | None = Field(
        default=None, ge=1, le=1024, description="Whole accelerators of one node: 8. Default: none."
    )


class NodeClass(Part):
    """One kind of node."""

    name: DnsLabel = Field(description="What the class is called, a DNS label: in plans and reports.")
    selector: Labels = Field(
        default_factory=dict, description="The labels that its nodes have, all of them. Default: any node."
    )
    price_per_hour: Money = Field(description='What a node costs an hour, in the platform\'s currency: "0.71".')
    capacity: Capacity | None = Field(
        default=None,
        description="What one node has for replicas; a replica is priced by its share of it. Default: one replica "
        "takes a whole node.",
    )
    provisioning_time: Duration = Field(
        default="0s", description="How long a new node takes until replicas can start on it."
    )
    provisioning_time_p90: Duration | None = Field(
        default=None,
        description="What one new node in ten exceeds; provisioningTime is the median. Default: always alike.",
    )
    idle_after: Duration = Field(default="10m", description="How long a node above minNodes stays with nothing to run.")
    mean_time_between_failures: PositiveDuration | None = Field(
        default=None, description="Of one node, for plan: 720h. Default: nodes don't fail."
    )
    min_nodes: int = Field(default=0, ge=0, le=MOST_NODES, description="How many there are even with nothing to run.")
    max_nodes: int | None = Field(
        default=None, ge=0, le=MOST_NODES, description="How many there can be. Default: no bound."
    )
    idle_watts: Annotated[int | None, Field(ge=0, le=_MOST_WATTS)] = Field(
        default=None, description="What a node draws when nothing runs. Default: not known."
    )
    max_watts: Annotated[int | None, Field(ge=0, le=_MOST_WATTS)] = Field(
        default=None, description="What a node draws when everything runs; not below idleWatts. Default: not known."
    )

    @property
    def provisioning_s(self) -> float:
        return parse_duration(self.provisioning_time)

    @field_validator("provisioning_time_p90")
    @classmethod
    def _p90_is_not_below_the_median(cls, p90: str | None, info: ValidationInfo) -> str | None:
        median = info.data.get("provisioning_time")
        if p90 is not None and median is not None and parse_duration(p90) < parse_duration(median):
            raise ValueError(f"{p90} is below provisioningTime, the median; expected {median} or more")
        return p90

    @field_validator("max_nodes")
    @classmethod
    def _max_is_not_below_min(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min_nodes", 0)
        if most is not None and most < least:
            raise ValueError(f"{most} is below minNodes; expected {least} or more")
        return most

    @field_validator("max_watts")
    @classmethod
    def _watts_rise(cls, most: int | None, info: ValidationInfo) -> int | None:
        idle = info.data.get("idle_watts")
        if most is not None and idle is not None and most < idle:
            raise ValueError(f"{most} is below idleWatts; expected {idle} or more")
        return most
