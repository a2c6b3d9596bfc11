"""`plimsoll up` scales by itself: real processes, real load. Windows are short by the service file's own keys."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request

import psutil
import pytest
from tests.e2e.conftest import PLIMSOLL

from plimsoll.control.scaling.replay import replay
from plimsoll.control.scaling.scaling import live_kit

# 20 ms a request, one by one: 50 a second a replica. A tenth of a core each, so that any machine has room for them.
SPEC = (
    "  budget: {{latency: {{p99: 300ms}}}}\n  batching: {{maxSize: 1}}\n  resources: {{requests: {{cpu: 100m}}}}\n"
    "  scaling: {{{0}}}\n"
)
QUICK_DOWN = "minReplicas: 1, maxReplicas: 4, scaleDown: {stabilizationWindow: 1s}"
TO_ZERO = "minReplicas: 0, maxReplicas: 2, scaleToZeroAfter: 2s"


@pytest.fixture
def scaled(service, slow):
    def write(scaling, model=None):
        return service(model=model or slow(0.02), spec=SPEC.format(scaling))

    return write


@pytest.fixture
def open_load(tmp_path):
    """`open_load(running, rate, seconds)`: an open-loop load that goes on behind; its report once it is joined."""
    body = tmp_path / "body.json"
    body.write_text("[1]")
    running_loads = []

    def start(running, rate, seconds):
        command = [
            *PLIMSOLL,
            "load",
            "mood",
            "--rate",
            str(rate),
            "--for",
            f"{seconds}s",
            "--body",
            str(body),
            "--json",
        ]
        process = subprocess.Popen(
            command, cwd=running.cwd, env=running.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        running_loads.append(process)
        return process

    yield start
    for process in running_loads:
        process.kill()
        process.communicate(timeout=10)


def told(running, path="/v1/services/mood"):
    """The admin API: a command takes half a second to start, and these tests look often."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.admin_port}{path}", timeout=10) as answer:
        return answer.read()


def status(running):
    return json.loads(told(running))


def scaling(running):
    return status(running)["scaling"]


def wanted(running):
    return status(running)["replicas"]["wanted"]


def messages(running, kind="scaled"):
    return [row for row in map(json.loads, told(running, "/v1/events").splitlines()) if row["kind"] == kind]


def story(running):
    return "\n".join(row["message"] for row in map(json.loads, told(running, "/v1/events").splitlines()))


def instances(running, *phases):
    return [one for one in status(running)["instances"] if not phases or one["phase"] in phases]


def phases(running):
    return sorted(one["phase"] for one in instances(running))


def gateway_of(running):
    """The process that accepts at the door: one of those without children that hold its socket."""
    for child in running.children():
        doors = (one for one in child.net_connections() if one.status == psutil.CONN_LISTEN)
        if not child.children() and any(one.laddr.port == running.port for one in doors):
            return child
    raise AssertionError("no gateway")


def test_replicas_follow_the_load_and_every_decision_says_why(up, scaled, open_load, until, tmp_path):
    running = up(scaled(QUICK_DOWN), "--no-watch", "--record", tmp_path / "record").ready()
    load = open_load(running, 110, 9)
    until(lambda: len(instances(running, "ready")) >= 3, within=12, message=lambda: story(running))
    running.line(r"mood +1 → \d: ")  # it stands in the terminal, too
    report = json.loads(load.communicate(timeout=30)[0])
    # The forecast remembers the burst for a while: it comes down in half a minute, and all of its way at once or not.
    until(lambda: wanted(running) == 1, within=60, message=lambda: story(running))
    rose, *_, fell = messages(running)
    assert rose["before"] == 1
    assert rose["replicas"] >= 2
    assert rose["policy"] == "budget"
    assert rose["evidence"]["forecast_per_s"] > 50
    assert f"1 → {rose['replicas']}: " in rose["message"]
    assert "/s forecast" in rose["message"]
    assert fell["replicas"] < fell["before"]
    now = scaling(running)
    assert (now["policy"], now["min_replicas"], now["max_replicas"]) == ("budget", 1, 4)
    assert now["change"].startswith(f"{fell['before']} → {fell['replicas']}: ")
    shown = running.cli("status").stdout
    assert f"ago: {now['change']}"[:20] in shown
    assert "(1-4)" in shown
    outcomes = {name: count for name, count in report["outcomes"].items() if count}
    assert set(outcomes) <= {"ok", "shed"}, outcomes  # shed before the second replica was there; none lost afterwards
    running.interrupt()
    replayed = list(replay(tmp_path / "record" / "mood.scaling.jsonl", live_kit()))
    assert len(replayed) >= 10
    assert [one for one in replayed if not one.same] == []


