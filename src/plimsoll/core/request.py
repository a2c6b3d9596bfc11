"""One request as the queue and the policies see it, and the model's share of it.

A host makes one `Request` a request; nothing here knows about sockets. Times are seconds of the host's monotonic
clock, the one whose `now` the policies get.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(slots=True, eq=False)  # not frozen: making one would cost 0.7 us, not 0.2
class Items:
    """Decoded JSON values (or dicts of arrays without the batch axis), one an item."""

    values: list[Any]


@dataclass(slots=True, eq=False)
class Tensors:
    """Arrays by input name, `size` items along each first axis (the model's `batched` says whether there is one)."""

    arrays: Mapping[str, Any]  # numpy.ndarray; core does not import numpy
    size: int


Inputs: TypeAlias = Items | Tensors
Outputs: TypeAlias = Items | Tensors  # as many items as the request had


@dataclass(slots=True, eq=False)
class Request:
    id: str
    arrived: float  # the read that completed the request's head
    target: float  # arrived + p99 budget: what batching, admission and scaling aim at
    deadline: float  # after it nothing is computed
    size: int  # items: a request that is itself a batch of n counts as n
    key: Hashable  # only requests with equal keys share a batch (input names, datatypes, shapes without the batch axis)
    inputs: Inputs
    priority: int = 0  # higher wins
    tenant: str = ""
    weight: float = 1.0  # of its tenant, against the others'
    alone: bool = False  # its last replica died computing: it shares no batch
    queued: float = 0.0  # when it joined the queue
    context: Any = field(default=None, repr=False)  # the host's own: where the answer goes
    place: Any = field(default=None, repr=False)  # the queue's own: which had it last
