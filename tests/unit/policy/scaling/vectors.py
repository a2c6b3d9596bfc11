"""Reads cases of upstream projects' own tables, kept as JSON in tests/vectors."""

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).resolve().parents[3] / "vectors"


def cases(file: str) -> Any:
    """A parametrize mark over the file's cases, named as they are upstream."""
    found = json.loads((VECTORS / file).read_text(encoding="utf-8"))["cases"]
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.get("name", str(case))) for case in found])
