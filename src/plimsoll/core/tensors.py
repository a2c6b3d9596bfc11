"""What a model takes and gives, in the Open Inference Protocol's terms."""

from dataclasses import dataclass, field

# Open Inference Protocol v2, "Tensor Data Types". BF16 exists in its gRPC form only.
DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """`shape` includes the batch axis where the model has one; -1 is a dimension that varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the protocols tell of a model, and what they check a request against.

    `inputs` is empty for a model that takes whatever its author decodes (a Python class without type hints).
    `batched`: inputs' first axis counts items, and requests may be joined along it, up to `max_batch` items a call
    (None: any number; a model file with a fixed first axis of n gives n, and `fixed_batch` is then true).
    `takes_items`: predict wants Python objects, one an item (the `python` format), not arrays.
    """

    name: str
    platform: str  # "python", "onnxruntime_onnx", "sklearn"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    batched: bool = True
    fixed_batch: bool = False
    max_batch: int | None = None
    takes_items: bool = False
    labels: dict[str, str] = field(default_factory=dict)
