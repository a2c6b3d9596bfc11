"""What is simulated: services with their traffic and budgets, the nodes below, and what goes wrong. Plain data."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace


@dataclass(frozen=True, slots=True)
class Traffic:
    """`trace` as `sim.traffic.prepare` made it (sped up, scaled, sliced already). `seed`: of the times drawn:
    `sim.traffic.chunks` gives them in order, in arrays; `sim.traffic.counts` the same requests in each step."""

    trace: Trace
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Service:
    """`policy`: as on the command line: budget, hpa-cpu, hpa-rps, kpa, keda, fixed:8, schedule:…; with settings behind
    a colon where it has some. `needs`: what one replica takes of a node's capacity, by resource (cpu cores, memory
    bytes, gpu). `queue_cap`: the most requests waiting at a replica; None: bounded by prediction alone."""

    name: str
    traffic: Traffic
    profile: Profile
    bounds: Bounds
    policy: str = "budget"
    start_replicas: int | None = None  # at the beginning; None: the fewest
    linger_s: float = 0.0
    hold_s: float = 30.0
    network_s: float = 0.0002  # one way, gateway to replica; of no account where the profile has a gateway's
    needs: dict[str, float] = field(default_factory=lambda: {"cpu": 1.0})
    priority: int = 0
    spares: int | None = None  # None: as the policy says
    queue_cap: int | None = None
    max_batch_one: bool = False  # one request at a time, as servers without batching
    workers: int = 1  # batches that a replica computes at once
    draw: str = "lognormal"  # what a batch's time is drawn from; "exponential": to be held against closed forms


@dataclass(frozen=True, slots=True)
class NodeClass:
    """`capacity` by resource, as in `Service.needs`. `least` and `most` nodes of it; `idle_after_s`: an empty node
    above `least` goes away after it. `mtbf_s`: mean time between failures of one node; None: they don't fail."""

    name: str
    capacity: dict[str, float]
    price_per_hour: float = 0.0
    provisioning_s: float = 0.0
    provisioning_p90_s: float | None = None
    least: int = 0
    most: int | None = None
    idle_after_s: float = 600.0
    idle_watts: float = 0.0
    max_watts: float = 0.0
    mtbf_s: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at_s`, `share` of the ready replicas of `service` ("" for all) die (kind "kill"), stop for `for_s`
    ("freeze"), never get ready while it lasts ("start"), or metrics stop for `for_s` ("metrics")."""

    at_s: float
    kind: str
    share: float = 0.0
    for_s: float = 0.0
    service: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Without `nodes` there is room for every replica at once. `most_replicas`: of all services together (a machine's
    or a cluster's room); shared by `policy.placement` when more are wanted."""

    services: Sequence[Service]
    seconds: float | None = None  # None: as long as the longest trace
    nodes: Sequence[NodeClass] = ()
    faults: Sequence[Fault] = ()
    seed: int = 1
    most_replicas: int | None = None
    gateways: int = 1
    start_s: float = 0.0  # the virtual clock where the traces begin
