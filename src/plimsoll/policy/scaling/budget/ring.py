"""The last looks' counts, as small as they are: of a byte each while none is over 255, as most services' are."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WIDER: tuple[tuple[float, type[np.generic]], ...] = (
    (2.0**8 - 1, np.uint8),
    (2.0**16 - 1, np.uint16),
    (2.0**32 - 1, np.uint32),
    (np.inf, np.float64),
)


class CountRing:
    """`rows` looks of `width` whole counts each, all `filled` with the same at first. Nothing is rounded: the ring gets
    wider when a count doesn't fit, and no narrower again."""

    __slots__ = ("_most", "rows")

    def __init__(self, rows: int, filled: Floats) -> None:
        self.rows: NDArray[np.generic] = np.zeros((rows, len(filled)), dtype=np.uint8)
        self._most = _WIDER[0][0]
        self._fit(filled)
        self.rows[:] = filled

    def __len__(self) -> int:
        return len(self.rows)

    def put(self, at: int, counts: Floats) -> None:
        self._fit(counts)
        self.rows[at] = counts

    def _fit(self, counts: Floats) -> None:
        most = float(counts.max())
        if most <= self._most:
            return
        self._most, kind = next((room, kind) for room, kind in _WIDER if most <= room)
        self.rows = self.rows.astype(kind)
