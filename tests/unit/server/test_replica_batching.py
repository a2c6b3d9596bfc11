"""Batches, deadlines, clients that leave, and what an author's predict can do wrong, in a live replica."""

import json
import time

import pytest
from tests.contracts.model_cases import CASES
from tests.support.replica_host import connected


def leave(host, item, headers=b""):
    """A request whose client can leave: returns its socket."""
    sock = connected(host.address)
    body = json.dumps(item).encode()
    sock.sendall(b"POST /puppet HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (headers, len(body), body))
    return sock


def test_what_waits_is_computed_together(replica):
    host = replica()
    busy = host.hold()
    batches = host.metric("plimsoll_batch_size_count")
    futures = [host.later({"tag": f"t{index}"}) for index in range(20)]
    host.queued(20)
    host.release()
    assert all(future.result(20).status == 200 for future in [busy, *futures])
    # How many the queue joins is its own decision (here it knows one batch, the slow one); that it joins is not.
    assert sum(map(len, host.tags())) == 20
    assert len(host.tags()) <= 4
    assert host.metric("plimsoll_batch_size_count") == batches + 1 + len(host.tags())
    assert host.metric("plimsoll_batch_size_sum") == 21
    assert [future.result().json["got"]["tag"] for future in futures] == [f"t{index}" for index in range(20)]


def test_a_request_of_n_counts_n(replica):
    host = replica(spec={"batching": {"maxSize": 8}})
    busy = host.hold()
    path = "/v1/models/puppet:predict"
    asked = [[{"tag": f"{name}{index}"} for index in range(count)] for name, count in (("a", 5), ("b", 3), ("c", 1))]
    futures = [host._pool.submit(host.post, path, {"instances": instances}) for instances in asked]
    host.until(lambda: host.replica._queue.size == 9)
    host.release()
    for future, instances in zip(futures, asked, strict=True):
        assert [result["got"] for result in future.result(20).json["predictions"]] == instances
    busy.result(20)
    assert sorted(map(len, host.tags())) in ([1, 8], [3, 6], [4, 5])
    assert host.metric("plimsoll_batch_size_sum") == 10
    big = host.post(path, {"instances": [{"tag": str(index)} for index in range(30)]})
    assert len(big.json["predictions"]) == 30, "a request beyond maxSize is computed alone"


def test_inputs_of_two_shapes_never_share_a_batch(replica):
    """Items from JSON and dicts of arrays are different things to an author."""
    host = replica()
    busy = host.hold()
    plain = [host.later({"tag": f"p{index}"}) for index in range(4)]
    tensor = {"name": "tag", "datatype": "BYTES", "shape": [1]}
    arrays = [
        host._pool.submit(host.post, "/v2/models/puppet/infer", {"inputs": [tensor | {"data": [f"a{index}"]}]})
        for index in range(4)
    ]
    host.queued(8)
    host.release()
    assert all(future.result(20).status == 200 for future in [busy, *plain])
    for future in arrays:
        future.result(20)
    assert sorted(sorted(tag[0] for tag in tags) for tags in host.tags()) == [["a"] * 4, ["p"] * 4]


def test_a_fixed_batch_axis_bounds_the_queue(replica, tmp_path):
    """A file whose first axis is 4 gets batches of at most 4, whatever maxSize says."""
    from onnx import TensorProto, helper
    from tests.contracts.model_cases import save_onnx

    save_onnx(
        tmp_path / "m.onnx",
        [helper.make_node("Neg", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, [4, 2])],
        [("y", TensorProto.FLOAT, [4, 2])],
    )
    host = replica(model=None, file="m.onnx", name="m")
    futures = [host.later([index, 1.0]) for index in range(40)]
    answers = [future.result(20) for future in futures]
    assert [answer.json["y"] for answer in answers] == [[-float(index), -1.0] for index in range(40)]
    assert host.metric("plimsoll_batch_size_bucket", le="4.0") == host.metric("plimsoll_batch_size_count")
    assert host.outcomes() == {"ok": 40}


def test_varying_shapes_are_batched_by_shape(replica, tmp_path):
    from onnx import TensorProto, helper
    from tests.contracts.model_cases import save_onnx

    save_onnx(
        tmp_path / "m.onnx",
        [helper.make_node("Neg", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", "k"])],
        [("y", TensorProto.FLOAT, ["n", "k"])],
    )
    host = replica(model=None, file="m.onnx", name="m")
    futures = [host.later([float(index)] * (1 + index % 3)) for index in range(60)]
    for index, future in enumerate(futures):
        assert future.result(20).json == {"y": [-float(index)] * (1 + index % 3)}


def test_linger_waits_for_company(replica):
    host = replica(spec={"batching": {"linger": "700ms"}})
    host.plain({})
    began = time.monotonic()
    first = host.later({"tag": "one"})
    host.queued(1)
    second = host.later({"tag": "two"})
    assert first.result(20).status == second.result(20).status == 200
    assert time.monotonic() - began >= 0.69
    assert [sorted(tags) for tags in host.tags()] == [["one", "two"]]


def test_a_passed_deadline_is_not_computed(replica):
    host = replica()
    late = host.plain({"tag": "late"}, {"plimsoll-deadline-ms": "0"})
    assert (late.status, late.outcome) == (504, "expired")
    assert late.json["error"]
    assert host.tags() == []
    assert host.outcomes() == {"expired": 1}


def test_expiry_is_told_while_a_batch_runs(replica):
    host = replica()
    busy = host.hold()
    began = time.monotonic()
    late = host.plain({"tag": "late"}, {"plimsoll-deadline-ms": "100"})
    took = time.monotonic() - began
    assert (late.status, late.outcome) == (504, "expired")
    assert 0.09 <= took < 5, "answered when its deadline passed, not when the model was free"
    assert not busy.done()
    host.release()
    assert busy.result(20).status == 200
    assert host.tags() == []


def test_the_service_timeout_bounds_a_wait(replica):
    host = replica(spec={"timeout": "500ms", "runtime": {"predictTimeout": "30s"}})
    busy = host.hold()
    late = host.plain({"tag": "late"})
    assert (late.status, late.outcome) == (504, "expired")
    host.release()
    assert busy.result(20).status == 200, "computed when it began in time: late answers are answers"


@pytest.mark.parametrize("do", ["raise", "exit", "short"])
def test_a_failing_predict_fails_its_batch_and_nobody_else(replica, do):
    host = replica()
    answer = host.plain({"do": do, "tag": "bad"})
    assert (answer.status, answer.outcome) == (500, "model_error")
    assert "\n" not in answer.json["error"]
    if do == "raise":
        assert "the author's mistake" in answer.json["error"]
        assert "model.py" in answer.json["error"]
    if do == "short":
        assert "0 results for 1" in answer.json["error"]
    busy = host.hold()
    batch = [host.later({"do": do, "tag": "bad"}), host.later({"tag": "mate"})]
    host.queued(2)
    host.release()
    assert [future.result(20).outcome for future in batch] == ["model_error"] * 2
    assert busy.result(20).status == 200
    assert host.plain({"a": 1}).json == {"got": {"a": 1}}
    assert host.outcomes() == {"ok": 2, "model_error": 3}


@pytest.mark.parametrize("do", ["error", "nan", "object"])
@pytest.mark.parametrize("isolation", ["Thread", "Process"])
def test_one_bad_result_leaves_its_batch_mates_alone(replica, do, isolation):
    host = replica(spec={"runtime": {"isolation": isolation}})
    busy = host.hold()
    futures = [host.later({"do": do if index == 2 else "echo", "tag": f"t{index}"}) for index in range(5)]
    host.queued(5)
    host.release()
    answers = [future.result(20) for future in futures]
    assert [answer.status for answer in answers] == [500 if index == 2 else 200 for index in range(5)]
    assert answers[2].outcome == "model_error"
    assert "\n" not in answers[2].json["error"]
    assert busy.result(20).status == 200
    assert [len(tags) for tags in host.tags()] == [5]


RAISING = """
class Odd:
    def model_dump(self):
        raise KeyError("the author's own")

class Model:
    def predict(self, batch):
        return [Odd() if item == "odd" else {"y": 1.0} for item in batch]
"""


@pytest.mark.parametrize("isolation", ["Thread", "Process"])
def test_an_author_s_converter_that_raises_costs_one_request(replica, isolation):
    """Anything may be raised while an answer is written; the queue must go on."""
    host = replica(model=RAISING, spec={"runtime": {"isolation": isolation}})
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "data": ["odd"]}
    for _ in range(2):
        futures = [host.later("odd" if index == 1 else "even") for index in range(4)]
        assert [future.result(20).status for future in futures] == [200, 500, 200, 200]
        assert host.post("/v1/models/puppet:predict", {"instances": ["odd", "even"]}).status == 500
        assert host.post("/v2/models/puppet/infer", {"inputs": [tensor]}).status == 200


ASYNC = """
import asyncio

class Model:
    async def load(self):
        self.lock = asyncio.Lock()

    async def predict(self, batch):
        async with self.lock:
            await asyncio.sleep(0.001)
        return await asyncio.gather(*(self.one(item) for item in batch))

    async def one(self, item):
        await asyncio.sleep(0)
        if item == "bad":
            return ValueError("this one")
        return item * 2
"""


@pytest.mark.parametrize("isolation", ["Thread", "Process"])
def test_an_async_predict(replica, isolation):
    host = replica(model=ASYNC, spec={"runtime": {"isolation": isolation}})
    futures = [host.later("bad" if index == 3 else index) for index in range(6)]
    answers = [future.result(20) for future in futures]
    assert [answer.status for answer in answers] == [200, 200, 200, 500, 200, 200]
    assert [answer.json for answer in answers if answer.status == 200] == [0, 2, 4, 8, 10]


def test_a_client_that_leaves_the_queue_is_not_computed(replica):
    host = replica()
    busy = host.hold()
    sock = leave(host, {"tag": "gone"})
    host.queued(1)
    stays = host.later({"tag": "stays"})
    host.queued(2)
    sock.close()
    host.queued(1)
    host.release()
    assert busy.result(20).status == stays.result(20).status == 200
    assert host.tags() == [["stays"]]
    assert host.outcomes() == {"ok": 2, "cancelled": 1}
    host.in_flight(0)


def test_a_client_that_leaves_while_it_is_computed_is_counted_once(replica):
    host = replica()
    sock = leave(host, {"do": "wait", "for": "gate"})
    host.until(lambda: host.path("gate.started").exists())
    sock.close()
    host.until(lambda: host.replica._http.connections == 0)
    assert host.outcomes() == {}
    host.release()
    host.until(lambda: host.outcomes() == {"cancelled": 1})
    host.in_flight(0)
    assert host.metric("plimsoll_compute_seconds_count") == 1, "its compute time was spent all the same"
    assert host.plain({}).status == 200


def test_a_full_queue_sheds(replica):
    host = replica(max_queued=3)
    busy = host.hold()
    waiting = [host.later({"tag": str(index)}) for index in range(3)]
    host.queued(3)
    shed = host.plain({"tag": "one too many"})
    assert (shed.status, shed.outcome) == (503, "shed")
    assert int(shed.headers["retry-after"]) >= 1
    host.release()
    assert all(future.result(20).status == 200 for future in [busy, *waiting])


def test_sklearn_and_onnx_batch_too(replica, tmp_path):
    for case in CASES:
        if case.name not in ("onnx", "sklearn"):
            continue
        folder = tmp_path / case.name
        folder.mkdir()
        source = case.make(folder)
        host = replica(folder=folder, model=None, name="m", file=source.path.rpartition("/")[2])
        shape = host.event("ready")["model"]["inputs"][0]["shape"][1:]
        item = 1 if not shape else [0.0] * shape[0]
        futures = [host.later(item) for _ in range(200)]
        assert {future.result(30).status for future in futures} == {200}
        assert host.metric("plimsoll_batch_size_sum") == 200
        assert host.metric("plimsoll_batch_size_count") < 200


def test_the_pipeline_keeps_its_order(replica):
    """Thirty requests on one connection, of which some fail: the answers come in the requests' order."""
    host = replica()
    items = [{"do": "error" if index % 7 == 3 else "echo", "n": index} for index in range(30)]
    with connected(host.address) as sock:
        bodies = [json.dumps(item).encode() for item in items]
        sock.sendall(
            b"".join(
                b"POST /puppet HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
                for body in bodies
            )
        )
        raw = b""
        while raw.count(b"HTTP/1.1 ") < 30 or not raw.endswith(b"}\n"):
            raw += sock.recv(65536)
    answers = [part.partition(b"\r\n\r\n")[2] for part in raw.split(b"HTTP/1.1 ")[1:]]
    for index, answer in enumerate(answers):
        told = json.loads(answer)
        assert told == {"got": items[index]} if index % 7 != 3 else "this item alone" in told["error"]
