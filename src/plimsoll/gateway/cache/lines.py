"""Which answers may be kept, by their header lines: those that hold for everybody who asks the same.

Lines that come back from a store elsewhere are held against the same rules: whoever can write there must not be able
to write a header of ours, or a second answer.
"""

import re

_LINES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\x00]*\r\n)*\Z")
# For one client (Set-Cookie), of one client's kind (Vary, Content-Encoding), or the connection's own.
_NOT_KEPT = re.compile(
    rb"(?:\A|\n)(?:set-cookie|vary|content-encoding|content-length|transfer-encoding|connection|trailer|upgrade"
    rb"|cache-control:[^\r]*(?:no-store|no-cache|private))",
    re.IGNORECASE,
)
_REMEMBERED = 256
_LONGEST = 4096
_known: dict[bytes, bool] = {}  # a service's answers have few different heads; 1 us a new one, 0.05 us a known one


def may_keep(lines: bytes) -> bool:
    known = _known.get(lines)
    if known is None:
        known = len(lines) <= _LONGEST and _LINES.match(lines) is not None and _NOT_KEPT.search(lines) is None
        if len(_known) >= _REMEMBERED:
            _known.clear()
        if len(lines) <= _LONGEST:
            _known[lines] = known
    return known
