"""Durations, quantities and shares as users write them, to plain numbers and back.

Kubernetes' own notations: a duration is `100ms`, `1.5s`, `10m`, `1h30m`; a quantity is `500m`, `2`, `512Mi`, `1G`;
a share is `0.1%`. Errors are ValueErrors whose text says what was expected.
"""

import re
from functools import lru_cache

_KNOWN = 4096  # texts: a controller asks for the same ones each second, of thousands of services

_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+(?:[.][0-9]+)?)(ns|us|ms|s|m|h)")
_QUANTITY = re.compile(r"([0-9]+(?:[.][0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?\Z")
_QUANTITY_SUFFIXES = {
    None: 1.0, "m": 1e-3,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


@lru_cache(_KNOWN)
def parse_duration(text: str) -> float:
    """Seconds. `0s` and `0` are zero; anything else needs a unit."""
    if text in {"0", "0s"}:
        return 0.0
    total, at = 0.0, 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != at:
            break
        total += float(part[1]) * _DURATION_UNITS[part[2]]
        at = part.end()
    if at != len(text) or at == 0:
        raise ValueError(f"{text!r} is no duration; write a number with a unit: 100ms, 1.5s, 10m, 1h30m")
    return total


def format_duration(seconds: float) -> str:
    """The shortest text that a person reads at a glance: `100ms`, `1.5s`, `5m`, `2h`."""
    if seconds == 0:
        return "0s"
    for unit, size in (("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if seconds >= size and (unit == "s" or seconds % size == 0):
            return f"{seconds / size:g}{unit}"
    if seconds >= 0.001:
        return f"{seconds * 1000:g}ms"
    return f"{seconds * 1e6:g}us"


@lru_cache(_KNOWN)
def parse_quantity(text: str) -> float:
    """Cores or bytes: `500m` is 0.5, `512Mi` is 536870912."""
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity; write a number with an optional suffix: 500m, 2, 512Mi, 1G")
    return float(match[1]) * _QUANTITY_SUFFIXES[match[2]]


def format_bytes(count: float) -> str:
    for suffix, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if count >= size:
            return f"{count / size:.4g}{suffix}"
    return f"{count:.0f}"


@lru_cache(_KNOWN)
def parse_share(text: str) -> float:
    """A share of one: `0.1%` is 0.001."""
    match = re.match(r"([0-9]+(?:[.][0-9]+)?)%\Z", text)
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is no share; write a percentage from 0% to 100%: 0.1%")
    return float(match[1]) / 100
