"""Large JSON values cut into parts of about 2,048 scalars, so that no single frame holds the interpreter lock.

Decoding or encoding a part takes 20 us; the loop turns between them. What is left of a value holds places instead of
its parts, and `put_back` joins them again: a copy of pointers.
"""

from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

PART = 2048
_PLACE = "\x00plimsoll-part"  # a client's own key of this name does not survive
_DEEPEST = 200  # levels; Python's and msgspec's own limits come soon after
_CONTAINERS = frozenset({list, tuple, dict})
_HOLDERS = _CONTAINERS | {np.ndarray}


def exceeds(values: Sequence[Any], limit: int) -> bool:
    """Whether JSON values hold more than about `limit` scalars. Of long lists a sample is looked at: 0.4 us for a
    usual answer, and never more than `limit` steps."""
    if len(values) == 1:
        (value,) = values
        if type(value) is dict and len(value) < PART and _HOLDERS.isdisjoint(map(type, value.values())):
            return False
    todo: list[tuple[Any, int]] = [(values, 1)]
    total = 0
    while todo:
        value, times = todo.pop()
        kind = type(value)
        if kind is dict:
            count = len(value)
            if count <= 64:
                todo += [(item, times) for item in value.values()]
            else:
                todo += [(item, times * (count // 3)) for item in islice(value.values(), 3)]
            total += times * count
        elif kind is list or kind is tuple:
            count = len(value)
            if count <= 8:
                todo += [(item, times) for item in value]
            else:
                todo += [(value[at], times * (count // 3)) for at in (0, count // 2, -1)]
            total += times * count
        elif isinstance(value, np.ndarray):
            total += times * value.size
        if total > limit:
            return True
    return False


class Cutter:
    """`emit` gets each part, before the value that `cut` returns. Raises RecursionError for what nests too deeply."""

    def __init__(self, emit: Callable[[list[Any]], None]) -> None:
        self._emit = emit
        self._count = 0

    def cut(self, value: Any) -> Any:
        """What is left of it: few scalars, and places."""
        return self._cut(value, 0)[0]

    def _cut(self, value: Any, depth: int) -> tuple[Any, int]:
        """What stays, and how many scalars that is."""
        if depth > _DEEPEST:
            raise RecursionError("nested too deeply")
        kind = type(value)
        if kind is dict:
            if len(value) > PART:
                left, _ = self._cut_list([[key, item] for key, item in value.items()], depth)
                return {_PLACE: [*left[_PLACE][:3], True]}, 1
            kept, total = {}, 1
            for key, item in value.items():
                if key != _PLACE:
                    kept[key], weight = self._cut(item, depth + 1)
                    total += weight
            return kept, total
        if kind is list or kind is tuple:
            return self._cut_list(value, depth)
        return value, 1

    def _cut_list(self, value: Sequence[Any], depth: int) -> tuple[Any, int]:
        size = len(value)
        if all(_CONTAINERS.isdisjoint(map(type, value[at : at + PART])) for at in range(0, size, PART)):
            if size <= PART:
                return value, size + 1
            first = self._count
            for at in range(0, size, PART):
                self._emit(list(value[at : at + PART]))
                self._count += 1
            return {_PLACE: [first, self._count, False, False]}, 1
        before = self._count
        kept, weights = [], []
        for item in value:
            kept_item, weight = self._cut(item, depth + 1) if type(item) in _CONTAINERS else (item, 1)
            kept.append(kept_item)
            weights.append(weight)
        if sum(weights) <= PART and size <= PART:
            return kept, sum(weights) + 1
        nested, first = self._count > before, self._count
        at = heavy = 0
        for end, weight in enumerate(weights, 1):
            heavy += weight
            if heavy >= PART or end == len(weights):
                self._emit(kept[at:end])
                self._count += 1
                at, heavy = end, 0
        return {_PLACE: [first, self._count, nested, False]}, 1


def put_back(value: Any, parts: list[list[Any]]) -> Any:
    """The value that was cut. Parts without places of their own are joined as they are."""
    if isinstance(value, dict):
        if _PLACE in value:
            first, end, nested, pairs = value[_PLACE]
            joined = list(chain.from_iterable(parts[first:end]))
            if nested:
                joined = [put_back(item, parts) for item in joined]
            return dict(joined) if pairs else joined
        return {key: put_back(item, parts) for key, item in value.items()}
    if isinstance(value, list):
        return [put_back(item, parts) for item in value]
    return value
