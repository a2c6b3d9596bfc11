"""JSON numbers and strings to numpy arrays and back, by the Open Inference Protocol's datatypes.

Types, ranges and nesting are checked by msgspec while it decodes, in C: `null`, `"1"`, `1.5` for an integer, 300 for a
UINT8 and 1e39 for an FP32 never reach numpy, which would take most of them silently. JSON has no NaN and no infinity,
so decoded floats are finite; encoded ones are checked (msgspec writes both as `null`).
"""

import functools
import re
import struct
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from plimsoll.core.errors import Invalid, ModelFailed

Array = NDArray[Any]

_FP32_MAX = 3.4028234663852886e38
_FP16_MAX = 65504.0


class Datatype:
    """One OIP datatype: numpy dtype, the type msgspec decodes an element to, its `struct` code if it has one."""

    __slots__ = ("code", "dtype", "element", "name", "wants")

    def __init__(self, name: str, dtype: str, element: Any, code: str, wants: str) -> None:
        self.name, self.dtype, self.element, self.code, self.wants = name, np.dtype(dtype), element, code, wants


def _integer(name: str, dtype: str, code: str) -> Datatype:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    # msgspec's bounds must fit an int64; above it numpy raises OverflowError for UINT64 itself
    bounds = Meta(ge=low) if high >= 2**63 else Meta(ge=low, le=high)
    return Datatype(name, dtype, Annotated[int, bounds], code, f"whole numbers from {low} to {high}")


DATATYPES: dict[str, Datatype] = {
    form.name: form
    for form in (
        Datatype("BOOL", "?", bool, "?", "true or false"),
        *(_integer(f"UINT{8 * n}", f"u{n}", code) for n, code in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))),
        *(_integer(f"INT{8 * n}", f"i{n}", code) for n, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))),
        Datatype("FP16", "f2", Annotated[float, Meta(ge=-_FP16_MAX, le=_FP16_MAX)], "e", "numbers up to 65504"),
        Datatype("FP32", "f4", Annotated[float, Meta(ge=-_FP32_MAX, le=_FP32_MAX)], "f", "numbers up to 3.4e38"),
        Datatype("FP64", "f8", float, "d", "numbers"),
        Datatype("BYTES", "O", str, "", "strings"),
    )
}

_NAME_OF_DTYPE = {(form.dtype.kind, form.dtype.itemsize): form.name for form in DATATYPES.values() if form.code}
_STRINGS = frozenset("OUST")  # numpy's kinds: objects, str, bytes, variable-width str

# What msgspec raises for a body that is not what we asked for. (RecursionError: nested too deeply.)
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)

_PATH = re.compile(r"(?P<text>.*?)(?: - at `\$(?P<path>.*)`)?\Z", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_encode = msgspec.json.Encoder().encode


def explain(error: Exception, root: str = "") -> str:
    """One line of what msgspec found wrong: `root.shape[0]: expected int, got str`."""
    if isinstance(error, UnicodeDecodeError):
        return f"{root or 'body'}: a string is not UTF-8; encode JSON as UTF-8"
    if isinstance(error, RecursionError):
        return f"{root or 'body'}: nested too deeply"
    match = _PATH.match(str(error))
    text, path = (match["text"], match["path"] or "") if match else (str(error), "")
    place = f"{root}{path}".lstrip(".") or "body"
    text = text.replace("`", "")
    told = f"{place}: {text[:1].lower()}{text[1:]}" if isinstance(error, msgspec.ValidationError) else text
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], told)  # a client's key may hold a line's end


def datatype_of(array: Array) -> str | None:
    """The OIP name of an array's dtype; None where it has none (complex, dates, longdouble)."""
    kind = array.dtype.kind
    return "BYTES" if kind in _STRINGS else _NAME_OF_DTYPE.get((kind, array.dtype.itemsize))


def from_flat(form: Datatype, data: list[Any], shape: tuple[int, ...]) -> Array:
    """A writable array (some estimators work in place) of already checked elements. ValueError where the count
    differs, OverflowError for an integer beyond 64 bits."""
    if form.code and len(data) <= 1024:  # 0.6 us for 64 floats where np.array takes 1.2
        try:
            return np.frombuffer(bytearray(struct.pack(f"{len(data)}{form.code}", *data)), form.dtype).reshape(shape)
        except struct.error as error:
            raise OverflowError(str(error)) from None
    if form.code:
        return np.array(data, form.dtype).reshape(shape)
    array = np.empty(len(data), object)
    array[:] = data
    return array.reshape(shape)


def list_of(element: Any) -> Any:
    """`list[element]` for msgspec, of a type made at run time."""
    return list[element]


