"""Several gateways on one port: connections spread, counts add up, and one that is killed costs what it had in hand."""

import http.client
import re
import sys
import threading
import time

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over sockets")


def gateways(running):
    return {child.name(): child for child in running.children() if child.name().startswith("gateway")}


def answered(running):
    """Requests that ended `ok`, by gateway, from the admin API's metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", running.admin_port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = {}
    for line in text.splitlines():
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        if line.startswith("plimsoll_requests_total{") and "gateway" in labels and labels.get("outcome") == "ok":
            found[labels["gateway"]] = found.get(labels["gateway"], 0) + float(line.rpartition(" ")[2])
    return found


def test_both_get_connections_and_their_counts_add_up(up, service, until):
    running = up(service(), "--gateways", 2).ready()
    for number in range(64):
        assert running.post("/mood", number)[2] == {"version": 1, "value": number}
    counted = answered(running)
    assert counted.keys() == {"gateway-0", "gateway-1"}
    assert sum(counted.values()) == 64
    assert min(counted.values()) > 8, counted  # a fair coin gives fewer once in 10^10
    until(lambda: running.status("mood")["outcomes"].get("ok") == 64, message=lambda: running.status("mood"))

    assert running.client().get("/metrics")[0] == 404  # it would be one gateway's
    assert running.interrupt() == 0
    running.nothing_left()


class Newcomers:
    """A new connection for each request, from several threads, until `stop`."""

    def __init__(self, running, threads=6):
        self.running, self.waits, self.failures = running, [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                status, _, answer = self.running.post("/mood", 1)
                if status != 200:
                    self.failures.append((status, answer))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            self.waits.append(time.monotonic() - began)
            time.sleep(0.005)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request never came back"


def test_one_of_two_killed_costs_what_it_had_in_hand(up, service, until):
    """Who connects while it is away and falls to its share waits in its socket's backlog, and is answered."""
    running = up(service(), "--gateways", 2).ready()
    traffic = Newcomers(running)
    killed = 3
    for _ in range(killed):
        done = len(traffic.waits)
        until(lambda done=done: len(traffic.waits) > done + 30)
        gateway = gateways(running)["gateway-1"]
        gateway.kill()
        until(lambda gateway=gateway: not psutil.pid_exists(gateway.pid))
        until(lambda: "gateway-1" in gateways(running), message=lambda: running.output)
    done = len(traffic.waits)
    until(lambda: len(traffic.waits) > done + 60)
    traffic.stop()
    print(f"{len(traffic.waits)} requests, {len(traffic.failures)} lost; the longest took {max(traffic.waits):.2f} s")
    # Accepted and not answered: each of six threads has one request at most in hand, half of them with the other.
    assert len(traffic.failures) <= 6 * killed, traffic.failures
    assert all(isinstance(failure, str) for failure in traffic.failures), traffic.failures
    assert max(traffic.waits) < 10, "its share must not wait for ever"


def test_what_waits_in_a_dead_gateways_backlog_is_answered_by_the_next(up, service, until):
    """A gateway that is stopped accepts nothing: what the kernel queued for it is not in its hand yet."""
    running = up(service(), "--gateways", 2).ready()
    gateway = gateways(running)["gateway-0"]
    gateway.suspend()
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(running.post("/mood", n)[2]["value"]), daemon=True)
        for n in range(32)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) >= 4)  # the other one's share
    time.sleep(0.2)  # all have connected
    waiting = 32 - len(answers)
    assert waiting > 4
    gateway.kill()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == list(range(32))
