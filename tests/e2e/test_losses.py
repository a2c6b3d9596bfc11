"""Processes killed, stopped, hung and poisoned under load, with everything real: what it costs, and who is told."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

FIXED = "  scaling: {{minReplicas: {0}}}\n"


def ready_pids(running, name="mood"):
    return [one["pid"] for one in running.status(name)["instances"] if one["phase"] == "ready"]


@pytest.mark.parametrize("replicas", [2, 3])
def test_replicas_killed_again_and_again_fail_no_request(up, service, load, replicas):
    running = up(service(spec=FIXED.format(replicas))).ready()
    traffic = load(running.port, "/mood", {"n": 1}, connections=6)
    traffic.more(20)
    killed = 0
    while killed < 8:
        pids = ready_pids(running)
        if len(pids) > 1:
            os.kill(pids[killed % len(pids)], signal.SIGKILL)
            killed += 1
        traffic.more(20)
    traffic.stop()
    print(f"{killed} replicas killed, {len(traffic.answers)} requests answered")
    assert traffic.failures == []


def test_the_fork_server_is_killed_and_everything_comes_back(up, service, load, until):
    """Its children end with it: replicas and gateway at once. Clients have to ask again, and get an answer."""
    running = up(service(spec=FIXED.format(2))).ready()
    server = next(child for child in running.children() if "forkserver" in " ".join(child.cmdline()))
    before = ready_pids(running)
    server.kill()

    def answers():
        try:
            return running.post("/mood", 1)[0] == 200
        except OSError:
            return False

    until(answers, message=lambda: running.output)
    until(lambda: len(ready_pids(running)) == 2, message=lambda: running.output)
    assert not set(ready_pids(running)) & set(before)
    assert running.interrupt() == 0
    running.nothing_left()


def test_a_gateway_killed_under_load_costs_its_connections_and_no_more(up, service, load, until):
    running = up(service()).ready()
    traffic = load(running.port, "/mood", 1, connections=4)
    for _ in range(3):
        traffic.more(20)
        gateway = next(child for child in running.children() if child.name().startswith("gateway"))
        gateway.kill()
        until(lambda gateway=gateway: not psutil.pid_exists(gateway.pid))
    traffic.more(50)
    traffic.stop()
    # Each of four connections breaks once a kill at most: who connects again waits in the socket's backlog.
    assert len(traffic.failures) <= 12, traffic.failures
    assert all(isinstance(failure, str) for failure in traffic.failures), traffic.failures


def test_a_stopped_replica_is_bounded_damage(up, service, load, until):
    running = up(service(spec=FIXED.format(2) + "  timeout: 1s\n")).ready()
    traffic = load(running.port, "/mood", 1, connections=6)
    traffic.more(50)
    stopped = ready_pids(running)[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        traffic.more(300)
        until(lambda: "no report" in running.cli("status").stdout)
    finally:
        os.kill(stopped, signal.SIGCONT)
    traffic.more(50)
    traffic.stop()
    assert {failure[1] for failure in traffic.failures} <= {"expired"}, traffic.failures
    # What it had in hand, then one try a second.
    assert len(traffic.failures) <= 6 + 12, len(traffic.failures)


POISON = """
import os
import signal
import time


class Model:
    def predict(self, batch):
        if "wait" in batch:
            time.sleep(0.3)
        if "poison" in batch:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch
"""


@pytest.mark.parametrize("isolation", ["Thread", "Process"])
def test_poison_in_a_batch_of_innocents(up, service, until, isolation):
    spec = FIXED.format(3) + f"  runtime: {{isolation: {isolation}}}\n"
    running = up(service(model=POISON, spec=spec)).ready()
    bodies = [*["wait"] * 3, *(f"innocent {number}" for number in range(24)), "poison"]
    with ThreadPoolExecutor(len(bodies)) as pool:
        asked = [pool.submit(running.post, "/mood", body) for body in bodies]
        answers = [one.result() for one in asked]
    for body, (status, headers, answer) in zip(bodies, answers, strict=True):
        if body == "poison":
            assert (status, headers["plimsoll-outcome"]) == (503, "replica_lost"), answer
        else:
            assert (status, answer) == (200, body)
    began = time.monotonic()
    status, headers, answer = running.post("/mood", "poison")
    assert (status, headers["plimsoll-outcome"], headers["retry-after"]) == (503, "replica_lost", "60"), answer
    assert time.monotonic() - began < 5  # nobody is asked: no replica dies of it, and none is waited for
    assert running.post("/mood", "fine")[2] == "fine"
    until(lambda: len(ready_pids(running)) == 3, message="the fleet is not whole again")


HANG = """
import time


class Model:
    def predict(self, batch):
        if "hang" in batch:
            time.sleep(1000)
        time.sleep(0.02)
        return [{"got": item} for item in batch]
"""


def test_a_hang_in_a_thread_with_two_replicas(up, service, until):
    """What was in the hanging batch is the model's error; what waits behind it is answered by the other replica."""
    spec = FIXED.format(2) + "  runtime: {predictTimeout: 1s}\n  batching: {maxSize: 1}\n"
    running = up(service(model=HANG, spec=spec)).ready()
    before = ready_pids(running)
    with ThreadPoolExecutor(20) as pool:
        hung = pool.submit(running.post, "/mood", "hang")
        asked = [pool.submit(running.post, "/mood", number) for number in range(19)]
        answers = [one.result() for one in asked]
        status, headers, answer = hung.result()
    assert (status, headers["plimsoll-outcome"]) == (500, "model_error"), answer
    assert "predictTimeout" in answer["error"]
    assert [(status, answer) for status, _, answer in answers] == [(200, {"got": number}) for number in range(19)]
    until(lambda: len(set(ready_pids(running)) - set(before)) == 1 and len(ready_pids(running)) == 2)


HOG = """
import re


class Model:
    def predict(self, batch):
        if "hog" in batch:
            re.match(r"(a+)+b", "a" * 64)  # holds the interpreter lock for ages
        return [{"got": item} for item in batch]
"""


def test_a_hang_that_holds_the_interpreter_lock(up, service, until):
    """The replica's own watch is stuck too: the backend misses its reports and ends it."""
    spec = FIXED.format(2) + "  runtime: {predictTimeout: 500ms}\n  timeout: 2s\n"
    running = up(service(model=HOG, spec=spec)).ready()
    before = ready_pids(running)
    status, headers, answer = running.post("/mood", "hog")
    assert (status, headers["plimsoll-outcome"]) == (504, "expired"), answer
    for number in range(50):
        assert running.post("/mood", number)[2] == {"got": number}
    until(lambda: running.status("mood")["phase"] == "Degraded")
    assert "no report" in running.cli("status").stdout
    until(lambda: len(set(ready_pids(running)) - set(before)) == 1 and len(ready_pids(running)) == 2)
    assert "no report from it for 10.5s" in running.cli("events").stdout
