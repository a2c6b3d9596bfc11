"""From what the metrics ask for to what may be done now: stabilization, rate policies, min and max.

As in horizontal.go. The lists of recommendations and events are changed in place: a new entry takes the place of one
that is too old to count, so they stay as short as the windows are.
"""

from dataclasses import dataclass, replace

from plimsoll.policy.scaling.hpa.arithmetic import MAX_INT32, MIN_INT32, ceiled, int32, truncated
from plimsoll.policy.scaling.hpa.objects import (
    RatePolicy,
    RatePolicyType,
    Recommendation,
    ScaleEvent,
    ScalingRules,
    SelectPolicy,
)

# Where a spec has a behavior, what it leaves open is this (SetDefaults_HorizontalPodAutoscalerBehavior).
DEFAULT_UP = ScalingRules(
    0, SelectPolicy.MAX, (RatePolicy(RatePolicyType.PODS, 4, 15), RatePolicy(RatePolicyType.PERCENT, 100, 15))
)
# The window stays open: it is the controller's downscale stabilization.
DEFAULT_DOWN = ScalingRules(None, SelectPolicy.MAX, (RatePolicy(RatePolicyType.PERCENT, 100, 15),))

WITHIN = "DesiredWithinRange"
TOO_FEW = "TooFewReplicas"
TOO_MANY = "TooManyReplicas"
UP_LIMIT = "ScaleUpLimit"
DOWN_LIMIT = "ScaleDownLimit"


def scale_up_rules(rules: ScalingRules | None) -> ScalingRules:
    return _filled(rules, DEFAULT_UP)


def scale_down_rules(rules: ScalingRules | None, window_s: int | None = None) -> ScalingRules:
    """`window_s`: the controller's downscale stabilization, for rules without a window of their own."""
    filled = _filled(rules, DEFAULT_DOWN)
    return filled if filled.stabilization_window_s is not None else replace(filled, stabilization_window_s=window_s)


def _filled(rules: ScalingRules | None, defaults: ScalingRules) -> ScalingRules:
    if rules is None:
        return defaults
    return ScalingRules(
        defaults.stabilization_window_s if rules.stabilization_window_s is None else rules.stabilization_window_s,
        rules.select_policy or defaults.select_policy,
        defaults.policies if rules.policies is None else rules.policies,
        defaults.tolerance if rules.tolerance is None else rules.tolerance,
    )


def stabilize(recommendations: list[Recommendation], desired: int, *, window_s: float, now: float) -> int:
    """Without behavior: the most that was recommended in the window, this time included."""
    most, old = desired, None
    cutoff = now - window_s
    for at, past in enumerate(recommendations):
        if past.timestamp < cutoff:
            old = at
        elif past.replicas > most:
            most = past.replicas
    _record(recommendations, old, desired, now)
    return most


def stabilize_with_behavior(
    recommendations: list[Recommendation],
    current: int,
    desired: int,
    *,
    up_window_s: float,
    down_window_s: float,
    now: float,
) -> int:
    """`current`, brought between the least that was recommended in the up window and the most in the down window, this
    time included. What is recorded is `desired` itself."""
    least = most = desired
    up_cutoff, down_cutoff = now - up_window_s, now - down_window_s
    old = None
    for at, past in enumerate(recommendations):
        if past.timestamp > up_cutoff:
            least = min(least, past.replicas)
        if past.timestamp > down_cutoff:
            most = max(most, past.replicas)
        if past.timestamp < up_cutoff and past.timestamp < down_cutoff:
            old = at
    _record(recommendations, old, desired, now)
    return min(max(current, least), most)


def _record(recommendations: list[Recommendation], old: int | None, desired: int, now: float) -> None:
    if old is None:
        recommendations.append(Recommendation(desired, now))
    else:
        recommendations[old] = Recommendation(desired, now)


def convert(current: int, desired: int, least: int, most: int) -> tuple[int, str]:
    """(replicas, why) without behavior: within min and max, and at most twice as many as now, or 4."""
    up_limit = scale_up_cap(current)
    allowed, why = (up_limit, UP_LIMIT) if most > up_limit else (most, TOO_MANY)
    if desired < least:
        return least, TOO_FEW
    if desired > allowed:
        return allowed, why
    return desired, WITHIN


