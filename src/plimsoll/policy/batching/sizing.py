"""How large a batch should be: closed forms over t(b) = a + c·b.

With capacity(b) = b / (a + c·b) items a second:
- the knee is the smallest b whose doubling gains less than 5%: capacity(2b) < 1.05 · capacity(b) solves to
  b > 9.5 · a / c. Beyond it a larger batch only makes its own members wait.
- the smallest b that keeps up with r items a second: b / (a + c·b) >= r solves to b >= r·a / (1 - r·c).
"""

from math import ceil

_GAIN = 1.05
_KNEE = (2 - _GAIN) / (2 * (_GAIN - 1))  # 9.5
UNBOUNDED = 10**9


def knee(a_s: float, c_s: float) -> int:
    """The smallest batch whose doubling gains less than 5% of items a second; 1 where batching gains nothing."""
    if c_s * UNBOUNDED <= _KNEE * a_s:
        return UNBOUNDED
    return int(_KNEE * a_s / c_s) + 1


def keeping_up(a_s: float, c_s: float, rate: float) -> int:
    """The smallest batch with capacity of at least `rate` items a second; UNBOUNDED where none has."""
    spare = 1.0 - rate * c_s
    if spare <= 1e-9:
        return UNBOUNDED
    return max(1, ceil(rate * a_s / spare - 1e-9))


def within(a_s: float, c_s: float, seconds: float) -> int:
    """The largest batch predicted to take at most `seconds`; 0 where not even one item does."""
    room = seconds - a_s
    if room < c_s or room < 0:
        return 0
    return UNBOUNDED if c_s * UNBOUNDED <= room else int(room / c_s + 1e-9)
