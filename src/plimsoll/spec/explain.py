"""From pydantic's errors to ours: file, line, dotted key, what was expected, the nearest known key.

Works on any model class of `parts`: the known keys, and where else a misplaced key belongs, are read from its fields.
"""

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from plimsoll.core.errors import SpecError, SpecErrors
from plimsoll.spec import later
from plimsoll.spec.origin import Origin, dotted
from plimsoll.spec.shape import Path, as_written, keys, literals, model_at, names_of, walk
from plimsoll.spec.values import shown

M = TypeVar("M", bound=BaseModel)

_DEEPEST = 64
_FREE_KEYS = {
    "labels",
    "annotations",
    "matchLabels",
    "claims",
    "selector",
    "nodeSelector",
}  # mappings whose keys are the user's, to text
_MOST_PROBLEMS = 100  # of one document: nobody reads more, and each costs a search for the nearest key


def validated(kind: type[M], data: object, origin: Origin) -> M:
    """Raises SpecErrors. A key without a value is a problem of its own, not the same as one left out."""
    empty: list[Path] = []
    data = _without_nulls(data, (), empty)
    problems = [origin.problem(dotted(path), _empty(kind, path)) for path in empty if not _FREE_KEYS & set(path[:-1])]
    problems += [
        origin.problem(dotted(path), "expected text, not null; put it in quotes or remove it")
        for path in empty
        if _FREE_KEYS & set(path[:-1])
    ]
    try:
        whole = kind.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False)[:_MOST_PROBLEMS]:
            if (detail["type"] == "missing" and detail["loc"] in empty) or _of_its_items(detail):
                continue
            problems.append(_problem(kind, detail, origin))
        raise SpecErrors(problems) from None
    if problems:
        raise SpecErrors(problems)
    return whole


def _without_nulls(data: object, path: Path, empty: list[Path]) -> object:
    if len(path) > _DEEPEST:
        return data
    if isinstance(data, dict):
        kept = {}
        for key, value in data.items():
            if value is None:
                empty.append((*path, key if isinstance(key, str) else repr(key)))
            else:
                kept[key] = _without_nulls(value, (*path, key), empty)
        return kept
    if isinstance(data, list):
        return [_without_nulls(value, (*path, index), empty) for index, value in enumerate(data)]
    return data


def _empty(kind: type[BaseModel], path: Path) -> str:
    """A key without a value: `labels:` and nothing below."""
    parent = model_at(kind, path[:-1])
    key = str(path[-1])
    if parent is not None and key not in keys(parent):
        return _unknown(kind, path)
    below = model_at(kind, path)
    return f"has no value; expected {_listed(keys(below))}" if below else "has no value; give it one or remove the key"


def _of_its_items(detail: ErrorDetails) -> bool:
    """A list counted without its wrong items, which are told of themselves."""
    given = detail["input"]
    return detail["type"] == "too_short" and isinstance(given, list) and len(given) >= detail["ctx"]["min_length"]


def _problem(kind: type[BaseModel], detail: ErrorDetails, origin: Origin) -> SpecError:
    context: dict[str, Any] = detail.get("ctx", {})
    path: Path = detail["loc"]
    for part in context.get("at", ()):
        path = path[:-1] if part == ".." else (*path, part)
    if detail["type"] != "extra_forbidden":  # min_replicas, as somebody wrote it, is no key
        path = as_written(kind, path)
    return origin.problem(dotted(path), _message(kind, path, detail, context))


def _message(kind: type[BaseModel], path: Path, detail: ErrorDetails, context: dict[str, Any]) -> str:
    given = detail["input"]
    match detail["type"]:
        case "at":
            return str(context["message"])
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            return _unknown(kind, path)
        case "missing":
            return f"missing; expected {_expected(kind, path)}"
        case "literal_error":
            return _not_one_of(kind, path, given)
        case "greater_than_equal":
            return f"{given} is too small; expected {context['ge']} or more"
        case "less_than_equal":
            return f"{given} is too large; expected {context['le']} or less"
        case "too_long":
            return f"expected at most {context['max_length']:,} entries"
        case "too_short":
            return f"expected at least {context['min_length']} entry; add one, or remove the key for its default"
        case "string_too_short" | "string_too_long":
            return _wrong_length(detail["type"], context)
        case other:
            return _wrong_type(kind, path, other, given) or f"{detail['msg']}; expected {_expected(kind, path)}"


