"""What every protocol of a replica looks like to it: bytes in, inputs out; outputs in, bytes out. No I/O.

    codec = codec_named("oip")                        # or "kserve_v1", "plain"
    decoded = codec.decode(body, info)                # Invalid, one line, where the request needs mending
    body = codec.encode(decoded, info, outputs, "3")  # ModelFailed where the answer can't be said in JSON

Codecs hold no state of a request and may be called from any thread.
"""

import functools
from collections.abc import Hashable
from typing import Protocol

from plimsoll.core.request import Inputs, Outputs
from plimsoll.core.tensors import ModelInfo


class Decoded:
    """One decoded request. `size` and `key` are `core.request.Request`'s; `id` and `outputs` are what the answer needs.

    A plain class with slots: a frozen dataclass costs 1 us more to make.
    """

    __slots__ = ("id", "inputs", "key", "outputs", "size")

    def __init__(
        self,
        inputs: Inputs,
        size: int,
        key: Hashable,
        client_id: str | None = None,
        outputs: tuple[str, ...] | None = None,
    ) -> None:
        self.inputs = inputs
        self.size = size
        self.key = key
        self.id = client_id  # the client's own, echoed; None where the protocol has none or the client gave none
        self.outputs = outputs  # the names asked for, in that order; None: all


class Codec(Protocol):
    @property
    def name(self) -> str: ...

    def decode(self, body: bytes, info: ModelInfo) -> Decoded:
        """Raises Invalid."""
        ...

    def encode(self, decoded: Decoded, info: ModelInfo, outputs: Outputs, version: str) -> bytes:
        """Raises ModelFailed where JSON can't say `outputs`, Invalid where an output was asked for that isn't there."""
        ...


@functools.cache
def codec_named(name: str) -> Codec:
    """`oip`, `kserve_v1` or `plain`; KeyError for another."""
    from plimsoll.wire import kserve_v1, oip, plain  # they import Decoded from here

    codecs: dict[str, Codec] = {
        "oip": oip.OipCodec(),
        "kserve_v1": kserve_v1.KServeV1Codec(),
        "plain": plain.PlainCodec(),
    }
    return codecs[name]
