"""From what a service file says of scaling to what policies take: bounds, the policy by name, a replica's price."""

from plimsoll.core.scaling import Bounds
from plimsoll.core.units import parse_quantity
from plimsoll.spec.nodes import NodeClass
from plimsoll.spec.platform import Platform
from plimsoll.spec.scaling_parts import Scaling
from plimsoll.spec.service import ModelService

_HPA_CPU = "70%"
_P99_SHARE = 0.01  # late or refused, which a p99 leaves


def bounds_of(service: ModelService, platform: Platform | None = None) -> Bounds:
    """`price_per_hour` is 0 where no node class has a price for it; costs then bound nothing."""
    price = price_per_hour(service, platform)
    return Bounds(
        least=service.min_replicas,
        most=service.max_replicas,
        p99_s=service.p99_s,
        timeout_s=service.timeout_s,
        max_batch=service.max_batch,
        zero_after_s=service.scale_to_zero_after_s,
        down_window_s=service.stabilization_window_s,
        cost_per_hour=service.cost_per_hour if price else None,
        cost_per_million=service.cost_per_million if price else None,
        price_per_hour=price or 0.0,
        missed_share=min(_P99_SHARE, service.error_rate or _P99_SHARE),
        cap_at_cost=service.cost_caps and price is not None,
    )


def policy_text(service: ModelService) -> str:
    """The policy with its settings, as `policy.scaling.named.make` takes it: budget, hpa-cpu:target=70%, fixed:3."""
    scaling = service.spec.scaling
    match scaling.policy:
        case "HPA":
            return _hpa(scaling)
        case "KPA":
            return "kpa" if scaling.kpa is None else f"kpa:concurrency={scaling.kpa.target}"
        case "Fixed":
            return f"fixed:{service.min_replicas}"
        case "Schedule":
            return _schedule(scaling)
    return "budget"


def _hpa(scaling: Scaling) -> str:
    hpa = scaling.hpa
    if hpa is not None and hpa.metric == "RequestsPerSecond":
        return f"hpa-rps:target={hpa.target}"
    target = _HPA_CPU if hpa is None else hpa.target or _HPA_CPU
    return f"hpa-cpu:target={target}"


def _schedule(scaling: Scaling) -> str:
    schedule = scaling.schedule
    if schedule is None:
        return "schedule"  # refused before it comes here
    lines = [f"{one.cron}={one.replicas}" for one in schedule.entries]
    return f"schedule:{';'.join(lines)};tz={schedule.time_zone}"


def price_per_hour(service: ModelService, platform: Platform | None) -> float | None:
    """What one replica costs an hour: on the cheapest node class that it fits on, that node's price times the share it
    takes of the resource it takes most of. None: it fits on no class, or there are none."""
    if platform is None:
        return None
    shares = ((one, share_of(service, one, platform)) for one in platform.spec.node_classes)
    prices = [float(one.price_per_hour) * share for one, share in shares if share is not None]
    return min(prices, default=None)


def share_of(service: ModelService, node: NodeClass, platform: Platform | None = None) -> float | None:
    """The part of a node that one replica takes, over 0 and up to 1; all of it where the class says no capacity. None:
    it doesn't fit, or the platform's class of its accelerator isn't on that node."""
    capacity, accelerator = node.capacity, service.spec.accelerator
    found = None if accelerator is None or platform is None else platform.accelerator_class(accelerator.class_)
    if accelerator is not None and (found is None or found.node_class != node.name):
        return None
    if capacity is None:
        return 1.0
    shares = []
    if capacity.cpu is not None:
        shares.append(service.cpus / parse_quantity(capacity.cpu))
    if capacity.memory is not None and service.memory_request_bytes is not None:
        shares.append(service.memory_request_bytes / parse_quantity(capacity.memory))
    if accelerator is not None and found is not None and capacity.accelerators is not None:
        shares.append(accelerator.count * found.of_one / capacity.accelerators)
    share = max(shares, default=1.0)
    return share if share <= 1 else None
