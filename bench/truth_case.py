"""What `truth.py` compares on: a model, its service file, and a recorded trace of arrival times for it."""

import json
from dataclasses import dataclass
from math import pi, sin
from pathlib import Path

import numpy as np

from models import make


@dataclass(frozen=True)
class Case:
    """`low`, `high`: between which shares of `per_s` the rate swings, once a minute. `per_s` is what one replica does
    one request at a time, as its profile says. `spec`: lines of the service file. `replicas`: those it starts with."""

    name: str
    model: str
    spec: str
    low: float
    high: float
    policy: str = "fixed:1"  # the file's own, as `plan` calls it
    seed: int = 1

    def write(self, folder: Path) -> Path:
        """A folder of its own with the model, the service file and an example; the file's path."""
        home = folder / self.name
        home.mkdir(parents=True, exist_ok=True)
        model = make(folder)[self.model]
        (home / f"{self.model}.onnx").write_bytes(model.read_bytes())
        (home / "request.json").write_text(json.dumps(example()))
        file = home / "service.yaml"
        file.write_text(
            f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: {self.name}}}\nspec:\n"
            f"  model: {{path: ./{self.model}.onnx}}\n{self.spec}"
        )
        return file

    def trace(self, file: Path, seconds: float, per_s: float) -> int:
        """Writes arrival times, one a line; returns how many. Poisson, at a rate that swings slowly."""
        times = arrivals(seconds, self.low * per_s, self.high * per_s, self.seed)
        file.write_text("timestamp\n" + "".join(f"{1_700_000_000 + at:.6f}\n" for at in times))
        return len(times)


def arrivals(seconds: float, low: float, high: float, seed: int, period_s: float = 60.0) -> list[float]:
    """Poisson times in [0, seconds): drawn at the highest rate and thinned. The rate begins and ends low."""
    random = np.random.default_rng(seed)
    count = random.poisson(high * seconds)
    times = np.sort(random.uniform(0.0, seconds, count))
    period_s = min(period_s, seconds)
    rates = np.array([low + (high - low) * (0.5 + 0.5 * sin(2 * pi * at / period_s - pi / 2)) for at in times])
    kept = times[random.uniform(0.0, high, count) < rates]
    return [0.0, *(float(at) for at in kept)]


def example() -> dict[str, object]:
    """One input of 64 features in the inference protocol's words."""
    row = [round(float(value), 3) for value in np.random.default_rng(0).random(64)]
    return {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": row}]}


CASES = {
    "digits": Case(
        "digits",
        "digits",
        "  budget: {latency: {p99: 50ms}}\n",
        low=0.05,
        high=0.2,
    ),
    # One request at a time: what makes it need a second replica long before the machine is full.
    "heavy": Case(
        "heavy",
        "heavy",
        "  budget: {latency: {p99: 6ms}}\n"
        "  batching: {maxSize: 1}\n"
        "  resources: {requests: {cpu: 500m}}\n"
        "  scaling: {minReplicas: 1, maxReplicas: 2, scaleDown: {stabilizationWindow: 5s}}\n",
        low=0.2,
        high=0.6,
        policy="budget",
    ),
}
