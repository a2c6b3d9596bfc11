"""KServe's v1 protocol: `{"instances": […]}` in, `{"predictions": […]}` out. An instance is one item.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. A Python model gets each instance as
it was decoded; a model of arrays takes a dict of its inputs, or the bare value where it has one input.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from plimsoll.core.errors import Invalid
from plimsoll.core.request import Items, Outputs, Tensors
from plimsoll.core.tensors import ModelInfo
from plimsoll.wire import instances
from plimsoll.wire.codec import Decoded
from plimsoll.wire.json_values import encode_values
from plimsoll.wire.plan import ITEMS_FROM_JSON, alone, plan_of
from plimsoll.wire.tensor_json import DECODE_ERRORS, explain


class AnyRequest(Struct, gc=False):
    instances: list[Any]


class RawRequest(Struct, gc=False):
    instances: Raw


_ANY = msgspec.json.Decoder(AnyRequest)
_RAW = msgspec.json.Decoder(RawRequest)


class KServeV1Codec:
    name = "kserve_v1"

    def decode(self, body: bytes, info: ModelInfo) -> Decoded:
        plan = plan_of(info)
        try:
            message = _ANY.decode(body) if info.takes_items or not info.inputs else _RAW.decode(body)
        except DECODE_ERRORS as error:
            if not body.strip():
                raise Invalid('the body is empty; send {"instances": […]}') from None
            raise Invalid(explain(error)) from None
        if isinstance(message, AnyRequest):
            values = message.instances
            plan.check_size(len(values))
            return Decoded(Items(values), len(values), ITEMS_FROM_JSON if plan.batched else alone())
        arrays, size = instances.decode_many(bytes(message.instances), plan)
        return Decoded(Tensors(arrays, size), size, plan.key(arrays))

    def encode(self, decoded: Decoded, info: ModelInfo, outputs: Outputs, version: str) -> bytes:
        if isinstance(outputs, Items):
            return b'{"predictions":' + encode_values(outputs.values) + b"}"
        return b'{"predictions":' + instances.encode_many(outputs, info.batched) + b"}"
