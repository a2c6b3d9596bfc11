"""Closed-loop load with wrk, or with a client of our own where wrk is missing."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from servers import HERE, LOAD_CORE, on_core

_DISTINCT = """local body, n = wrk.body, 0
function request()
  n = n + 1
  return wrk.format(nil, nil, nil, body .. n)
end
"""
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    answered_per_s: float  # without errors


def drive(
    url: str,
    body: bytes,
    *,
    connections: int,
    seconds: float,
    folder: Path,
    headers: dict[str, str] | None = None,
    distinct: bool = False,
) -> Load:
    """As many requests as `connections` callers get answered; `headers` beside the content type. `distinct` (wrk only):
    each body differs, by a number after it, which only who doesn't read it takes."""
    tool = [sys.executable, str(HERE / "client.py")] if shutil.which("wrk") is None else ["wrk"]
    arguments = [
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        "-s",
        str(_script(body, headers or {}, folder, distinct=distinct)),
        url,
    ]
    done = subprocess.run([*on_core(LOAD_CORE), *tool, *arguments], capture_output=True, text=True, check=True)
    return parse(done.stdout)


def parse(text: str) -> Load:
    """wrk's report."""
    failed = [int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", text)]
    failed += [int(count) for line in re.findall(r"Socket errors:.*", text) for count in re.findall(r"\d+", line)]
    per_s = float(_find(r"Requests/sec:\s+([\d.]+)", text))
    total = int(_find(r"(\d+) requests in", text))
    return Load(
        per_s=per_s,
        p50_ms=_milliseconds(_find(r"50%\s+([\d.]+\w+)", text)),
        p99_ms=_milliseconds(_find(r"99%\s+([\d.]+\w+)", text)),
        errors=sum(failed),
        answered_per_s=per_s * max(1 - sum(failed) / max(total, 1), 0.0),
    )


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"no report of the load tool:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    assert match is not None, text
    return float(match[1]) * _UNITS[match[2]]


def _script(body: bytes, headers: dict[str, str], folder: Path, *, distinct: bool) -> Path:
    path = folder / "post.lua"
    sent = {"Content-Type": "application/json"} | headers
    lines = ['wrk.method="POST"', *(f'wrk.headers["{name}"]="{value}"' for name, value in sent.items())]
    lines += ["wrk.body=[==[" + body.decode() + "]==]", _DISTINCT if distinct else ""]
    path.write_text("\n".join(lines))
    return path
