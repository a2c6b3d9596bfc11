"""What every part of every kind has in common, and what every whole object has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic.alias_generators import to_camel

from plimsoll.core.errors import SpecError
from plimsoll.spec.explain import validated
from plimsoll.spec.origin import Origin
from plimsoll.spec.values import Annotations, DnsLabel, Labels

API_VERSION = "plimsoll.dev/v1alpha1"


class Part(BaseModel):
    """camelCase outside, immutable, nothing converted silently, no unknown keys."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)

    # Keys that somebody who knows the other kinds would write here, and why they don't belong.
    REFUSED: ClassVar[Mapping[str, str]] = {}


class ClusterMetadata(Part):
    """Who an object is that belongs to the whole platform."""

    REFUSED: ClassVar[Mapping[str, str]] = {"namespace": "belongs to the platform, to no namespace; remove it"}

    name: DnsLabel = Field(description="The object's name, a DNS label: in metrics, logs, the audit log and commands.")
    labels: Labels = Field(default_factory=dict, description="Labels, as Kubernetes has them. Default: none.")
    annotations: Annotations = Field(
        default_factory=dict, description="Free text for people and tools. Plimsoll reads none of it. Default: none."
    )


class Whole(Part):
    """One document: what the user wrote and where it stands. A subclass has `kind`, `metadata` and `spec`."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @classmethod
    def parse(cls, data: object, origin: Origin | None = None) -> Self:
        """From the form that `dump` gives. Raises SpecErrors with everything that is wrong."""
        origin = origin or Origin()
        whole = validated(cls, data, origin)
        whole._origin = origin
        return whole

    def dump(self) -> dict[str, Any]:
        """As the user wrote it: JSON-able, camelCase, without what was left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def __eq__(self, other: object) -> bool:
        """Equal where the same is written, wherever it stands."""
        return isinstance(other, Whole) and type(other) is type(self) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # labels are dicts; pydantic's frozen hash would fail at run time

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def directory(self) -> Path:
        """What the paths in it are relative to: the folder of the file (as it was named to `load_file`)."""
        return Path(self._origin.file).parent

    def problem(self, key: str, message: str) -> SpecError:
        """An error found later, at the line of `key`: `problem("spec.model.path", "no such file")`."""
        return self._origin.problem(key, message)

    def place(self, key: str) -> str:
        """`service.yaml:9`, for a message about another object."""
        line = self._origin.line_of(key)
        return f"{self._origin.file}:{line}" if line else self._origin.file or "another document"