def scale_up_cap(current: int) -> int:
    return truncated(max(2.0 * current, 4.0))


@dataclass(frozen=True, slots=True)
class RateArgs:
    """What rate policies look at. The rules are filled in (`scale_up_rules`, `scale_down_rules`)."""

    current: int
    desired: int
    least: int
    most: int
    up: ScalingRules
    down: ScalingRules


def convert_with_behavior(
    args: RateArgs, up_events: list[ScaleEvent], down_events: list[ScaleEvent], *, now: float
) -> tuple[int, str]:
    """(replicas, why) with behavior: within min and max and what the rate policies leave."""
    if args.desired > args.current:
        # Many recent events under policies that were wider then: the limit can lie below what there is already.
        limit = max(args.current, scale_up_limit(args.current, up_events, down_events, args.up, now=now))
        allowed, why = (limit, UP_LIMIT) if args.most > limit else (args.most, TOO_MANY)
        if args.desired > allowed:
            return allowed, why
    elif args.desired < args.current:
        limit = min(args.current, scale_down_limit(args.current, up_events, down_events, args.down, now=now))
        allowed, why = (limit, DOWN_LIMIT) if args.least < limit else (args.least, TOO_FEW)
        if args.desired < allowed:
            return allowed, why
    return args.desired, WITHIN


def scale_up_limit(
    current: int, up_events: list[ScaleEvent], down_events: list[ScaleEvent], rules: ScalingRules, *, now: float
) -> int:
    """The most replicas the policies allow. A percentage is rounded up: 1 + 50% would stay at 1 for ever."""
    if rules.select_policy is SelectPolicy.DISABLED:
        return current
    smallest = rules.select_policy is SelectPolicy.MIN
    result = MAX_INT32 if smallest else MIN_INT32
    for policy in rules.policies or ():
        start = _at_period_start(current, policy.period_s, up_events, down_events, now)
        if policy.type is RatePolicyType.PODS:
            proposed = int32(start + policy.value)
        else:
            proposed = ceiled(start * (1 + policy.value / 100))
        result = min(result, proposed) if smallest else max(result, proposed)
    return result


def scale_down_limit(
    current: int, up_events: list[ScaleEvent], down_events: list[ScaleEvent], rules: ScalingRules, *, now: float
) -> int:
    """The fewest replicas the policies allow. A percentage is cut off: 5 - 50% is 2."""
    if rules.select_policy is SelectPolicy.DISABLED:
        return current
    smallest = rules.select_policy is SelectPolicy.MIN
    result = MIN_INT32 if smallest else MAX_INT32
    for policy in rules.policies or ():
        start = _at_period_start(current, policy.period_s, up_events, down_events, now)
        if policy.type is RatePolicyType.PODS:
            proposed = int32(start - policy.value)
        else:
            proposed = truncated(start * (1 - policy.value / 100))
        result = max(result, proposed) if smallest else min(result, proposed)
    return result


def _at_period_start(
    current: int, period_s: float, up_events: list[ScaleEvent], down_events: list[ScaleEvent], now: float
) -> int:
    added = change_in_period(up_events, period_s, now=now)
    removed = change_in_period(down_events, period_s, now=now)
    return int32(current - added + removed)


def change_in_period(events: list[ScaleEvent], period_s: float, *, now: float) -> int:
    """Replicas by which these events changed the count within the period, its first instant not included."""
    cutoff = now - period_s
    return sum(event.replica_change for event in events if event.timestamp > cutoff)


def store_event(events: list[ScaleEvent], rules: ScalingRules | None, replica_change: int, *, now: float) -> None:
    """Remember an act, in the list of its direction, as long as the longest period asks for it. `rules` None: there is
    no behavior, nobody will ask."""
    if rules is None:
        return
    cutoff = now - max((policy.period_s for policy in rules.policies or ()), default=0)
    old = None
    for at, event in enumerate(events):
        if event.timestamp < cutoff:
            event.outdated = True
        if event.outdated:
            old = at
    if old is None:
        events.append(ScaleEvent(replica_change, now))
    else:
        events[old] = ScaleEvent(replica_change, now)
