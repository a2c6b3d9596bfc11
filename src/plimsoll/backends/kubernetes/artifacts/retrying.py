"""When a failed transfer is tried again: a plain object; who uses it sleeps."""

from dataclasses import dataclass, field

_FIRST_S, _LONGEST_S = 0.5, 30.0


@dataclass(slots=True)
class Retries:
    """`tries`: how many in a row may fail without a byte of progress. Waits 0.5, 1, 2, … up to 30 s, and what a server
    asks for, up to the same."""

    tries: int = 6
    _failed: int = field(default=0)

    def progressed(self) -> None:
        self._failed = 0

    def after_failure(self, retry_after_s: float | None = None) -> float | None:
        """Seconds to wait, None to give up."""
        self._failed += 1
        if self._failed >= self.tries:
            return None
        wait = _FIRST_S * 2.0 ** (self._failed - 1)
        return min(_LONGEST_S, max(wait, retry_after_s or 0.0))
