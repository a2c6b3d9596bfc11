"""What a `ModelService` runs, and how."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from plimsoll.spec.base import Part
from plimsoll.spec.formats import Format, check_path, guess_format, is_import
from plimsoll.spec.values import PositiveDuration, RequirementText


class ModelSource(Part):
    """What is served."""

    format: Format | None = Field(
        default=None,
        description="How the model is run: Python, ONNX or SKLearn. Default: guessed from the path: .py, a folder with "
        "model.py or package.module:Class is Python, .onnx is ONNX, .skops, .pkl, .pickle and .joblib are SKLearn.",
    )
    path: str = Field(
        min_length=1,
        max_length=4096,
        description="A file or folder, relative to this file, or package.module:Class for a class to import.",
    )
    class_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The class in a Python file. Default: the only class that has a predict method.",
    )

    @field_validator("path")
    @classmethod
    def _path_tells_the_format(cls, path: str, info: ValidationInfo) -> str:
        check_path(path)
        if "format" in info.data and info.data["format"] is None:
            guess_format(path)
        return path

    @field_validator("class_name")
    @classmethod
    def _only_python_has_classes(cls, name: str | None, info: ValidationInfo) -> str | None:
        path = info.data.get("path")
        if name is None or path is None or "format" not in info.data:
            return name
        if (info.data["format"] or guess_format(path)) != "Python":
            raise ValueError("only a Python model has a class; remove className")
        if is_import(path):
            raise ValueError("the path names its class already; remove className")
        return name


class Runtime(Part):
    """How the model runs."""

    requirements: Annotated[tuple[RequirementText, ...], Field(strict=False)] = Field(
        default=(), description="What the model imports, as PEP 508 requirements: numpy>=2.0. Default: none."
    )
    isolation: Literal["Thread", "Process"] = Field(
        default="Thread",
        description="Where predict runs. Thread is faster; Process suits a model that holds the interpreter lock, and "
        "can be replaced when it hangs.",
    )
    predict_timeout: PositiveDuration = Field(
        default="10s", description="A call of predict that takes longer counts as hung, and its replica is replaced."
    )
    load_timeout: PositiveDuration = Field(
        default="60s", description="A model that hasn't loaded and warmed up by then has failed."
    )
    unsafe_formats: Annotated[tuple[Literal["Pickle"], ...], Field(strict=False)] = Field(
        default=(),
        description="Pickle allows .pkl, .pickle and .joblib files, which run any code they hold when loaded.",
    )
