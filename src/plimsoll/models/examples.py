"""A model's own examples: an input and, where it is known, the answer to expect.

They come from the author's class (`examples`, a list or a method that returns one, of `{"input": …, "output": …}`) or
from a file beside the service: `NAME.request.json` or `request.json` (or .yaml) with the answer in
`NAME.expected.json` or `expected.json`. Such a file holds one request's body as it is sent, or a list of
`{"input": …, "output": …}`. For models that take tensors a body is the Open Inference Protocol's (with the batch axis),
or plain JSON as at a route of the user's own: one item, an object of nested lists by input name without that axis.

An answer matches when what is expected is found in it: objects may have more keys than expected, lists must be as long,
floats agree to 4 digits (relative 1e-4, absolute 1e-6), everything else is equal.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from plimsoll.core.errors import ModelLoadError, PlimsollError
from plimsoll.core.request import Inputs, Items, Outputs, Tensors
from plimsoll.core.tensors import ModelInfo
from plimsoll.models.arrays import DTYPES
from plimsoll.ports.model import Model

RELATIVE = 1e-4
ABSOLUTE = 1e-6


@dataclass(frozen=True, slots=True)
class Example:
    """`checked` is false where no answer is known: then any answer will do."""

    input: Any
    output: Any = None
    checked: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """`error` says in one line what went wrong; empty when `ok`."""

    input: Any
    expected: Any
    got: Any
    ok: bool
    error: str
    seconds: float
    name: str = ""


def run_examples(model: Model, examples: Sequence[Example] | None = None) -> list[ExampleResult]:
    """Runs each alone through a loaded model; without `examples`, the author's own."""
    if examples is None:
        examples = getattr(model, "examples", ())
    return [_run(model, example, index) for index, example in enumerate(examples, 1)]


def authors_examples(instance: object) -> tuple[Example, ...]:
    """The class's own. Raises ModelLoadError where `examples` is something else than a list of examples."""
    found = getattr(instance, "examples", None)
    if callable(found):
        found = found()
    if found is None:
        return ()
    if not isinstance(found, (list, tuple)):
        raise ModelLoadError('examples must be a list of {"input": …, "output": …}')
    return tuple(_example(entry, index) for index, entry in enumerate(found, 1))


def read_examples(directory: str, name: str) -> list[Example]:
    """Those in the files beside the service `name`; none where there is no such file. Raises ModelLoadError."""
    for stem in (f"{name}.", ""):
        request = _read(directory, f"{stem}request")
        if request is None:
            continue
        file, body = request
        if isinstance(body, list) and body and all(isinstance(entry, dict) and "input" in entry for entry in body):
            return [_example(entry, index) for index, entry in enumerate(body, 1)]
        expected = _read(directory, f"{stem}expected")
        return [Example(body, expected[1] if expected else None, expected is not None, file)]
    return []


def difference(expected: Any, got: Any, path: str = "") -> str:
    """Where `got` misses what is expected, in one line; empty where it matches."""
    at = f"{path}: " if path else ""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key, value in expected.items():
            if key not in got:
                return f"{at}{key!r} is missing"
            found = difference(value, got[key], f"{path}.{key}" if path else str(key))
            if found:
                return found
        return ""
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"{at}expected {len(expected)} elements, got {len(got)}"
        pairs = enumerate(zip(expected, got, strict=True))
        return next(filter(None, (difference(a, b, f"{path}[{index}]") for index, (a, b) in pairs)), "")
    return "" if _same(expected, got) else f"{at}expected {_short(expected)}, got {_short(got)}"


def plain(value: Any) -> Any:
    """As JSON would say it: arrays become lists, bytes text."""
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def inputs_of(body: Any, info: ModelInfo) -> Inputs:
    """A request's body as the model takes it. Raises ValueError saying what is wrong with it."""
    if info.takes_items:
        return Items([body])
    given = _protocol_tensors(body, "inputs")
    as_item = given is None  # plain JSON: one item, without the batch axis
    if given is None:
        given = body if isinstance(body, dict) else {info.inputs[0].name: body}
    arrays = {}
    for spec in info.inputs:
        if spec.name not in given:
            raise ValueError(f"input {spec.name!r} is missing")
        array = np.asarray(given[spec.name], dtype=DTYPES[spec.datatype])
        arrays[spec.name] = array[np.newaxis] if as_item and info.batched else array
    first = next(iter(arrays.values()))
    return Tensors(arrays, len(first) if info.batched else 1)


def _run(model: Model, example: Example, index: int) -> ExampleResult:
    info = model.info
    started = perf_counter()
    got, error = None, ""
    try:
        result = model.predict([inputs_of(example.input, info)])[0]
        if isinstance(result, Exception):
            raise result
        as_item = info.batched and _protocol_tensors(example.input, "inputs") is None
        got = _answer(result, as_item)
    except (PlimsollError, ValueError, TypeError) as problem:
        error = str(problem)
    seconds = perf_counter() - started
    expected = example.output if info.takes_items else _protocol_tensors(example.output, "outputs") or example.output
    expected = plain(expected)
    if not error and example.checked:
        error = difference(expected, got)
    return ExampleResult(example.input, expected, got, not error, error, seconds, example.name or f"example {index}")


def _answer(result: Outputs, as_item: bool) -> Any:
    if isinstance(result, Items):
        return plain(result.values[0])
    return plain({name: array[0] if as_item else array for name, array in result.arrays.items()})


def _protocol_tensors(body: Any, key: str) -> dict[str, Any] | None:
    """Open Inference Protocol tensors by name, data nested by shape; None where `body` is something else."""
    tensors = body.get(key) if isinstance(body, dict) else None
    if not isinstance(tensors, list) or not all(isinstance(entry, dict) and "data" in entry for entry in tensors):
        return None
    arrays = {}
    for entry in tensors:
        array = np.array(entry["data"], dtype=DTYPES.get(entry.get("datatype", ""), None))
        arrays[str(entry.get("name"))] = array.reshape(entry["shape"]) if "shape" in entry else array
    return arrays


def _example(entry: Any, index: int) -> Example:
    if not isinstance(entry, dict) or "input" not in entry:
        raise ModelLoadError(f'example {index} must be an object with "input" and, where it is known, "output"')
    return Example(entry["input"], entry.get("output"), "output" in entry, str(entry.get("name", "")))


def _read(directory: str, stem: str) -> tuple[str, Any] | None:
    for suffix in (".json", ".yaml", ".yml"):
        file = stem + suffix
        try:
            with open(os.path.join(directory, file), encoding="utf-8") as opened:
                text = opened.read()
            return file, json.loads(text) if suffix == ".json" else _yaml(text)
        except OSError:
            continue
        except (ValueError, RecursionError) as error:
            raise ModelLoadError(f"can't be read as {suffix[1:]}: {' '.join(str(error).split())}", file=file) from None
    return None


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _same(expected: Any, got: Any) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, float) or isinstance(got, float):
        if not isinstance(expected, (int, float)) or not isinstance(got, (int, float)):
            return False
        both_nan = math.isnan(expected) and math.isnan(got)
        return both_nan or math.isclose(expected, got, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(expected == got)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:79] + "…"
