"""How long the first request to a service without replicas takes: `python bench/from_zero.py [--times N]`.

A real `plimsoll up` with `minReplicas: 0`; each time its last replica has gone, one request is sent and timed by its
client. Beside it the same request to a replica that is there, and the parts: held at the gateway, and the rest.
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

MODEL = """
class Model:
    def load(self):
        pass

    def predict(self, batch):
        return [{"echo": item} for item in batch]
"""
SERVICE = """
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: first}
spec:
  model: {path: ./model.py}
  routes: [{path: /first}]
  scaling: {minReplicas: 0, maxReplicas: 1, scaleToZeroAfter: 1s}
"""


def ask(port: int) -> tuple[float, str]:
    """Seconds, and where they went."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began = time.perf_counter()
    connection.request("POST", "/first", b'{"hello": 1}')
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - began
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"answered {answer.status}")
    return seconds, answer.getheader("server-timing", "")


def hold_ms(timing: str) -> float:
    parts = dict(part.strip().split(";dur=") for part in timing.split(",") if ";dur=" in part)
    return float(parts.get("hold", 0.0))


def replicas(admin: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=5)
    connection.request("GET", "/v1/services/first")
    found = json.loads(connection.getresponse().read())
    connection.close()
    return len(found["instances"]) + found["replicas"]["wanted"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--port", type=int, default=18480)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pz-", dir="/tmp") as folder:
        (Path(folder) / "model.py").write_text(MODEL)
        (Path(folder) / "service.yaml").write_text(SERVICE)
        env = os.environ | {"XDG_RUNTIME_DIR": folder, "NO_COLOR": "1"}
        command = [sys.executable, "-m", "plimsoll.cli.main", "up", "--port", str(options.port), "--no-watch"]
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "stop: Ctrl-C" in line:
                    break
            cold, held = [], []
            for _ in range(options.times):
                while replicas(options.port + 10):
                    time.sleep(0.05)
                seconds, timing = ask(options.port)
                cold.append(seconds * 1000)
                held.append(hold_ms(timing))
            warm = sorted(ask(options.port)[0] * 1000 for _ in range(20))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    load, cores = os.getloadavg()[0], os.cpu_count()
    print(f"first answer from zero, ms: median {median(cold):.0f}, worst {max(cold):.0f} of {len(cold)}")
    print(f"  held at the gateway: median {median(held):.0f}, worst {max(held):.0f}")
    print(f"with a replica there, on a new connection: median {median(warm):.1f}")
    print(f"{cores} cores, load average {load:.1f}")


if __name__ == "__main__":
    main()
