"""Label selectors as the API has them in `labelSelector`: a comma-separated list, all of which must hold.

`a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, `a>1`, `a<1`. As in Kubernetes, `!=` and `notin` hold
where the label is missing.
"""

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]

_KEY = r"(?P<key>[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?)"
_SET = re.compile(rf"\s*{_KEY}\s+(?P<how>in|notin)\s*\((?P<values>[^()]*)\)\s*\Z")
_EQUAL = re.compile(rf"\s*{_KEY}\s*(?P<how>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)\s*\Z")
_ORDER = re.compile(rf"\s*{_KEY}\s*(?P<how>[<>])\s*(?P<value>-?[0-9]+)\s*\Z")
_THERE = re.compile(rf"\s*(?P<how>!?)\s*{_KEY}\s*\Z")


def parse_selector(text: str) -> Requirement:
    """Raises ValueError that names the part that is none."""
    parts = [_requirement(part) for part in _split(text)]
    return lambda labels: all(part(labels) for part in parts)


def _split(text: str) -> list[str]:
    """At commas outside of parentheses."""
    parts = re.findall(r"(?:[^,()]|\([^()]*\))+", text)
    if text.strip() and ",".join(parts) != text:
        raise ValueError(f"{text[:100]!r} is no label selector; expected such as app=mood,tier in (a,b)")
    return [part for part in parts if part.strip()]


def _requirement(part: str) -> Requirement:
    if match := _SET.match(part):
        values = {value.strip() for value in match["values"].split(",")}
        return _within(match["key"], frozenset(values), match["how"] == "in")
    if match := _EQUAL.match(part):
        return _within(match["key"], frozenset({match["value"]}), match["how"] != "!=")
    if match := _ORDER.match(part):
        return _ordered(match["key"], int(match["value"]), match["how"] == ">")
    if match := _THERE.match(part):
        key, there = match["key"], not match["how"]
        return lambda labels: (key in labels) is there
    raise ValueError(f"{part.strip()[:100]!r} is no label selector; expected such as app=mood, app in (a,b) or !app")


def _within(key: str, values: frozenset[str], inside: bool) -> Requirement:
    return lambda labels: (labels[key] in values) is inside if key in labels else not inside


def _ordered(key: str, bound: int, above: bool) -> Requirement:
    def holds(labels: Labels) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if above else value < bound

    return holds
