"""Session affinity by rendezvous hashing: each key ranks the replicas, and goes to the first that is usable.

Highest random weight: Thaler & Ravishankar, "Using name-based mappings to increase hit rates" (IEEE/ACM Transactions on
Networking 6(1), 1998). When a replica leaves, only its own keys move, and they spread over all others; when one joins,
it takes 1/n of the keys and nothing else moves. Every gateway computes the same ranking from the names alone.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b

_MASK = 2**64 - 1
_ODD = 0xFF51AFD7ED558CCD  # the 64-bit finaliser of MurmurHash3 (Appleby, public domain)


class Rendezvous:
    """The replicas of one service, made anew when they change. Results are indices into `names`, in the order given."""

    __slots__ = ("_seeds", "names")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._seeds = [_digest(name.encode()) for name in self.names]

    def best(self, key: bytes, usable: Callable[[int], bool] | None = None) -> int | None:
        """The first of `key`'s ranking; the first that is `usable(index)`, if that is asked. None: nobody."""
        weights = self._weights(key)
        if not weights:
            return None
        best = weights.index(max(weights))
        if usable is None or usable(best):
            return best
        for index in _ranked(weights)[1:]:
            if usable(index):
                return index
        return None

    def order(self, key: bytes) -> list[int]:
        """All of them, as `key` ranks them."""
        return _ranked(self._weights(key))

    def _weights(self, key: bytes) -> list[int]:
        """One hash of the key, then 0.2 us for each replica: a hash of each pair would cost 0.7."""
        digest = _digest(key)
        weights = []
        for seed in self._seeds:
            mixed = ((digest ^ seed) * _ODD) & _MASK
            weights.append(((mixed ^ mixed >> 32) * _ODD) & _MASK)
        return weights


def _ranked(weights: list[int]) -> list[int]:
    return sorted(range(len(weights)), key=weights.__getitem__, reverse=True)


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
