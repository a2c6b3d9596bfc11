"""`isolation: Process`: the same answers, and a worker that dies or hangs costs its own batch alone."""

import os
import signal
import time

import pytest
from tests.support.puppet import PUPPET
from tests.support.replica_host import connected

PROCESS = {"runtime": {"isolation": "Process", "predictTimeout": "1s"}}


@pytest.fixture(params=["exec", "fork"])
def isolated(replica, request):
    def start(**options):
        return replica(spec=options.pop("spec", PROCESS), spawner=request.param, **options)

    return start


def test_the_model_lives_in_another_process_and_answers_the_same(isolated, replica, tmp_path):
    host = isolated()
    assert host.plain({"do": "pid"}).json == host.replica._runner.pid != os.getpid()
    beside = tmp_path / "thread"
    beside.mkdir()
    thread = replica(folder=beside)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1]}
    for path, body in (("/puppet", {"a": [1, None, "ü", 2**70]}),
                       ("/v1/models/puppet:predict", {"instances": [1, "x", {"y": [1.5]}]}),
                       ("/v2/models/puppet/infer", {"inputs": [tensor], "id": "7"}),
                       ("/puppet", {"do": "error"}), ("/puppet", {"do": "nan"}), ("/puppet", b"{")):  # fmt: skip
        one, other = host.post(path, body), thread.post(path, body)
        assert (one.status, one.body, one.outcome) == (other.status, other.body, other.outcome)


def test_a_worker_killed_while_it_computes_costs_its_batch_alone(isolated):
    host = isolated(spec={"runtime": {"isolation": "Process"}})
    doomed = host.hold()
    waiting = [host.later({"tag": f"t{index}"}) for index in range(5)]
    host.queued(5)
    first = host.replica._runner.pid
    os.kill(first, signal.SIGKILL)
    lost = doomed.result(20)
    assert (lost.status, lost.outcome) == (503, "replica_lost")
    assert "signal 9" in lost.json["error"]
    assert int(lost.headers["retry-after"]) >= 1
    answers = [future.result(20) for future in waiting]
    assert [answer.status for answer in answers] == [200] * 5, "the queue survives"
    assert host.replica._runner.pid != first
    assert host.replica._runner.restarts == 1
    assert host.plain({"next": 1}).status == 200
    assert host.get("/v2/health/ready").status == 200
    assert host.outcomes() == {"ok": 6, "replica_lost": 1}
    assert host.event("unready") is None


def test_a_worker_killed_while_idle_is_replaced_unseen(isolated):
    host = isolated()
    os.kill(host.replica._runner.pid, signal.SIGKILL)
    host.until(lambda: host.replica._runner.restarts == 1)
    assert host.plain({"a": 1}).status == 200
    assert host.outcomes() == {"ok": 1}


def test_a_request_that_kills_its_worker(isolated):
    host = isolated()
    busy = host.hold()
    batch = [host.later({"tag": "mate"}), host.later({"do": "die"})]
    host.queued(2)
    host.release()
    assert busy.result(20).status == 200
    assert [future.result(20).outcome for future in batch] == ["replica_lost"] * 2
    assert host.plain({"a": 1}).status == 200


def test_a_hang_is_a_model_error_and_the_worker_is_replaced(isolated):
    host = isolated()
    began = time.monotonic()
    hung = host.later({"do": "hang"})
    host.until(lambda: host.path("hangs").exists())
    waiting = host.later({"tag": "waits"})
    host.queued(1)
    answer = hung.result(20)
    assert (answer.status, answer.outcome) == (500, "model_error")
    assert "runtime.predictTimeout of 1 s" in answer.json["error"]
    assert 0.95 <= time.monotonic() - began < 10
    assert waiting.result(20).status == 200
    assert host.get("/v2/health/ready").status == 200
    assert host.event("unready") is None
    assert host.ended == []


SLOW_LOAD = PUPPET.replace(
    "    def predict(self, batch):",
    """    def load(self):
        if (HERE / "load-slowly").exists():
            time.sleep(1.2)
        if (HERE / "fail-to-load").exists():
            raise RuntimeError("the weights have gone")

    def predict(self, batch):""",
)


def test_a_worker_that_loads_longer_than_a_predict_may_take_is_waited_for(isolated):
    host = isolated(model=SLOW_LOAD, spec={"runtime": {"isolation": "Process", "predictTimeout": "500ms"}})
    host.path("load-slowly").touch()
    lost = host.later({"do": "die"})
    assert lost.result(20).outcome == "replica_lost"
    late = host.plain({"tag": "late"}, {"plimsoll-deadline-ms": "200"})
    assert (late.status, late.outcome) == (504, "expired"), "what waits still expires in time"
    assert host.plain({"tag": "patient"}).status == 200
    assert host.replica._runner.restarts == 1
    assert host.tags() == [["patient"]]


def test_a_worker_that_cannot_be_replaced_ends_the_replica(isolated):
    host = isolated(model=SLOW_LOAD)
    host.path("fail-to-load").touch()
    host.path("load-slowly").touch()
    doomed = host.later({"do": "die"})
    assert doomed.result(20).outcome == "replica_lost"
    waiting = host.later({"tag": "waits"})
    answer = waiting.result(20)
    assert (answer.status, answer.outcome) == (503, "replica_lost")
    assert "the weights have gone" in answer.json["error"]
    host.until(lambda: host.ended)
    assert "the weights have gone" in host.event("unready")["reason"]
    assert host.get("/v2/health/ready").status == 503
    assert len(host.ended) == 1, "told once"
    assert host.tags() == []


FAILING = """class Model:
    def load(self):
        raise ValueError("no weights")

    def predict(self, batch):
        return batch
"""


def test_a_load_failure_in_the_worker_is_told_in_full(replica):
    host = replica(model=FAILING, spec=PROCESS, wait=False)
    host.until(lambda: host.event("failed"))
    failed = host.event("failed")
    assert failed["reason"] == "ValueError: no weights"
    assert (failed["file"], failed["line"]) == ("model.py", 3)
    assert "no weights" in failed["detail"]


def test_a_worker_that_exits_while_it_loads(replica):
    host = replica(model="import os\nos._exit(7)\n", spec=PROCESS, wait=False)
    host.until(lambda: host.event("failed"))
    assert "exited with status 7 while it loaded" in host.event("failed")["reason"]


def test_inputs_that_nest_too_deeply_for_a_worker_harm_nobody(isolated):
    host = isolated()
    busy = host.hold()
    deep = host._pool.submit(host.post, "/puppet", b"[" * 900 + b"]" * 900)
    mate = host.later({"tag": "mate"})
    host.queued(2)
    host.release()
    assert busy.result(20).status == mate.result(20).status == 200
    assert deep.result(20).status in (200, 400, 500)
    assert host.plain({"a": 1}).status == 200


def test_a_client_that_leaves_a_worker_is_counted_once(isolated):
    host = isolated()
    with connected(host.address) as sock:
        body = b'{"do": "wait", "for": "gate"}'
        sock.sendall(b"POST /puppet HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        host.until(lambda: host.path("gate.started").exists())
    host.until(lambda: host.replica._http.connections == 0)
    host.release()
    host.until(lambda: host.outcomes() == {"cancelled": 1})
    host.in_flight(0)
