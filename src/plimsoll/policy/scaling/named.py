"""Scaling policies by name, as a command line, a scenario and a service file write them. A policy's module is imported
when it is asked for."""

from plimsoll.core.scaling import Bounds, ScalingPolicy
from plimsoll.policy.scaling.settings import nearest

# Settings follow a colon: `fixed:8`, `kpa:target=10,window=30s`. See docs/scaling-peers.md and docs/scaling-hpa.md.
NAMES = ("budget", "hpa-cpu", "hpa-rps", "kpa", "keda", "fixed", "schedule")


def make(text: str, bounds: Bounds, *, epoch_s: float = 0.0) -> ScalingPolicy:
    """The policy `text` names, fresh. `epoch_s`: Unix seconds at the moment the host's clock shows 0, for policies that
    look at the calendar. Raises ValueError that names the nearest known name, or what is wrong with the settings."""
    name, _, settings = (part.strip() for part in text.partition(":"))
    match name:
        case "budget":
            from plimsoll.policy.scaling.budget import BudgetScaling, parse_settings

            return BudgetScaling(bounds, parse_settings(settings))
        case "hpa-cpu" | "hpa-rps":
            from plimsoll.policy.scaling.hpa import adapter

            return adapter.HpaScaling(bounds, adapter.parse_settings(text.strip()))
        case "kpa":
            from plimsoll.policy.scaling.kpa import adapter as kpa

            return kpa.KpaScaling(bounds, kpa.parse_settings(settings))
        case "keda":
            from plimsoll.policy.scaling.keda import adapter as keda

            return keda.KedaScaling(bounds, keda.parse_settings(settings))
        case "fixed":
            from plimsoll.policy.scaling.fixed import FixedScaling, parse_count

            return FixedScaling(bounds, parse_count(settings))
        case "schedule":
            from plimsoll.policy.scaling.schedule import ScheduleScaling, parse_schedule

            return ScheduleScaling(bounds, parse_schedule(settings), epoch_s=epoch_s)
    raise ValueError(f"unknown scaling policy {name!r}{nearest(name, NAMES)}; there are {', '.join(NAMES)}")


def split(text: str, also: tuple[str, ...] = ("oracle",)) -> list[str]:
    """A list of policies as one argument: `budget,kpa:target=10,window=30s,fixed:8` is three. A comma separates
    policies unless what follows belongs to the settings before it: it holds a `=` and begins with no known name.
    `also`: names beside NAMES that the caller knows."""
    known = {*NAMES, *also}
    found: list[str] = []
    for part in (piece.strip() for piece in text.split(",")):
        if not part:
            continue
        continues = found and ":" in found[-1] and part.partition(":")[0] not in known
        if continues and ("=" in part or found[-1].startswith("schedule:")):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found
