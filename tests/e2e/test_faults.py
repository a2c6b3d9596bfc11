"""Processes that die under load: a request that can be answered elsewhere is."""

import os
import signal


def test_killing_one_of_two_replicas_under_load_fails_no_request(up, service, load, until):
    running = up(service(spec="  scaling: {minReplicas: 2, maxReplicas: 2}\n")).ready()
    traffic = load(running.port, "/mood", {"n": 1}, connections=8)
    traffic.more(50)
    victim = running.status("mood")["instances"][0]
    os.kill(victim["pid"], signal.SIGKILL)
    traffic.more(100)
    until(lambda: running.status("mood")["replicas"]["ready"] == 2, message="the dead replica was not replaced")
    traffic.more(50)
    traffic.stop()
    assert traffic.failures == []
    assert traffic.answers[-1] == {"version": 1, "value": {"n": 1}}


POISON = """
import os


class Model:
    def predict(self, batch):
        if any(item == "poison" for item in batch):
            os._exit(1)
        return batch
"""


def test_a_request_that_kills_replicas_is_replica_lost_and_the_fleet_lives(up, service, load, until):
    running = up(service(model=POISON, spec="  scaling: {minReplicas: 3, maxReplicas: 3}\n")).ready()
    status, headers, answer = running.post("/mood", "poison")
    assert (status, headers["plimsoll-outcome"]) == (503, "replica_lost"), answer
    # its body is known now: the next one reaches no replica
    pids = {one["pid"] for one in running.status("mood")["instances"] if one["phase"] == "ready"}
    status, headers, _ = running.post("/mood", "poison")
    assert (status, headers["plimsoll-outcome"]) == (503, "replica_lost")
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert running.post("/mood", "fine")[2] == "fine"


def test_requests_wait_for_the_first_replica(up, service, echo, until):
    slow_start = echo.replace("        print(", "        import time; time.sleep(1.5)\n        print(")
    running = up(service(model=slow_start))

    def sent():
        try:
            return running.post("/mood", 5)
        except ConnectionRefusedError:
            return None

    status, headers, answer = until(sent)
    assert (status, answer) == (200, {"version": 1, "value": 5})
    hold = next(part for part in headers["server-timing"].split(", ") if part.startswith("hold"))
    assert float(hold.split("dur=")[1]) > 200, headers["server-timing"]