def nested_type(datatype: str, depth: int) -> Any:
    """`list[list[…element]]`, `depth` lists deep, as a type for msgspec."""
    kind = DATATYPES[datatype].element
    for _ in range(depth):
        kind = list_of(kind)
    return kind


@functools.lru_cache(maxsize=256)
def nested_decoder(datatype: str, depth: int) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(nested_type(datatype, depth))


def from_nested(form: Datatype, values: Any, rank: int, where: str) -> Array:
    """An array of `rank` from checked nested lists. Raises Invalid for ragged ones, naming `where`."""
    try:
        array = np.array(values, form.dtype)
    except OverflowError:
        raise Invalid(f"{where}: a number is out of range; {form.name} takes {form.wants}") from None
    except ValueError:
        array = np.empty(())
        rank = -1
    if array.ndim != rank and not (array.size == 0 and 0 <= array.ndim < rank):
        raise Invalid(f"{where}: the nested lists differ in length; every row of a tensor is equally long")
    return array


def from_raw(form: Datatype, raw: bytes, shape: tuple[int, ...], where: str) -> Array:
    """The general way: `raw` is the JSON of `data`, flat or nested as `shape` says. Raises Invalid, naming `where`."""
    depth = 0
    for byte in raw:
        if byte == 0x5B:  # [
            depth += 1
            if depth > 64:  # numpy's limit
                raise Invalid(f"{where}: data is nested deeper than 64 lists")
        elif byte not in b" \t\r\n":
            break
    if depth == 0:
        raise Invalid(f"{where}: data must be a list of {form.wants}")
    try:
        values = nested_decoder(form.name, depth).decode(raw)
    except DECODE_ERRORS as error:
        raise Invalid(f"{where}: {explain(error, 'data')}; {form.name} takes {form.wants}") from None
    try:
        if depth == 1:
            return from_flat(form, values, shape)
        array = from_nested(form, values, depth, where)
    except OverflowError:
        raise Invalid(f"{where}: a number is out of range; {form.name} takes {form.wants}") from None
    except ValueError:
        raise count_mismatch(where, shape, len(values)) from None
    if array.shape != shape:
        if array.size == 0 and 0 in shape:
            return array.reshape(shape)
        raise Invalid(f"{where}: data is nested as {list(array.shape)} but shape says {list(shape)}")
    return array


def count_mismatch(where: str, shape: tuple[int, ...], count: int) -> Invalid:
    wanted = 1
    for dimension in shape:
        wanted *= dimension
    return Invalid(f"{where}: shape {list(shape)} wants {wanted} values but data holds {count}")


def encode_flat(name: str, array: Array) -> bytes:
    """The array's elements as a flat JSON list, row-major. Raises ModelFailed for what JSON can't say."""
    if array.dtype.kind in _STRINGS:
        return encode_strings(name, array.ravel().tolist())
    encoded = _encode(array.ravel().tolist())
    if b"null" in encoded:  # 0.3 us; np.isfinite on ten floats takes 0.9
        raise not_finite(name)
    return encoded


def encode_strings(name: str, values: list[Any]) -> bytes:
    texts = []
    for value in values:
        if isinstance(value, str):
            texts.append(value if type(value) is str else str.__str__(value))  # msgspec takes no subclass
        elif isinstance(value, bytes):
            texts.append(value.decode("utf-8", "surrogateescape"))
        else:
            raise no_element(name, value)
    try:
        return _encode(texts)
    except UnicodeEncodeError:
        raise ModelFailed(f"output {name!r} holds bytes that are not UTF-8, which JSON cannot express") from None


def no_element(name: str, value: object) -> ModelFailed:
    kind = (
        "None" if value is None else "an integer beyond 64 bits" if type(value) is int else f"a {type(value).__name__}"
    )
    return ModelFailed(f"output {name!r} holds {kind}, which is no tensor element")


def json_hook(value: object) -> Any:
    """msgspec's `enc_hook`: numpy, torch, pandas and pydantic objects as plain values. ModelFailed for others."""
    tolist = getattr(value, "tolist", None)  # numpy arrays and scalars, torch tensors, pandas Series
    if callable(tolist):
        plain = tolist()
        if type(plain) is not type(value):  # a longdouble's `tolist` is a longdouble
            return plain
    for name in ("model_dump", "to_dict"):  # pydantic; pandas DataFrame
        convert = getattr(value, name, None)
        if callable(convert) and not isinstance(value, type):
            return convert()
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise ModelFailed(
        f"predict returned a {kind}, which has no JSON form; return numbers, strings, lists, dicts or arrays"
    )


def not_finite(name: str) -> ModelFailed:
    return ModelFailed(f"output {name!r} holds NaN or infinity, which JSON cannot express")
