"""`plimsoll load` on the load's core, and what it reports: the open loop that judges."""

import csv
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import LOAD_CORE, on_core, python

ACCEPTED = ("ok", "degraded", "cached")


def p99(times: list[float]) -> float | None:
    return sorted(times)[int(len(times) * 0.99)] if times else None


@dataclass(frozen=True)
class Judged:
    """One run. Milliseconds; None where nobody was answered so. `told` is the whole JSON report; `requests` are (when
    it should have been sent, outcome, latency), for percentiles without the report's 2.5%."""

    told: dict[str, Any]
    requests: list[tuple[float, str, float | None]]

    @property
    def goodput_per_s(self) -> float:
        return float(self.told["goodput_per_s"])

    @property
    def offered(self) -> int:
        return int(self.told["offered"])

    @property
    def ended(self) -> int:
        return sum(self.told["outcomes"].values())

    @property
    def p99_ms(self) -> float | None:
        """Of the accepted."""
        return p99([took for _, outcome, took in self.requests if outcome in ACCEPTED and took is not None])

    @property
    def refusal_p99_ms(self) -> float | None:
        """Of whatever was answered but not accepted: also of what expired or failed."""
        return p99([took for _, outcome, took in self.requests if outcome not in ACCEPTED and took is not None])

    @property
    def failures(self) -> str:
        """Outcomes beside accepted and shed, for who reads a table: `expired 3`."""
        counts = self.told["outcomes"]
        return ", ".join(f"{name} {counts[name]}" for name in counts if name not in ACCEPTED and name != "shed")

    @property
    def hung(self) -> int:
        """Without an answer, whatever the reason: no connection came free, or it broke."""
        lost = ("unsent", "connection_lost", "connect_refused", "connect_timeout", "connect_failed")
        return int(self.told["hung"]) + sum(self.told["outcomes"].get(name, 0) for name in lost)

    @property
    def lag_p99_ms(self) -> float:
        return float(self.told["generator_lag_ms"]["p99"] or 0.0)

    def count(self, *outcomes: str) -> int:
        return sum(self.told["outcomes"].get(name, 0) for name in outcomes)


def command_of(url: str, body: bytes, *options: str) -> list[str]:
    return [*on_core(LOAD_CORE), *python("-m", "plimsoll", "load", url, "--body", body.decode(), "--json", *options)]


def judge(
    url: str, body: bytes, rate: float, seconds: float, *options: str, seed: int = 1, arrivals: str = "poisson"
) -> Judged:
    """Raises RuntimeError with what `plimsoll load` said where it did not end well."""
    return judge_by(
        url, body, "--rate", f"{rate:.1f}", "--for", f"{seconds:g}s", "--arrivals", arrivals, *options, seed=seed
    )


def judge_by(url: str, body: bytes, *options: str, seed: int = 1) -> Judged:
    """`options` say how much: a rate, a ramp, a trace."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "requests.csv"
        told = run_json(command_of(url, body, "--seed", str(seed), "--requests", str(log), *options))
        return Judged(told, requests_of(log))


def steps(path: Path, *rates: tuple[float, float]) -> Path:
    """A trace: (seconds, requests a second) one after the other."""
    lines, at = ["seconds,requests_per_second"], 0.0
    for seconds, rate in rates:
        lines.append(f"{at:g},{rate:.1f}")
        at += seconds
    path.write_text("\n".join([*lines, f"{at:g},0", ""]))
    return path


def requests_of(log: Path) -> list[tuple[float, str, float | None]]:
    """(when it should have been sent, outcome, latency in ms), by the first."""
    with log.open(newline="") as file:
        rows = csv.DictReader(file)
        read = [
            (float(row["at_s"]), row["outcome"], float(row["latency_ms"]) if row["latency_ms"] else None)
            for row in rows
        ]
    return sorted(read, key=lambda one: one[0])


def run_json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
