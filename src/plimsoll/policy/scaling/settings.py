"""Settings behind a policy's name, as on a command line: `kpa:target=10,window=30s`."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plimsoll.core.units import parse_duration


def nearest(name: str, known: Iterable[str]) -> str:
    """ " (did you mean kpa?)", or nothing where no name is near."""
    near = difflib.get_close_matches(name[:63].lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def read_settings(text: str, known: Mapping[str, Callable[[str], Any]], policy: str) -> dict[str, Any]:
    """`key=value` pairs, separated by commas, each value read by its function of `known`. Empty text: {}. Raises
    ValueError that names the policy, the key, what it knows, and the nearest known key."""
    found: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in known:
            raise ValueError(f"{policy}: unknown setting {key!r}{nearest(key, known)}; it has {', '.join(known)}")
        if not equals or not value:
            raise ValueError(f"{policy}: {key} needs a value: {key}=…")
        if key in found:
            raise ValueError(f"{policy}: {key} is there twice")
        try:
            found[key] = known[key](value)
        except ValueError as error:
            raise ValueError(f"{policy}: {key}={value}: {error}") from None
    return found


def led_by(key: str, text: str) -> str:
    """A bare value first stands for `key`: `8,cooldown=60s` is `queue=8,cooldown=60s`."""
    return f"{key}={text}" if text.strip() and "=" not in text.partition(",")[0] else text


def number(least: float, most: float = float("inf"), *, above: bool = False) -> Callable[[str], float]:
    """A reader of numbers from `least` (beyond it where `above`) to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError("expected a number") from None
        if not (least < value if above else least <= value) or value > most or value == float("inf"):
            bound = f"above {least:g}" if above else f"{least:g} or more"
            raise ValueError(f"expected a number {bound}" + (f", at most {most:g}" if most != float("inf") else ""))
        return value

    return read


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """A reader of whole numbers."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise ValueError(f"expected a whole number, {least} or more")
        return value

    return read


def share(text: str) -> float:
    """`70%` or `0.7`, in (0, 1]."""
    value = number(0.0, above=True)(text.removesuffix("%"))
    value = value / 100 if text.endswith("%") else value
    if value > 1:
        raise ValueError("expected a share: 70% or 0.7")
    return value


def seconds(text: str) -> float:
    """`30s`, `5m`, or a number of seconds; 0 or more."""
    try:
        return number(0.0)(text)
    except ValueError:
        return parse_duration(text)
