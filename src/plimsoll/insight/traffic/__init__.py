"""Traffic as data: request rates over time, arrivals drawn from them, and recorded traffic read from text.

It lives here, below `load` and `sim`, for both offer the same traffic: one to real servers, the other in virtual
time. Pure: text and seeded generators are passed in, times are seconds since the start. Never reads a file or a clock.
"""

from plimsoll.insight.traffic.arrivals import Arrivals, Gaps, draw, parse_gaps, repeat
from plimsoll.insight.traffic.columns import is_columns, read_columns
from plimsoll.insight.traffic.rates import Rates, Segment, constant, ramp
from plimsoll.insight.traffic.trace import Trace, TraceError, read_trace

__all__ = [
    "Arrivals",
    "Gaps",
    "Rates",
    "Segment",
    "Trace",
    "TraceError",
    "constant",
    "draw",
    "is_columns",
    "parse_gaps",
    "ramp",
    "read_columns",
    "read_trace",
    "repeat",
]
