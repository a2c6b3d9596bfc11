"""What `plan` foretells of a model happens when the same arrivals come to it: `profile`, `plan`, `up`, `load`.

`bench/truth.py` holds the two to 20% on a quiet machine; here, beside other tests, a model that sleeps is held to what
noise can't bring about: half and double.
"""

import json
from random import Random

import pytest

SLEEPY = """
import time


class Model:
    def predict(self, batch):
        time.sleep(0.03 + 0.004 * len(batch))
        return [len(batch)] * len(batch)
"""
SPEC = "  budget: {latency: {p99: 400ms}}\n  batching: {maxSize: 8}\n  scaling: {minReplicas: 1, maxReplicas: 1}\n"
RATE, SECONDS, SEED = 60.0, 8.0, 7


def arrivals():
    random, at = Random(SEED), 0.0
    while (at := at + random.expovariate(RATE)) < SECONDS:
        yield at


@pytest.mark.timeout(180)
def test_a_plan_and_a_live_run_of_the_same_arrivals_agree(plimsoll, service, up):
    print(f"seed {SEED}")
    folder = service("sleepy", model=SLEEPY, spec=SPEC)
    (folder / "request.json").write_text('{"text": "one"}')
    trace = folder / "trace.csv"
    times = list(arrivals())
    trace.write_text("timestamp\n" + "".join(f"{1_700_000_000 + at:.6f}\n" for at in times))
    done = plimsoll("profile", "service.yaml", "--seconds", 3, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = plimsoll("plan", "service.yaml", "--trace", trace, "--policies", "fixed:1", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)["policies"][0]
    running = up("service.yaml", "--no-watch", cwd=folder).ready()
    told = json.loads(running.cli("load", "sleepy", "--port", running.port, "--trace", trace, "--json").stdout)
    print({key: planned[key] for key in ("p50_ms", "p95_ms", "p99_ms", "refused_share")}, told["latency_ms"])
    assert told["offered"] == len(times)
    for quantile in ("p50", "p95"):
        assert 0.5 < planned[f"{quantile}_ms"] / told["latency_ms"][quantile] < 2.0, quantile
    # one replica from the first arrival to the last
    assert planned["replica_hours"] * 3600 == pytest.approx(SECONDS, rel=0.2)
