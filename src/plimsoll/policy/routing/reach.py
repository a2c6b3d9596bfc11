"""Whether a replica is worth a try: it let us connect, and lost nothing lately.

A replica that just died has nothing outstanding, so it would look like the best choice of all; and one that does not
let us connect must not cost each request a try.
"""

_AVOID_S = 1.0  # others go first for so long after it lost a request, or kept one beyond its deadline
# After a failed connection nobody tries again for so long, twice as long each time. A replica that is being restarted
# is there again after some 50 ms, and a word of the controller about it makes it worth a try at once.
_DOWN_FIRST_S, _DOWN_LONGEST_S = 0.05, 1.0


class Reach:
    """One for each replica. Times are seconds of the host's monotonic clock."""

    __slots__ = ("_pause_s", "avoid_until", "down_until", "well_from")

    def __init__(self) -> None:
        self.avoid_until = 0.0  # others go first
        self.down_until = 0.0  # nobody asks it
        self.well_from = 0.0  # the later of the two: one look instead of two
        self._pause_s = 0.0

    def lost(self, now: float) -> bool:
        """It lost a request. True: the first in a while, which is news."""
        news = self.avoid_until <= now
        self.avoid_until = now + _AVOID_S
        self._settle()
        return news

    def unreachable(self, now: float) -> bool:
        """It did not let us connect. True: an outage begins."""
        news = not self._pause_s
        self._pause_s = min(self._pause_s * 2, _DOWN_LONGEST_S) or _DOWN_FIRST_S
        self.down_until = now + self._pause_s
        self._settle()
        return news

    def reached(self) -> bool:
        """It let us connect. True: an outage ends."""
        news = self._pause_s > 0.0
        self._pause_s = self.down_until = 0.0
        self._settle()
        return news

    def renewed(self) -> None:
        """The controller speaks of it anew: worth a try at once. Its next failure is still the outage's."""
        self.down_until = 0.0
        self._settle()

    def _settle(self) -> None:
        self.well_from = max(self.avoid_until, self.down_until)
