"""What a replica says of itself, wherever it runs (docs/processes.md), in words for people."""

from collections.abc import Mapping
from typing import Any


def place_of(event: Mapping[str, Any]) -> str:
    """`model.py:14 `, before the reason of a `failed` event; "" where there is none, or the reason names it."""
    file, line = str(event.get("file") or ""), event.get("line")
    if not file or str(event.get("reason", "")).startswith(file):
        return ""
    return f"{file}:{line} " if line else f"{file} "
