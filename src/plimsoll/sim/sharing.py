"""Several services on too little: what each gets of the replicas that were decided for them, by `policy.placement`."""

from collections.abc import Sequence

from plimsoll.core.scaling import Decision, Observation
from plimsoll.policy import placement
from plimsoll.sim.scenario import Scenario


def share(scenario: Scenario, seen: Sequence[Observation], decisions: Sequence[Decision]) -> list[int]:
    """Replicas for each service, in their order: all that they want, where `most_replicas` has room for it."""
    wanted = [decision.replicas for decision in decisions]
    most = scenario.most_replicas
    if most is None or sum(wanted) <= most:
        return wanted
    wants = [
        placement.want_of(service.name, one, count, service.bounds, priority=service.priority)
        for service, one, count in zip(scenario.services, seen, wanted, strict=True)
    ]
    shared = placement.share(wants, most)
    return [shared[service.name] for service in scenario.services]
