"""Bodies that killed a replica are refused for a while, so that one poison request can't empty a fleet."""


class Quarantine:
    """Digests of request bodies, each for `ttl_s`; of more than `capacity` the oldest is let go."""

    __slots__ = ("capacity", "known", "ttl_s")

    def __init__(self, ttl_s: float = 60.0, capacity: int = 1024) -> None:
        self.ttl_s = ttl_s
        self.capacity = capacity
        self.known: dict[
            bytes, float
        ] = {}  # until when, in the order they were added; a host skips the digest while empty

    def __len__(self) -> int:
        """How many are kept, those whose time is over included."""
        return len(self.known)

    def add(self, digest: bytes, now: float) -> None:
        until = self.known
        until.pop(digest, None)
        until[digest] = now + self.ttl_s
        while len(until) > self.capacity:
            del until[next(iter(until))]

    def holds(self, digest: bytes, now: float) -> bool:
        until = self.known.get(digest)
        if until is None:
            return False
        if until > now:
            return True
        # As each stays equally long, the first in order are the first to go.
        while self.known:
            first = next(iter(self.known))
            if self.known[first] > now:
                break
            del self.known[first]
        return False
