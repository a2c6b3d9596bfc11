"""What the model classes look like: the keys at a place, the parts below it, the values a key takes."""

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

Path = tuple[str | int, ...]


def names_of(path: Path) -> Path:
    """The keys alone, without the places in lists."""
    return tuple(part for part in path if isinstance(part, str))


def keys(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def field_type(model: type[BaseModel], key: str) -> Any:
    for name, field in model.model_fields.items():
        if (field.alias or name) == key:
            return field.annotation
    return None


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


def model_at(kind: type[BaseModel], path: Path) -> type[BaseModel] | None:
    model: type[BaseModel] | None = kind
    for part in path:
        if isinstance(part, str):
            model = next(models_in(field_type(model, part)), None) if model is not None else None
    return model


def as_written(kind: type[BaseModel], path: Path) -> Path:
    """Pydantic names a field that was left out by its own name, not by its key: maxAge for max_age."""
    written: Path = ()
    for part in path:
        model = model_at(kind, written) if isinstance(part, str) else None
        field = model.model_fields.get(str(part)) if model is not None else None
        written = (*written, (field.alias or part) if field is not None else part)
    return written


def walk(kind: type[BaseModel], path: Path = ()) -> Iterator[tuple[Path, type[BaseModel]]]:
    yield path, kind
    for key in keys(kind):
        annotation = field_type(kind, key)
        index = (0,) if typing.get_origin(annotation) is tuple else ()
        for below in models_in(annotation):
            yield from walk(below, (*path, key, *index))


def literals(kind: type[BaseModel], path: Path) -> list[str]:
    names = names_of(path)
    model = model_at(kind, names[:-1])
    found: list[str] = []

    def collect(annotation: Any) -> None:
        if typing.get_origin(annotation) is typing.Literal:
            found.extend(str(value) for value in typing.get_args(annotation))
            return
        for argument in typing.get_args(annotation):
            collect(argument)

    if model is not None and names:
        collect(field_type(model, str(names[-1])))
    return found
