"""Plain JSON at a route of the user's own: one request is one item, one answer is its result.

A Python model gets the decoded body, whatever it is. A model of arrays takes a dict of its inputs without the batch
axis, or the bare value where it has one input, and answers a dict of its outputs. An answer ends with a newline, so
that a shell's next prompt stands on a line of its own.
"""

from typing import Any

import msgspec

from plimsoll.core.errors import Invalid, ModelFailed
from plimsoll.core.request import Items, Outputs, Tensors
from plimsoll.core.tensors import ModelInfo
from plimsoll.wire import instances
from plimsoll.wire.codec import Decoded
from plimsoll.wire.json_values import encode_value
from plimsoll.wire.plan import ITEMS_FROM_JSON, alone, plan_of
from plimsoll.wire.tensor_json import DECODE_ERRORS, explain

_decode: Any = msgspec.json.Decoder().decode


class PlainCodec:
    name = "plain"

    def decode(self, body: bytes, info: ModelInfo) -> Decoded:
        plan = plan_of(info)
        if not info.takes_items and info.inputs:
            if not body.strip():
                raise Invalid("the body is empty; send JSON")
            arrays = instances.decode_one(body, plan)
            return Decoded(Tensors(arrays, 1), 1, plan.key(arrays))
        try:
            value = _decode(body)
        except DECODE_ERRORS as error:
            raise Invalid(explain(error) if body.strip() else "the body is empty; send JSON") from None
        return Decoded(Items([value]), 1, ITEMS_FROM_JSON if plan.batched else alone())

    def encode(self, decoded: Decoded, info: ModelInfo, outputs: Outputs, version: str) -> bytes:
        if isinstance(outputs, Items):
            if len(outputs.values) != 1:
                raise ModelFailed(f"the model gave {len(outputs.values)} results for one item")
            return encode_value(outputs.values[0]) + b"\n"
        return instances.encode_one(outputs, info.batched) + b"\n"