def test_to_zero_and_back_for_the_first_request(up, scaled, until):
    running = up(scaled(TO_ZERO), "--no-watch").ready()
    for _ in range(2):
        until(lambda: instances(running) == [], within=12, message=lambda: story(running))
        now = status(running)
        assert (now["phase"], now["replicas"]) == ("Ready", {"ready": 0, "wanted": 0})
        began = time.monotonic()
        code, headers, _ = running.post("/mood", 1)
        print(f"from zero: {time.monotonic() - began:.3f} s")
        assert code == 200
        assert "hold;dur=" in headers["server-timing"]
    fell, woke, *_ = messages(running)
    assert (fell["before"], fell["replicas"]) == (1, 0)
    assert "no request for" in fell["message"]
    assert (woke["before"], woke["replicas"]) == (0, 1)


def test_a_count_set_by_hand_ends_by_itself(up, scaled, until):
    running = up(scaled(QUICK_DOWN), "--no-watch").ready()
    said = running.cli("scale", "mood", "3", "--for", "4s").stdout
    assert re.search(r"3/3 ready   for \ds, or until: plimsoll scale mood auto", said)
    assert scaling(running)["by_hand"] == 3
    assert "held at 3 by hand, for" in running.cli("status").stdout
    until(lambda: wanted(running) == 1, within=10)
    assert scaling(running)["by_hand"] is None
    assert "the time at 3 by hand is over: budget decides again" in [row["message"] for row in messages(running)]
    assert "for 1h, or until" in running.cli("scale", "mood", "2").stdout
    assert running.cli("scale", "mood", "auto").stdout.startswith("  mood   ")
    assert "leave --for out" in running.cli("scale", "mood", "auto", "--for", "3s", check=2).stderr


def test_a_spare_takes_over_at_once(up, scaled, slow, load, until):
    running = up(scaled("minReplicas: 1, maxReplicas: 3, spares: {count: 1}", slow(0.002)), "--no-watch").ready()
    until(lambda: phases(running) == ["ready", "spare"], within=10, message=lambda: phases(running))
    (spare,), (serving,) = instances(running, "spare"), instances(running, "ready")
    traffic = load(running.port, "/mood", 1, connections=1)
    traffic.more(10)
    os.kill(serving["pid"], signal.SIGKILL)
    traffic.more(20)
    traffic.stop()
    assert traffic.failures == []
    until(lambda: phases(running) == ["ready", "spare"], within=10, message=lambda: phases(running))
    assert spare["pid"] in {one["pid"] for one in instances(running)}
    assert "spares: 1/1 ready" in running.cli("status").stdout


def test_half_of_the_replicas_killed_at_once(up, scaled, load, until):
    running = up(scaled("minReplicas: 4, maxReplicas: 6"), "--no-watch").ready()
    until(lambda: len(instances(running, "ready")) == 4)
    traffic = load(running.port, "/mood", 1, connections=2)
    traffic.more(20)
    for one in instances(running, "ready")[:2]:
        os.kill(one["pid"], signal.SIGKILL)
    traffic.more(50)
    until(lambda: len(instances(running, "ready")) >= 4, within=10)
    traffic.stop()
    assert traffic.failures == []
    assert wanted(running) <= 6
    assert sum("was lost" in row["message"] for row in messages(running, "replica")) == 2


def test_when_metrics_stop_the_count_stays_and_says_so(up, scaled, until):
    running = up(scaled(QUICK_DOWN), "--no-watch").ready()
    until(lambda: scaling(running)["reason"])
    gateway = gateway_of(running)
    gateway.send_signal(signal.SIGSTOP)
    try:
        until(lambda: scaling(running)["holding"], within=10)
        assert "no word from a gateway" in running.cli("status").stdout
    finally:
        gateway.send_signal(signal.SIGCONT)
    until(lambda: not scaling(running)["holding"], within=10)
    assert [row["held"] for row in messages(running)] == [True, False]


def test_replicas_that_never_get_ready_are_not_answered_by_more(up, scaled, slow, open_load, until, tmp_path):
    once = "    def load(self):\n        import os; os.mkdir({0!r})\n"
    model = slow(0.02).replace("    def load(self):\n", once.format(str(tmp_path / "taken")))
    running = up(scaled("minReplicas: 1, maxReplicas: 20", model), "--no-watch", "--cores", "4").ready()
    first = open_load(running, 90, 6)
    until(lambda: instances(running, "backing_off"), within=12, message=lambda: story(running))
    assert "FileExistsError" in running.cli("status").stdout
    first.wait(20)
    count = wanted(running)
    assert 1 < count < 20
    open_load(running, 600, 20)
    until(lambda: "failed" in scaling(running)["reason"] + scaling(running)["trimmed"], within=12,
          message=lambda: scaling(running)["reason"])  # fmt: skip
    assert wanted(running) == count
    assert running.post("/mood", 1)[0] in {200, 503}  # the one that got ready serves on, as well as one can
    assert instances(running, "ready")
