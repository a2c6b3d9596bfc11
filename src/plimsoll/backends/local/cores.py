"""Which cores a replica gets for itself.

Pinning makes a replica's capacity its own, so that what one has learned of its service time holds for the next one,
and adding a replica adds a core. It does harm where cores are scarce: two replicas on one core while another idles.
So either every replica that asks for whole cores gets them, or nobody is pinned.
"""

import math
from collections.abc import Mapping, Sequence

Cores = tuple[int, ...]


def allot(wanted: Mapping[str, float], cores: Sequence[int], held: Mapping[str, Cores]) -> dict[str, Cores]:
    """Cores by replica; empty means any. `wanted`: cpus by replica, `held`: what they have now and keep if possible.

    The first core is nobody's: gateway and controller need one. Replicas that want less than a core share all.
    """
    needs = {replica: math.floor(cpus) for replica, cpus in wanted.items() if cpus >= 1}
    free = list(cores[1:])
    found: dict[str, Cores] = dict.fromkeys(wanted, ())
    if sum(needs.values()) > len(free):
        return found
    for replica, need in needs.items():
        kept = held.get(replica, ())
        if len(kept) == need and set(kept) <= set(free):
            found[replica] = kept
            free = [core for core in free if core not in kept]
    for replica, need in needs.items():
        if not found[replica]:
            found[replica], free = tuple(free[:need]), free[need:]
    return found