def _wrong_type(kind: type[BaseModel], path: Path, problem: str, given: object) -> str:
    match problem:
        case "string_type":
            return f"expected text, not {_named(given)}" + ("; put it in quotes" if _scalar(given) else "")
        case "bool_type":
            return f"expected true or false, not {_named(given)}"
        case "int_type" | "int_from_float":
            hint = "; write it without quotes" if isinstance(given, str) and given.isdecimal() else ""
            return f"expected a whole number, not {_named(given)}{hint}"
        case "model_type" | "model_attributes_type" | "dict_type":
            known = keys(model_at(kind, path))
            return f"expected a mapping{' with ' + _listed(known) if known else ''}, not {_named(given)}"
        case "tuple_type":
            return f"expected a list (lines that start with '- '), not {_named(given)}"
        case "string_pattern_mismatch":
            return f"{shown(given)} doesn't fit; expected {_expected(kind, path)}"
    return ""


def _wrong_length(problem: str, context: dict[str, Any]) -> str:
    if problem == "string_too_short":
        return "has no text; expected some"
    return f"is too long; expected at most {context['max_length']:,} characters"


def _unknown(kind: type[BaseModel], path: Path) -> str:
    key, parent = str(path[-1]), path[:-1]
    keys_to_come = later.KEYS.get(kind.__name__, {})
    coming = keys_to_come.get(dotted(names_of(parent)), frozenset())
    if key in coming:
        return later.NOT_YET
    model = model_at(kind, parent)
    if key in getattr(model, "REFUSED", {}):
        return str(model.REFUSED[key])  # type: ignore[union-attr]
    known = keys(model)
    by_letters = {_letters(name): name for name in known}
    if _letters(key) in by_letters:
        return f"unknown key; did you mean {by_letters[_letters(key)]}?"
    here = names_of(parent)
    elsewhere = [dotted((*place, key)) for place, model in walk(kind) if names_of(place) != here and key in keys(model)]
    if elsewhere:
        depth = min(place.count(".") for place in elsewhere)
        nearest = [place for place in elsewhere if place.count(".") == depth]
        return f"unknown key here; did you mean {' or '.join(nearest[:2])}?"
    coming_elsewhere = [f"{place}.{key}" for place, known_there in keys_to_come.items() if key in known_there]
    if coming_elsewhere:
        return f"unknown key here; {coming_elsewhere[0]} is {later.NOT_YET}"
    near = difflib.get_close_matches(key[:63], [*known, *sorted(coming)], n=1, cutoff=0.6)
    if near and near[0] in coming:
        return f"unknown key; {near[0]}, which is nearest, is {later.NOT_YET}"
    return f"unknown key; did you mean {near[0]}?" if near else f"unknown key; expected {_listed(known)}"


def _not_one_of(kind: type[BaseModel], path: Path, given: object) -> str:
    allowed = literals(kind, path)
    if _is_later(kind, path, given):
        return f"{given} is {later.NOT_YET}; expected {_listed(allowed)}"
    by_letters = {_letters(name): name for name in allowed}
    text = given if isinstance(given, str) else ""
    near = [by_letters[_letters(text)]] if _letters(text) in by_letters else []
    near = near or difflib.get_close_matches(text[:63], allowed, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near and len(allowed) > 1 else ""
    return f"{shown(given)} is not {'one of ' if len(allowed) > 1 else ''}{_listed(allowed)}{hint}"


def _is_later(kind: type[BaseModel], path: Path, given: object) -> bool:
    values = later.VALUES.get(kind.__name__, {}).get(dotted(names_of(path)), frozenset())
    return isinstance(given, str) and given in values


def _letters(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}" if names else "nothing here"


def _scalar(value: object) -> bool:
    return isinstance(value, int | float)


def _named(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {shown(value)}"
    if isinstance(value, str):
        return shown(value)
    return "a list" if isinstance(value, list | tuple) else "a mapping" if isinstance(value, dict) else "this"


def _expected(kind: type[BaseModel], path: Path) -> str:
    """What belongs at a key: its values, the keys below it, or its description."""
    allowed, below = literals(kind, path), model_at(kind, path)
    if allowed or below is not None:
        return _listed(allowed) if allowed else f"a mapping with {_listed(keys(below))}"
    names = names_of(path)
    model = model_at(kind, names[:-1])
    for name, field in model.model_fields.items() if model is not None and names else ():
        if (field.alias or name) == names[-1]:
            text = (field.description or "a value").rstrip(".")
            return text[0].lower() + text[1:]
    return "a value"
