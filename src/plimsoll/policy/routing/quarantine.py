"""Bodies that killed a replica are refused for a while, so that one poison request can't empty a fleet."""


class Quarantine:
    """Digests of request bodies, each for `ttl_s`; of more than `capacity` the oldest is let go."""

    __slots__ = ("_until", "capacity", "ttl_s")

    def __init__(self, ttl_s: float = 60.0, capacity: int = 1024) -> None:
        self.ttl_s = ttl_s
        self.capacity = capacity
        self._until: dict[bytes, float] = {}  # in the order they were added

    def __len__(self) -> int:
        """How many are kept, those whose time is over included: a host skips the digest while it is 0."""
        return len(self._until)

    def add(self, digest: bytes, now: float) -> None:
        until = self._until
        until.pop(digest, None)
        until[digest] = now + self.ttl_s
        while len(until) > self.capacity:
            del until[next(iter(until))]

    def holds(self, digest: bytes, now: float) -> bool:
        until = self._until.get(digest)
        if until is None:
            return False
        if until > now:
            return True
        # As each stays equally long, the first in order are the first to go.
        while self._until:
            first = next(iter(self._until))
            if self._until[first] > now:
                break
            del self._until[first]
        return False
