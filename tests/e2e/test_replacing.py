"""Revisions replaced and replicas scaled under load, with real processes: nobody who asks notices."""

import urllib.request
from pathlib import Path

import psutil
import pytest

REPO = Path(__file__).resolve().parents[2]
FIXED = "  scaling: {{minReplicas: {0}}}\n"


def version(echo, number):
    return echo.replace("VERSION = 1", f"VERSION = {number}")


def ready_pids(running, name="mood"):
    return {one["pid"] for one in running.status(name)["instances"] if one["phase"] == "ready"}


def outcomes(running, service):
    """The gateway's own count of what it answered, by outcome."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    found = {}
    for line in lines:
        if line.startswith("plimsoll_requests_total{") and f'service="{service}"' in line:
            name = line.partition('outcome="')[2].partition('"')[0]
            found[name] = found.get(name, 0) + int(float(line.rpartition(" ")[2]))
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("replicas", [1, 3])
def test_apply_under_load_fails_no_request(up, service, echo, load, until, replicas):
    folder = service(spec=FIXED.format(replicas))
    running = up(folder, "--no-watch").ready()
    before = ready_pids(running)
    traffic = load(running.port, "/mood", {"n": 1}, connections=6)
    traffic.more(30)
    (folder / "model.py").write_text(version(echo, 2))
    running.cli("apply", folder)
    traffic.more(30)
    told = running.line(r"rev 2 ready in")
    until(lambda: not [pid for pid in before if psutil.pid_exists(pid)], message="the old replicas are still there")
    traffic.stop()
    assert traffic.failures == []
    assert "rev 1 drained, 0 requests failed" in told
    assert {answer["version"] for answer in traffic.answers} == {1, 2}
    assert traffic.answers[-1]["version"] == 2
    assert running.status("mood")["replicas"] == {"ready": replicas, "wanted": replicas}
    assert outcomes(running, "mood") == {"ok": len(traffic.answers)}


def test_apply_while_a_replacement_is_under_way(up, service, echo, load, until):
    slow_start = echo.replace("        print(", "        import time; time.sleep(0.3)\n        print(")
    folder = service(model=slow_start, spec=FIXED.format(2))
    running = up(folder, "--no-watch").ready()
    traffic = load(running.port, "/mood", 1, connections=4)
    traffic.more(10)
    for number in (2, 3, 4):  # none waits for the one before
        (folder / "model.py").write_text(version(slow_start, number))
        running.cli("apply", folder, "--no-wait")
    running.line(r"rev 4 ready in")
    traffic.more(20)
    traffic.stop()
    assert traffic.failures == []
    assert traffic.answers[-1]["version"] == 4
    told = running.status("mood")
    assert (told["phase"], told["revision_number"]) == ("Ready", 4)
    assert {one["revision_number"] for one in told["instances"]} == {4}


def test_a_broken_revision_costs_three_replicas_nothing(up, service, echo, load):
    folder = service(spec=FIXED.format(3))
    running = up(folder, "--no-watch").ready()
    before = ready_pids(running)
    traffic = load(running.port, "/mood", 1, connections=4)
    traffic.more(20)
    (folder / "model.py").write_text(echo + "\nraise ValueError('half written')\n")
    assert "half written" in running.cli("apply", folder, check=1).stdout
    traffic.more(20)
    assert ready_pids(running) == before
    told = running.status("mood")
    assert (told["phase"], told["replicas"]) == ("Degraded", {"ready": 3, "wanted": 3})
    (folder / "model.py").write_text(version(echo, 2))
    running.cli("apply", folder)
    traffic.more(20)
    traffic.stop()
    assert traffic.failures == []
    assert traffic.answers[-1]["version"] == 2
    assert running.status("mood")["phase"] == "Ready"


def test_scaling_down_under_load_fails_no_request(up, service, slow, load, until):
    running = up(service(model=slow(0.02), spec=FIXED.format(3)), "--no-watch").ready()
    traffic = load(running.port, "/mood", 1, connections=8)
    traffic.more(20)
    for count in (1, 3, 1):
        running.cli("scale", "mood", str(count))
        until(lambda count=count: len(running.status("mood")["instances"]) == count)
        traffic.more(20)
    traffic.stop()
    assert traffic.failures == []
    assert outcomes(running, "mood") == {"ok": len(traffic.answers)}


def test_an_onnx_model_is_replaced_under_load(up, tmp_path, load):
    trained = REPO / "examples/digits/digits.onnx"
    if not trained.exists():
        pytest.skip("needs the trained example: make examples")
    (tmp_path / "digits.onnx").write_bytes(trained.read_bytes())
    text = (REPO / "examples/digits/service.yaml").read_text().replace("minReplicas: 1", "minReplicas: 2")
    assert "minReplicas: 2" in text
    (tmp_path / "service.yaml").write_text(text)
    running = up("service.yaml", "--no-watch").ready()
    body = (REPO / "examples/digits/request.json").read_bytes()
    traffic = load(running.port, "/digits", body, connections=4)
    traffic.more(20)
    (tmp_path / "service.yaml").write_text(text + "  batching: {maxSize: 8}\n")
    running.cli("apply", tmp_path / "service.yaml")
    traffic.more(20)
    traffic.stop()
    assert traffic.failures == []
    assert running.status("digits")["revision_number"] == 2
