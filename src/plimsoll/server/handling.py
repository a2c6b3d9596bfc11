"""What a request costs a replica beside its model: reading, queueing, answering, on the loop's thread."""

from dataclasses import replace

from plimsoll.core.service_time import ServiceTime

_LEAST_REQUESTS = 100  # between two looks: fewer, and the loop's own ticks would count as theirs
_WEIGHT = 0.3  # of the newest look


class Handling:
    """A model of 4 us an item behind 35 us of handling serves 25,000 items a second, not 250,000: whoever counts
    replicas must know. Loop and model are taken to share one core, as they do where replicas have one each."""

    __slots__ = ("_last", "request_s")

    def __init__(self) -> None:
        self.request_s = 0.0
        self._last: tuple[float, int] | None = None

    def look(self, thread_s: float, requests: int) -> None:
        """Both since the start: processor seconds of the loop's thread, and requests that ended."""
        last = self._last
        if last is None:
            self._last = (thread_s, requests)
            return
        count = requests - last[1]
        if count < _LEAST_REQUESTS:
            return
        each = max(0.0, thread_s - last[0]) / count
        self.request_s += (_WEIGHT if self.request_s else 1.0) * (each - self.request_s)
        self._last = (thread_s, requests)

    def beside(self, model: ServiceTime) -> ServiceTime:
        """What the replica takes for a batch, model and all."""
        return replace(model, c_s=model.c_s + self.request_s) if self.request_s else model
