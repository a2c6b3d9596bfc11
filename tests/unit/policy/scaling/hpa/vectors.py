"""The cases of tests/vectors/hpa as this project's objects. `NOW` stands for the moment their times are relative to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plimsoll.policy.scaling.hpa.objects import (
    Container,
    Phase,
    Pod,
    PodUsage,
    RatePolicy,
    RatePolicyType,
    ReadyCondition,
    ScaleEvent,
    ScalingRules,
    SelectPolicy,
    Status,
    Target,
    TargetType,
    Tolerances,
)

NOW = 1_000_000.0
LONG_AGO = 0.0
FOLDER = Path(__file__).parents[4] / "vectors" / "hpa"
# As in the source of the vectors.
CPU_INITIALIZATION_S = 120.0
READINESS_DELAY_S = 10.0

Case = dict[str, Any]


def cases(name: str) -> list[Case]:
    found: list[Case] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    assert len({case["name"] for case in found}) == len(found) > 0
    return found


def title(case: Case) -> str:
    return str(case["name"])


def containers(milli: Sequence[int | None], resource: str) -> tuple[Container, ...]:
    return tuple(
        Container(name, {} if value is None else {resource: value}) for name, value in zip("ab", milli, strict=False)
    )


def pods(case: Case, *, resource: str = "cpu", changed_at_start: bool = False) -> list[Pod]:
    """p0, p1, …"""
    found = []
    for number, one in enumerate(case["pods"]):
        started = NOW + one["started"] if "started" in one else LONG_AGO
        found.append(
            Pod(
                f"p{number}",
                Phase(one.get("phase", "Running")),
                ReadyCondition(Status(one.get("ready", "True")), started if changed_at_start else LONG_AGO),
                start_time=started,
                deleted=one.get("deleted", False),
                containers=containers(one.get("requests", ()), resource),
            )
        )
    return found


def usage(levels: Sequence[Case], resource: str, timestamp: float) -> list[PodUsage]:
    return [
        PodUsage(
            one.get("pod", f"p{number}"),
            {name: {resource: value} for name, value in zip("ab", one["values"], strict=False)},
            timestamp,
            60.0,
        )
        for number, one in enumerate(levels)
    ]


def target(case: Case) -> Target | None:
    for kind, value in case.get("target", {}).items():
        return Target(TargetType(kind), value)
    return None


def tolerances(case: Case) -> Tolerances:
    down, up = case.get("tolerances", (0.1, 0.1))
    return Tolerances(scale_down=down, scale_up=up)


def rules(found: Case | None) -> ScalingRules | None:
    if found is None:
        return None
    policies = found.get("policies")
    return ScalingRules(
        found.get("window"),
        SelectPolicy(found["select"]) if "select" in found else None,
        None if policies is None else tuple(RatePolicy(RatePolicyType(kind), *rest) for kind, *rest in policies),
        found.get("tolerance"),
    )


def events(found: Sequence[tuple[int, float]]) -> list[ScaleEvent]:
    return [ScaleEvent(change, NOW + at) for change, at in found]
