"""The last looks' counts, as small as they are: of a byte each while none is over 255, as most services' are."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WIDER = (np.uint8, np.uint16, np.uint32, np.float64)


class CountRing:
    """`rows` looks of `width` whole counts each, all `filled` with the same at first. Nothing is rounded: the ring gets
    wider when a count doesn't fit, and no narrower again."""

    __slots__ = ("_most", "rows")

    def __init__(self, rows: int, filled: Floats) -> None:
        self.rows: NDArray[np.generic] = np.zeros((rows, len(filled)), dtype=_WIDER[0])
        self._most = 255.0
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
        for kind in _WIDER:
            self._most = float(np.iinfo(kind).max) if issubclass(kind, np.integer) else np.inf
            if most <= self._most:
                self.rows = self.rows.astype(kind)
                return
