"""`digits`, whose refusals cost as much CPU as its answers: microseconds of CPU a refusal, and goodput over the load.

CPU time is of `/proc/PID/stat`, of whatever serves: the replica alone, or the gateway and the replica together with
each named apart. All are refused because no deadline as short can be kept; 32 callers, as where answers are counted.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from load import drive
from servers import HERE, LOAD_CORE, on_core, python
from stack import WAYS, Stack, cpu_s, serving
from table import Row

TIMES = (0.5, 1.0, 1.5, 2.0, 3.0)
_BAR_US = 45
_DEADLINE_MS = 0.01  # 20 us of compute don't fit


def refusal_part(file: Path, body: bytes, work: Path, *, seconds: float, say: Callable[[str], None]) -> list[Row]:
    rows: list[Row] = []
    sent = work / "digits.json"
    sent.write_bytes(body)
    for way in WAYS:
        with serving(way, file, "/v2/models/digits/infer", work=work) as stack:
            say(f"digits {way}: capacity")
            drive(stack.url, body, connections=32, seconds=1, folder=work)
            rows += _cpu_rows(stack, body, work, seconds)
            capacity = drive(stack.url, body, connections=32, seconds=seconds, folder=work).per_s
            for times in TIMES:
                say(f"digits {way}: {times:g}x")
                rows.append(_point(stack, times, capacity, _flood(stack.url, times * capacity, seconds / 2, 200, sent)))
    return rows


def _cpu_rows(stack: Stack, body: bytes, work: Path, seconds: float) -> list[Row]:
    parts = (
        {"replica": stack.replicas} if stack.way == "straight" else {"gateway": stack.doors, "replica": stack.replicas}
    )
    before = {name: cpu_s(pids) for name, pids in parts.items()}
    headers = {"plimsoll-deadline-ms": str(_DEADLINE_MS)}
    run = drive(stack.url, body, connections=32, seconds=seconds, folder=work, headers=headers)
    sent = run.per_s * max(1, round(seconds))
    used = {name: (cpu_s(pids) - before[name]) / sent * 1e6 for name, pids in parts.items()}
    if run.errors < 0.99 * sent:
        raise RuntimeError(f"{run.errors} of {sent:.0f} were refused: no deadline should have been kept")
    against = f"{_BAR_US} us; {run.per_s:,.0f}/s"
    return [
        Row(f"digits, {stack.way}", f"CPU a refusal, {name}", f"{us:.0f} us", against, us / _BAR_US, "≤ 1.0")
        for name, us in used.items()
    ]


def _flood(url: str, rate: float, seconds: float, deadline_ms: float, body: Path) -> dict[str, Any]:
    command = python(str(HERE / "flood.py"), url, f"{rate:.0f}", f"{seconds:g}", f"{deadline_ms:g}", str(body))
    done = subprocess.run([*on_core(LOAD_CORE), *command], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout) | {"seconds": seconds}
    return found


def _point(stack: Stack, times: float, capacity: float, found: dict[str, Any]) -> Row:
    good, offered = found["in_time"] / found["seconds"], found["offered"] / found["seconds"]
    p99 = f"{found['p99_ms']:.0f}" if found["p99_ms"] is not None else "-"
    return Row(
        f"digits, {stack.way}",
        f"{times:g}x goodput",
        f"{good:,.0f}/s",
        f"offered {offered:,.0f}/s; p99 {p99} ms; unanswered {found['unanswered']:,}",
        good / min(capacity, times * capacity),
    )
