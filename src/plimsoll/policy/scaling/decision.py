"""What every scaler returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason` is a sentence for a person; `evidence` the figures behind it."""

    replicas: int
    reason: str
    evidence: Mapping[str, float] = field(default_factory=dict)
