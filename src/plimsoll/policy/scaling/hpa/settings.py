"""The settings of `hpa-cpu` and `hpa-rps`, and their short notation: `hpa-cpu:70`, `hpa-rps:target=400,down=120`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.scaling.hpa.behavior import DEFAULT_DOWN, DEFAULT_UP
from plimsoll.policy.scaling.hpa.objects import Behavior, RatePolicy, RatePolicyType, ScalingRules, SelectPolicy
from plimsoll.policy.scaling.settings import nearest, number, read_settings, seconds

FLAVOURS = ("hpa-cpu", "hpa-rps")


@dataclass(frozen=True, slots=True)
class HpaSettings:
    """`flavour`: hpa-cpu aims at `target_cpu` percent of the request, hpa-rps at `target_rps` requests a second and
    replica (None: `default_target_rps`). The rest is kube-controller-manager's, with its defaults.

    `window_s`: over how long requests are averaged. Usage of cpu is averaged over the sync period, as metrics-server's
    resolution is 15 s, too. `down_s`: downscale stabilization; None: the service's own, else 300 s.
    """

    flavour: str = "hpa-cpu"
    target_cpu: int = 70
    target_rps: float | None = None
    sync_s: float = 15.0
    tolerance: float = 0.1
    down_s: float | None = None
    window_s: float = 60.0
    cpu_initialization_s: float = 300.0
    readiness_delay_s: float = 30.0
    behavior: Behavior | None = None


def default_target_rps(learned: ServiceTime, p99_s: float | None, max_batch: int | None) -> float:
    """70% of what a replica does at the largest batch that keeps the budget: a request that just missed one batch waits
    for it and then for its own, so 2·t(b) is at most the p99 budget. Without a budget, batches of 64."""
    size = 64 if p99_s is None else learned.largest_within(p99_s / 2)
    if max_batch is not None:
        size = min(size, max_batch)
    # 10,000 items are as good as no bound, and no float.
    capacity = learned.capacity(max(1, min(size, 10_000)))
    return 0.7 * capacity if capacity < 1e9 else 1e9


def _percent(text: str) -> int:
    digits = text.removesuffix("%").strip()
    if not (digits.isascii() and digits.isdecimal()) or not 1 <= int(digits[:10]) <= 100_000:
        raise ValueError("expected a whole percentage of the request, such as 70")
    return int(digits)


def _window(text: str) -> float:
    found = seconds(text)
    if not 0 <= found <= 3600:
        raise ValueError("expected at most 3600 s, as in Kubernetes")
    return float(found)


def _period(text: str) -> float:
    found = seconds(text)
    if not 1 <= found <= 3600:
        raise ValueError("expected 1 s to 3600 s")
    return float(found)


def _rate(kind: RatePolicyType) -> Callable[[str], RatePolicy]:
    def read(text: str) -> RatePolicy:
        value, slash, period = text.partition("/")
        wrong = ValueError("expected a count and a period, such as 4/15s: 4 in any 15 seconds")
        digits = value.strip().removesuffix("%")
        if not slash or not (digits.isascii() and digits.isdecimal()) or not 1 <= int(digits[:12]) < 2**31:
            raise wrong
        try:
            period_s = seconds(period.strip())
        except ValueError:
            raise wrong from None
        if not 1 <= period_s <= 1800 or period_s != int(period_s):
            raise ValueError("expected a period of whole seconds, 1800 at most, as in Kubernetes")
        return RatePolicy(kind, int(digits), int(period_s))

    return read


def _select(text: str) -> SelectPolicy:
    try:
        return SelectPolicy(text.capitalize())
    except ValueError:
        raise ValueError("expected Max, Min or Disabled") from None


def _target_rps(text: str) -> float:
    return number(0.001, 1e9)(text.removesuffix("/s"))


_KEYS: dict[str, Callable[[str], Any]] = {
    "tolerance": number(0.0, 100.0),
    "sync": _period,
    "down": _window,
    "init": seconds,
    "delay": seconds,
    "up": _window,
    "up_pods": _rate(RatePolicyType.PODS),
    "up_percent": _rate(RatePolicyType.PERCENT),
    "up_select": _select,
    "up_tolerance": number(0.0, 100.0),
    "down_pods": _rate(RatePolicyType.PODS),
    "down_percent": _rate(RatePolicyType.PERCENT),
    "down_select": _select,
    "down_tolerance": number(0.0, 100.0),
}


def parse_settings(text: str) -> HpaSettings:
    """`hpa-cpu`, `hpa-cpu:70`, `hpa-rps:400`, `hpa-rps:target=400,down=300,up_pods=4/60`: docs/scaling-hpa.md has every
    key. Any of up, up_… and down_… makes a `behavior`. Raises ValueError that names the key and what it expects."""
    flavour, _, rest = (part.strip() for part in text.partition(":"))
    if flavour not in FLAVOURS:
        raise ValueError(f"unknown policy {flavour!r}{nearest(flavour, FLAVOURS)}; there are {', '.join(FLAVOURS)}")
    first, comma, others = rest.partition(",")
    if first.strip() and "=" not in first:  # `hpa-cpu:70` is `hpa-cpu:target=70`
        rest = f"target={first}{comma}{others}"
    known: dict[str, Callable[[str], Any]] = {"target": _percent if flavour == "hpa-cpu" else _target_rps, **_KEYS}
    if flavour == "hpa-rps":
        known["window"] = _period
    found = read_settings(rest, known, flavour)
    plain: dict[str, Any] = {
        field: found[key]
        for key, field in (
            ("target", "target_cpu" if flavour == "hpa-cpu" else "target_rps"),
            ("sync", "sync_s"),
            ("tolerance", "tolerance"),
            ("down", "down_s"),
            ("window", "window_s"),
            ("init", "cpu_initialization_s"),
            ("delay", "readiness_delay_s"),
        )
        if key in found
    }
    return HpaSettings(flavour, behavior=_behavior(found), **plain)


def _behavior(found: dict[str, Any]) -> Behavior | None:
    if not any(key == "up" or key.startswith(("up_", "down_")) for key in found):
        return None
    return Behavior(_rules(found, "up", found.get("up")), _rules(found, "down", None))


def _rules(found: dict[str, Any], way: str, window_s: float | None) -> ScalingRules:
    policies = tuple(found[key] for key in (f"{way}_pods", f"{way}_percent") if key in found)
    defaults = DEFAULT_UP if way == "up" else DEFAULT_DOWN
    return ScalingRules(
        defaults.stabilization_window_s if window_s is None else int(window_s),
        found.get(f"{way}_select"),
        policies or None,
        found.get(f"{way}_tolerance"),
    )
