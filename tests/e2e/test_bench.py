"""The benchmarks run: real servers, real load, one short round. What they measure is not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.mark.timeout(240)
def test_overload_is_measured_both_ways(tmp_path):
    told = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(BENCH / "run.py"), "--only", "overload", "--quick", "--json", str(told)],
        capture_output=True, text=True, timeout=220, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(told.read_text())
    for way in ("straight", "gateway"):
        found = {row["what"]: row for row in rows if row["part"] == f"sleepy, {way}"}
        assert {"3x goodput", "3x accepted p99", "3x refusal p99", "3x hung or uncounted"} <= set(found)
        assert found["3x hung or uncounted"]["ratio"] == 0, "each request has one outcome, however short the run"
        assert "0.5x → 5x, inside again" in found
