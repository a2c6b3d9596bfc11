"""An answer as bytes in Redis or Memcached: a head of 52 bytes, header lines, body.

    4s   magic and version
    20s  the key: a value that came under another key (a client library out of step, a copied database) is no answer
    d    stored at, seconds of the wall clock in UTC: the only clock that two machines share
    d    kept for, seconds
    H    status, then 2 bytes of nothing
    I    bytes of header lines
    I    bytes of body

Big-endian, as on the wire. What doesn't fit is garbage, and a miss.
"""

import struct

from plimsoll.gateway.cache.lines import may_keep
from plimsoll.ports.cache_store import Entry

_HEAD = struct.Struct("!4s20sddHxxII")
_MAGIC = b"PLM1"
KEY_BYTES = 20
_AHEAD_S = 60.0  # clocks of machines in one fleet differ by less; beyond it nobody knows how old the answer is


class Garbage(Exception):
    """Somebody else's value, or a broken one."""


def encode(key: bytes, entry: Entry, now: float, wall: float) -> bytes:
    """`now`, `wall`: the same moment on this process's monotonic clock and on the wall's."""
    stored, kept_s = wall - (now - entry.stored_at), entry.until - entry.stored_at
    head = _HEAD.pack(_MAGIC, key, stored, kept_s, entry.status, len(entry.lines), len(entry.body))
    return head + entry.lines + entry.body


def decode(value: bytes, key: bytes, now: float, wall: float) -> Entry | None:
    """None: its time is over, or it is from a future that no clock of ours should know. Raises Garbage."""
    if len(value) < _HEAD.size:
        raise Garbage
    magic, stored_under, stored, kept_s, status, lines_bytes, body_bytes = _HEAD.unpack_from(value)
    if magic != _MAGIC or stored_under != key or len(value) != _HEAD.size + lines_bytes + body_bytes:
        raise Garbage
    split = _HEAD.size + lines_bytes
    lines = value[_HEAD.size : split]
    if status != 200 or not may_keep(lines):
        raise Garbage
    age_s = wall - stored
    if not -_AHEAD_S <= age_s < kept_s:  # also where one is not a number
        return None
    stored_at = now - max(age_s, 0.0)
    return Entry(status, lines, value[split:], stored_at, stored_at + kept_s)
