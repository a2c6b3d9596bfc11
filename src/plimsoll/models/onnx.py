"""The `ONNX` format: a file for onnxruntime, on the CPU.

Inputs, outputs and the batch axis are read from the file. A symbolic first axis that all inputs and outputs share
counts items; a first axis fixed at n takes up to n items a call (fewer are filled up with copies of the last, whose
answers are dropped); anything else is one request a call. Where the file leaves the axis without a name, a run of
made-up items tells.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from plimsoll.core.errors import ModelFailed, ModelLoadError
from plimsoll.core.request import Inputs, Outputs, Tensors
from plimsoll.core.tensors import ModelInfo, TensorSpec
from plimsoll.models.arrays import Array, joined, made_up, run_isolated, split, tensors_of, with_text
from plimsoll.models.requirements import check_requirements, missing_library
from plimsoll.models.source import ModelSource

_DATATYPES = {
    "tensor(bool)": "BOOL", "tensor(string)": "BYTES",
    "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32", "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32", "tensor(int64)": "INT64",
    "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
}  # fmt: skip

_LOG_ERRORS_ONLY = 3  # onnxruntime's own levels; warnings tell of graph optimisations, not of anything to mend


class OnnxModel:
    """See ports.model.Model. `threads` compute one call; they sleep between calls instead of spinning, because a
    replica shares its cores with its own event loop."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._session: Any = None
        self._output_names: list[str] = []
        self._input_names: list[str] = []
        self._texts: list[str] = []
        self._fixed: int | None = None
        self._info = ModelInfo(name=source.name, platform="onnxruntime_onnx")

    @property
    def info(self) -> ModelInfo:
        return self._info

    def load(self) -> None:
        if self._session is not None:
            return
        source = self._source
        check_requirements(source.requirements, file=source.shown)
        if not os.path.isfile(source.path):
            raise ModelLoadError("can't be read: there is no such file", file=source.shown)
        session = self._open()
        inputs = [self._spec(value, "input") for value in session.get_inputs()]
        outputs = [self._spec(value, "output") for value in session.get_outputs()]
        self._input_names = [spec.name for spec in inputs]
        self._output_names = [spec.name for spec in outputs]
        self._texts = [spec.name for spec in inputs if spec.datatype == "BYTES"]
        self._session = session
        axes = [list(value.shape)[:1] for value in session.get_inputs()]
        outcome = [list(value.shape)[:1] for value in session.get_outputs()]
        fixed = _fixed_size(axes, outcome)
        named = _same_symbol(axes) and isinstance(axes[0][0], str)
        batched = fixed is not None or (named and all(axis == axes[0] for axis in outcome))
        if not batched and _same_symbol(axes):
            batched, outputs = self._probe(inputs, outputs)
        self._fixed = fixed
        self._info = ModelInfo(
            name=source.name,
            platform="onnxruntime_onnx",
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            batched=batched,
            fixed_batch=fixed is not None,
            max_batch=fixed if batched else 1,
        )

    def predict(self, requests: Sequence[Inputs]) -> list[Outputs | Exception]:
        tensors = [tensors_of(request) for request in requests]
        return run_isolated(self._joined if self._info.batched else self._whole, tensors)

    def warm_up_inputs(self, size: int) -> Tensors | None:
        info = self._info
        if info.max_batch is not None:
            size = min(size, info.max_batch)
        return made_up(info.inputs, size, batched=info.batched) if info.inputs else None

    def close(self) -> None:
        self._session = None

    def _joined(self, requests: Sequence[Tensors]) -> list[Outputs | Exception]:
        feed = joined(requests, self._input_names)
        if self._fixed is None:
            return split(self._run(feed), requests)
        total = sum(request.size for request in requests)
        missing = self._fixed - total
        if missing < 0:
            raise ModelFailed(f"{total} items are more than the {self._fixed} of the model's fixed batch axis")
        if missing == 0:
            return split(self._run(feed), requests)
        filled = {name: np.concatenate([array, np.repeat(array[-1:], missing, 0)]) for name, array in feed.items()}
        return split({name: array[:total] for name, array in self._run(filled).items()}, requests)

    def _whole(self, requests: Sequence[Tensors]) -> list[Outputs | Exception]:
        return [Tensors(self._run(dict(request.arrays)), request.size) for request in requests]

    def _run(self, feed: dict[str, Array]) -> dict[str, Array]:
        if self._texts:
            feed = {name: with_text(array) if name in self._texts else array for name, array in feed.items()}
        names = self._output_names
        try:
            return dict(zip(names, self._session.run(names, feed), strict=True))
        except Exception as error:  # onnxruntime's errors share no base but Exception
            if self._session is None:
                raise ModelFailed("the model is not loaded") from None
            raise ModelFailed(f"onnxruntime: {_first_line(error)}") from error

    def _open(self) -> Any:
        source = self._source
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_library("ONNX", "onnx", error, file=source.shown) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(source.threads, 1)
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        # Weights lie outside the arena, which grows by powers of two and would keep up to as much again unused.
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        try:
            return onnxruntime.InferenceSession(source.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelLoadError(f"onnxruntime can't load it: {_first_line(error)}", file=source.shown) from error

    def _spec(self, value: Any, role: str) -> TensorSpec:
        datatype = _DATATYPES.get(value.type)
        if datatype is None:
            hint = ""
            if "map" in value.type:
                hint = "; export the classifier with ZipMap off: to_onnx(…, options={'zipmap': False})"
            raise ModelLoadError(f"{role} {value.name!r} is a {value.type}, not a tensor of a datatype that the "
                                 f"Open Inference Protocol knows{hint}", file=self._source.shown)  # fmt: skip
        shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in value.shape)
        return TensorSpec(value.name, datatype, shape)

    def _probe(self, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> tuple[bool, list[TensorSpec]]:
        """Whether outputs follow the inputs' first axis, by running 2 and 3 items; and the outputs as they then are."""
        try:
            two, three = (self._run(dict(made_up(inputs, size, batched=True).arrays)) for size in (2, 3))
        except ModelFailed:
            return False, outputs  # made-up inputs don't suit it: one request a call is always right
        if not all(a.ndim and len(a) == 2 and len(three[name]) == 3 for name, a in two.items()):
            return False, outputs
        seen = []
        for spec in outputs:
            rank = two[spec.name].ndim
            rest = spec.shape[1:] if len(spec.shape) == rank else (-1,) * (rank - 1)
            seen.append(TensorSpec(spec.name, spec.datatype, (-1, *rest)))
        return True, seen


def _same_symbol(axes: list[list[Any]]) -> bool:
    """Every input has a first axis, and all of them the same symbol (or none of them a name for it)."""
    return bool(axes) and all(axis == axes[0] for axis in axes) and bool(axes[0]) and not isinstance(axes[0][0], int)


def _fixed_size(inputs: list[list[Any]], outputs: list[list[Any]]) -> int | None:
    first = inputs[0] if inputs else []
    same = (
        bool(first) and isinstance(first[0], int) and first[0] > 0 and all(axis == first for axis in inputs + outputs)
    )
    return int(first[0]) if same else None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__
