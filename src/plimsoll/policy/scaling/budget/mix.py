"""Which kinds of replicas make up a count, where their prices differ: the cheapest capacity first."""

from collections.abc import Mapping, Sequence
from math import ceil

from plimsoll.core.scaling import ReplicaKind


def cheapest_mix(replicas: int, kinds: Sequence[ReplicaKind]) -> Mapping[str, int]:
    """Counts by kind that together do what `replicas` of speed 1 do. Empty where there are no kinds.

    Greedy by price per speed, which is least in cost but for the last replica; that one is the cheapest that suffices
    for what is left.
    """
    left = float(replicas)
    mix: dict[str, int] = {}
    for kind in sorted(kinds, key=lambda kind: (kind.price_per_hour / kind.speed, kind.name)):
        if left <= 1e-9 or kind.speed <= 0.0:
            continue
        count = int(left / kind.speed + 1e-9)
        mix[kind.name] = count if kind.most is None else min(count, kind.most)
        left -= mix[kind.name] * kind.speed
    rooms = [kind for kind in kinds if kind.speed > 0.0 and (kind.most is None or mix.get(kind.name, 0) < kind.most)]
    while left > 1e-9 and rooms:
        last = min(rooms, key=lambda kind: kind.price_per_hour * ceil(left / kind.speed))
        mix[last.name] = mix.get(last.name, 0) + 1
        left -= last.speed
        rooms = [kind for kind in rooms if kind.most is None or mix.get(kind.name, 0) < kind.most]
    return {name: count for name, count in mix.items() if count}
