"""Numbers as the controller has them: int32 replicas, int64 milli-values, quantities rounded up to a milli-unit.

Where Go leaves a conversion to the machine (a float beyond the integer's range), this saturates, and NaN is 0.
"""

import math
import re
from fractions import Fraction

MAX_INT32 = 2**31 - 1
MIN_INT32 = -(2**31)
MAX_INT64 = 2**63 - 1
MIN_INT64 = -(2**63)

_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,3})|([A-Za-z]{0,2}))")


def milli(quantity: str) -> int:
    """A Kubernetes quantity in milli-units, rounded up: "1.5" 1500, "100m" 100, "2k" 2000000, "1Mi" 1048576000,
    "1e2" 100000. Raises ValueError."""
    found = _QUANTITY.fullmatch(quantity.strip())
    if found is None:
        raise ValueError(f"{quantity!r} is no quantity; expected one such as 500m, 1.5, 20k or 128Mi")
    digits, exponent, suffix = found.groups()
    value = Fraction(digits)
    if exponent is not None:
        value *= Fraction(10) ** int(exponent)
    elif suffix in _BINARY:
        value *= 2 ** _BINARY[suffix]
    elif suffix in _SUFFIXES:
        value *= Fraction(10) ** _SUFFIXES[suffix]
    else:
        raise ValueError(f"{quantity!r}: {suffix!r} is no unit of a quantity")
    return math.ceil(value * 1000)


def int32(value: int) -> int:
    """An integer's lower 32 bits, as a conversion from int64 keeps them."""
    return (value + 2**31) % 2**32 - 2**31


def int64(value: int) -> int:
    """What an int64 sum or product holds after an overflow."""
    return value if MIN_INT64 <= value <= MAX_INT64 else (value + 2**63) % 2**64 - 2**63


def quotient(dividend: int, divisor: int) -> int:
    """Integer division towards zero; Python's goes down: -7 / 2 is -3 here, not -4."""
    if dividend >= 0 < divisor:
        return dividend // divisor
    whole = abs(dividend) // abs(divisor)
    return whole if (dividend < 0) == (divisor < 0) else -whole


def ratio(value: float, target: float) -> float:
    """A float64 division: by 0 it gives an infinity, or NaN for 0 / 0, and raises nothing."""
    value, target = float(value), float(target)
    if target == 0.0:
        return math.nan if value == 0.0 or value != value else math.copysign(math.inf, value)
    return value / target


def truncated(value: float, least: int = MIN_INT32, most: int = MAX_INT32) -> int:
    """A float as an integer, cut towards zero."""
    if value != value:
        return 0
    return least if value <= least else most if value >= most else int(value)


def ceiled(value: float, least: int = MIN_INT32, most: int = MAX_INT32) -> int:
    """The next integer up."""
    if value != value:
        return 0
    return least if value <= least else most if value >= most else math.ceil(value)
