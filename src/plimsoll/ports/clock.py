"""Who supplies `now`: the event loop's clock in the live hosts, a number in tests and in the simulator."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        ...
