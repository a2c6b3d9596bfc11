"""Python results to JSON: what a model's author returns on a route of their own.

msgspec knows JSON's own types, dataclasses, datetimes, Decimals, sets, enums, UUIDs and bytes (base64); numpy, torch,
pandas and pydantic objects are turned into those. NaN and infinity come out of msgspec as `null`, so an answer that
holds a `null` is walked to tell them from None; others cost nothing.
"""

import math
from typing import Any

import msgspec

from plimsoll.core.errors import ModelFailed
from plimsoll.wire.tensor_json import json_hook

_encoder = msgspec.json.Encoder(enc_hook=json_hook)


def encode_value(value: Any) -> bytes:
    """One result as JSON. Raises ModelFailed, naming the place of a NaN or the type that JSON has no form for."""
    try:
        encoded = _encoder.encode(value)
    except ModelFailed:
        raise
    except UnicodeEncodeError:
        raise ModelFailed("predict returned text with a lone surrogate, which UTF-8 cannot express") from None
    except RecursionError:
        raise ModelFailed("predict returned a value that is nested too deeply, or holds itself") from None
    except Exception as error:  # an author's own tolist or model_dump
        raise ModelFailed(f"the result has no JSON form: {type(error).__name__}: {error}") from error
    if b"null" in encoded:
        _refuse_not_finite(value)
    return encoded


def encode_values(values: list[Any]) -> bytes:
    """A JSON list of results."""
    return encode_value(values)


def _refuse_not_finite(value: Any) -> None:
    plain = msgspec.to_builtins(value, enc_hook=json_hook, str_keys=True)
    # (path, value) pairs still to look at; a stack, since a model's result may nest deeper than the interpreter calls
    todo: list[tuple[str, Any]] = [("", plain)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, float):
            if not math.isfinite(value):
                place = f" at {path}" if path else ""
                raise ModelFailed(f"the result holds {value}{place}, which JSON cannot express")
        elif isinstance(value, dict):
            todo += ((f"{path}.{key}" if path else str(key), item) for key, item in value.items())
        elif isinstance(value, list | tuple):
            todo += ((f"{path}[{index}]", item) for index, item in enumerate(value))
