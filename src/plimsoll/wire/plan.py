"""What can be known of a model's requests and answers once, so that each request pays for its own data only."""

import os
from collections.abc import Hashable, Mapping

from plimsoll.core.errors import Invalid
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import ModelInfo, TensorSpec
from plimsoll.wire.tensor_json import DATATYPES, Array, Datatype

ITEMS_FROM_JSON: Hashable = ("items", "json")
ITEMS_FROM_ARRAYS: Hashable = ("items", "arrays")


def alone() -> Hashable:
    """A key equal to no other, in whichever process it was made: of a model whose requests can't be joined."""
    return ("alone", os.urandom(8))


class InputPlan:
    """One input: `rest` is its shape without the batch axis (its whole shape where the model has none)."""

    __slots__ = ("any_datatype", "form", "name", "rank", "rest", "shape", "varies")

    def __init__(self, spec: TensorSpec, batched: bool, any_datatype: bool) -> None:
        self.name, self.shape, self.rank = spec.name, spec.shape, len(spec.shape)
        self.form: Datatype = DATATYPES[spec.datatype]
        self.rest = spec.shape[1:] if batched else spec.shape
        self.varies = any(dimension < 0 for dimension in self.rest)
        self.any_datatype = any_datatype

    def check(self, form: Datatype, shape: tuple[int, ...], rest: tuple[int, ...]) -> None:
        """Raises Invalid unless a tensor of this datatype and shape is what the model takes."""
        if form is not self.form and not (self.any_datatype and form.dtype.kind == self.form.dtype.kind):
            raise Invalid(f"input {self.name!r}: datatype must be {self.form.name}, not {form.name}")
        if len(shape) != self.rank or any(want not in {-1, got} for want, got in zip(self.rest, rest, strict=True)):
            raise Invalid(f"input {self.name!r}: shape must be {list(self.shape)} (-1: any), not {list(shape)}")


class ModelPlan:
    """`inputs` is empty for a model that takes whatever it is sent."""

    __slots__ = ("batched", "headers", "info", "inputs", "instances", "max_batch", "names", "static_key", "takes_items")

    def __init__(self, info: ModelInfo) -> None:
        self.info = info
        self.batched = info.batched
        self.takes_items = info.takes_items
        self.max_batch = info.max_batch
        self.inputs = {spec.name: InputPlan(spec, info.batched, info.takes_items) for spec in info.inputs}
        self.names = tuple(self.inputs)
        fixed = info.inputs and not any(plan.varies for plan in self.inputs.values())
        self.static_key: Hashable = ("tensors", info.name) if fixed else None
        self.headers: dict[Hashable, bytes] = {}  # of answers, by `wire.oip`
        self.instances: object = None  # decoders of items, by `wire.instances`

    def check_names(self, arrays: Mapping[str, object]) -> None:
        """Raises Invalid unless exactly the model's inputs are there. (Extra ones are found on the way.)"""
        missing = [name for name in self.names if name not in arrays]
        if missing:
            raise Invalid(f"input {missing[0]!r} is missing; the model takes {', '.join(map(repr, self.names))}")

    def unknown(self, name: str) -> Invalid:
        return Invalid(f"input {name[:64]!r} is unknown; the model takes {', '.join(map(repr, self.names))}")

    def check_size(self, size: int) -> None:
        if size < 1:
            raise Invalid("there are no items; send at least one")
        if not self.batched and size > 1:
            raise Invalid("the model has no batch axis; send one instance a request")
        if self.max_batch is not None and size > self.max_batch:
            raise Invalid(f"{size} items are more than the model takes in one request; send at most {self.max_batch}")

    def key(self, arrays: Mapping[str, Array]) -> Hashable:
        """Only requests with equal keys can be joined along the first axis."""
        if not self.batched:
            return alone()
        if self.static_key is not None:
            return self.static_key
        if self.inputs:
            return ("tensors", *[array.shape[1:] for array in arrays.values()])
        return ("tensors", *[(name, array.dtype.str, array.shape[1:]) for name, array in arrays.items()])


_plans: dict[int, ModelPlan] = {}


def plan_of(info: ModelInfo) -> ModelPlan:
    """Made once a model. Keyed by identity: a ModelInfo holds a dict, so it has no hash, and one would cost more."""
    plan = _plans.get(id(info))
    if plan is None or plan.info is not info:
        if len(_plans) >= 64:  # a replica has one model; tests make many
            _plans.clear()
        plan = _plans[id(info)] = ModelPlan(info)
    return plan


def to_items(tensors: Tensors, *, batched: bool = True) -> Items:
    """`size` dicts of arrays without the batch axis: what a Python model gets. A scalar comes as numpy's scalar, an
    element of BYTES as str. Arrays are writable: authors change them in place."""
    arrays = {name: array if array.flags.writeable else array.copy() for name, array in tensors.arrays.items()}
    if not batched:
        return Items([arrays])
    if len(arrays) == 1:
        ((name, array),) = arrays.items()
        return Items([{name: row} for row in array])
    names = tuple(arrays)
    return Items([dict(zip(names, rows, strict=True)) for rows in zip(*arrays.values(), strict=True)])
