"""When a store of answers is let alone: a dead one costs one request a wait, not each.

After a failure nobody uses it for a second. Then one probe, which no request waits for, decides: used again, or left
alone for twice as long, up to half a minute.
"""

from enum import Enum


class Use(Enum):
    YES = "yes"
    NO = "no"
    PROBE = "probe"  # no; and it is time to find out whether it answers again: then `worked` or `failed`


class Breaker:
    __slots__ = ("_first_s", "_most_s", "_pause_s", "_probing", "_until", "failures")

    def __init__(self, first_s: float = 1.0, most_s: float = 30.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._pause_s = 0.0  # 0: in use
        self._until = 0.0
        self._probing = False
        self.failures = 0  # in a row

    @property
    def closed(self) -> bool:
        """In use: the last that was heard of it was good."""
        return self._pause_s == 0.0

    def ask(self, now: float) -> Use:
        if self._pause_s == 0.0:
            return Use.YES
        if self._probing or now < self._until:
            return Use.NO
        self._probing = True
        return Use.PROBE

    def failed(self, now: float) -> bool:
        """True where this is news: an outage begins. What was in flight when it began fails late, and counts once."""
        news = self._pause_s == 0.0
        if not news and not self._probing:
            return False
        self.failures += 1
        self._pause_s = self._first_s if news else min(self._pause_s * 2, self._most_s)
        self._until = now + self._pause_s
        self._probing = False
        return news

    def worked(self) -> bool:
        """True where this is news: an outage ends."""
        news = self._pause_s != 0.0
        self._pause_s = 0.0
        self._probing = False
        self.failures = 0
        return news
