"""How long an answer is worth waiting for, as a client or the hop before us says it.

Clocks of two machines differ, so the time that is *left* travels, never a timestamp. `plimsoll-deadline-ms` counts
before `grpc-timeout` (gRPC over HTTP/2, "Timeout": at most 8 digits and a unit H, M, S, m, u or n) and
`x-envoy-upstream-rq-timeout-ms`; of these two the one that comes first. Negative or absurd values are Invalid; anything
over a day counts as a day.
"""

import re

from plimsoll.core.errors import Invalid

DEADLINE = b"plimsoll-deadline-ms"
HEADERS = (DEADLINE, b"grpc-timeout", b"x-envoy-upstream-rq-timeout-ms")

_MILLISECONDS = re.compile(rb"\d{1,15}(?:\.\d{1,9})?\Z")
_GRPC = re.compile(rb"(\d{1,8})([HMSmun])\Z")
_GRPC_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LONGEST_S = 86_400.0


def time_left(name: bytes, value: bytes) -> float:
    """Seconds left by one of HEADERS; 0 is a deadline that has passed. Raises Invalid."""
    if name == b"grpc-timeout":
        match = _GRPC.match(value)
        if match is None:
            raise Invalid("grpc-timeout wants up to 8 digits and one of H, M, S, m, u, n: 100m")
        return min(int(match[1]) * _GRPC_UNITS[match[2]], _LONGEST_S)
    if _MILLISECONDS.match(value) is None:
        raise Invalid(f"{name.decode()} wants a number of milliseconds of 0 or more: 250")
    return min(float(value) / 1000, _LONGEST_S)


def encode_time_left(seconds: float) -> bytes:
    """The header line for the next hop; microseconds are kept, and what has passed is 0."""
    return b"plimsoll-deadline-ms: %.3f\r\n" % (seconds * 1000 if seconds > 0.0 else 0.0)
