"""Label selectors (`a=b,c!=d,e in (f,g),!h`) and field selectors (`metadata.name=x,status.phase!=Running`)."""

import re

from tests.kube.errors import ApiError

_SET = re.compile(r"^\s*([^\s!=,()]+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
_PARTS = re.compile(r",(?![^(]*\))")


def labels(text):
    """A predicate over a dict of labels."""
    tests = [_label_test(part) for part in _PARTS.split(text or "") if part.strip()]
    return lambda found: all(test(found) for test in tests)


def _label_test(part):
    if match := _SET.match(part):
        key, word, values = match[1], match[2], {value.strip() for value in match[3].split(",")}
        return (
            (lambda found: found.get(key) in values) if word == "in" else (lambda found: found.get(key) not in values)
        )
    for sign in ("!=", "==", "="):
        if sign in part:
            key, value = (side.strip() for side in part.split(sign, 1))
            return _compares(key, value, sign != "!=")
    key = part.strip()
    return (lambda found: key[1:].strip() not in found) if key.startswith("!") else (lambda found: key in found)


def _compares(key, value, same):
    return lambda found: (found.get(key) == value) is same


def fields(text):
    """A predicate over objects."""
    tests = []
    for part in filter(None, (text or "").split(",")):
        sign = next((sign for sign in ("!=", "==", "=") if sign in part), None)
        if sign is None:
            raise ApiError(400, f"invalid field selector {part!r}")
        path, value = part.split(sign, 1)
        tests.append((path.strip().split("."), value.strip(), sign != "!="))

    def matches(obj):
        return all((_at(obj, path) == value) is same for path, value, same in tests)

    return matches


def _at(obj, path):
    for name in path:
        if not isinstance(obj, dict):
            return ""
        obj = obj.get(name)
    return "" if obj is None else str(obj)


def matches(selector, found):
    """Whether metav1.LabelSelector `selector` (a dict) takes labels `found`; an absent one takes nothing."""
    if selector is None:
        return False
    if any(found.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for one in selector.get("matchExpressions") or ():
        value, values = found.get(one["key"]), one.get("values") or []
        taken = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[one["operator"]]
        if not taken:
            return False
    return True
