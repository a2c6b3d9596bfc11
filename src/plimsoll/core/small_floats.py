"""Floats of two bytes, for what is remembered by the thousand and only sorted: past rates, past errors.

A sign, 6 bits of exponent, 9 of fraction: 0 and all from 1e-7 to 2e12, to a thousandth. Half precision has 5 and 10:
it ends at 65504, which is less than the requests a second of a large service. Order is kept, so is what is sorted.
"""

from struct import Struct

import numpy as np
from numpy.typing import ArrayLike, NDArray

SmallFloats = NDArray[np.uint16]

_MOST = 2.0**41 - 2.0**31  # the largest that rounds to none beyond 16 bits
# Of single precision's exponents 6 bits are left.
_DOWN, _UP = np.float32(2.0**-104), np.float32(2.0**104)
_CUT = np.uint32(14)  # of its 23 bits of fraction
_HALF = np.uint32(1 << 13)
_SIGN = np.uint32(1 << 31)
_SHORT_SIGN = np.uint32(1 << 15)
_SIXTEEN = np.uint32(16)
_FLOAT, _BITS = Struct("=f"), Struct("=I")


def packed(values: ArrayLike) -> SmallFloats:
    """Rounded to the nearest; what is beyond the largest is the largest. No NaN."""
    bounded = np.minimum(np.maximum(values, -_MOST), _MOST).astype(np.float32)
    bits = (bounded * _DOWN).view(np.uint32)
    sign = (bits & _SIGN) >> _SIXTEEN
    codes: SmallFloats = (((bits & ~_SIGN) + _HALF >> _CUT) | sign).astype(np.uint16)
    return codes


def packed_one(value: float) -> int:
    """The same of one, in a sixth of the time."""
    bits: int = _BITS.unpack(_FLOAT.pack(min(max(value, -_MOST), _MOST) * 2.0**-104))[0]
    return ((bits & 0x7FFF_FFFF) + (1 << 13) >> 14) | bits >> 31 << 15


def unpacked(codes: SmallFloats) -> NDArray[np.float32]:
    wide = codes.astype(np.uint32)
    bits = ((wide & ~_SHORT_SIGN) << _CUT) | ((wide & _SHORT_SIGN) << _SIXTEEN)
    values: NDArray[np.float32] = bits.view(np.float32) * _UP
    return values


def unpacked_one(code: int) -> float:
    value: float = _FLOAT.unpack(_BITS.pack((code & 0x7FFF) << 14 | code >> 15 << 31))[0]
    return value * 2.0**104
