"""What a replica says on the wire: the three protocols over three formats, its pages, and how it refuses."""

import json
import re
import socket

import numpy as np
import pytest
from tests.contracts.model_cases import CASES, PYTHON
from tests.support.replica_host import REVISION, ReplicaHost, connected

FORMATS = ("python", "onnx", "sklearn")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """One replica a format, started when first asked for."""
    started = {}

    def of(kind):
        if kind not in started:
            folder = tmp_path_factory.mktemp(kind)
            if kind == "python":
                started[kind] = ReplicaHost(folder, model=PYTHON, name="m")
            else:
                case = next(case for case in CASES if case.name == kind)
                source = case.make(folder)
                started[kind] = ReplicaHost(folder, model=None, name="m", file=source.path.rpartition("/")[2])
        return started[kind]

    yield of
    for host in started.values():
        host.close()


def oip_tensor(name, datatype, rows):
    array = np.array(rows)
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}


def requests_of(kind, host):
    """(path, body, how to read the rows out of an answer) for two items."""
    info = host.event("ready")["model"]
    if kind == "python":
        rows = [1.5, 4.0]
        instances = [{"value": value} for value in rows]
        tensors = [oip_tensor("value", "FP64", rows)]
        wanted = [{"value": 3.0}, {"value": 8.0}]
    else:
        name, datatype = info["inputs"][0]["name"], info["inputs"][0]["datatype"]
        width = info["inputs"][0]["shape"][1:]
        kinds = {"INT64": int, "FP32": float, "FP64": float}
        rows = [np.full(width, value).astype(kinds[datatype]).tolist() for value in (1, 3)]
        instances = rows
        tensors = [oip_tensor(name, datatype, rows)]
        wanted = None
    return instances, tensors, wanted


def tensor_rows(answer):
    outputs = answer.json["outputs"]
    arrays = {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}
    count = outputs[0]["shape"][0]
    rows = [{name: array[index].tolist() for name, array in arrays.items()} for index in range(count)]
    return [next(iter(row.values())) if len(row) == 1 else row for row in rows]


@pytest.mark.parametrize("kind", FORMATS)
def test_all_protocols_give_the_same_answer(hosts, kind):
    host = hosts(kind)
    instances, tensors, wanted = requests_of(kind, host)
    body = {"inputs": tensors, "id": "mine"}
    first = host.post("/v2/models/m/infer", body)
    versioned = host.post(f"/v2/models/m/versions/{REVISION}/infer", body)
    v1 = host.post("/v1/models/m:predict", {"instances": instances})
    plain = [host.plain(instance) for instance in instances]
    for answer in (first, versioned, v1, *plain):
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "application/json"
        check_headers(answer, "ok")
    assert first.json["model_name"] == "m"
    assert first.json["model_version"] == REVISION
    assert first.json["id"] == "mine"
    assert versioned.json == first.json
    predictions = rounded(v1.json["predictions"])
    singles = [rounded(answer.json) for answer in plain]
    rows = rounded(tensor_rows(first))
    if wanted:
        assert predictions == wanted == singles
        assert rows == [row["value"] for row in wanted]
    else:
        assert rows == predictions
        assert [next(iter(one.values())) if len(one) == 1 else one for one in singles] == predictions


def rounded(value):
    """A matrix product's last digit depends on how many rows it has."""
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 9))


def check_headers(answer, outcome):
    """What every answer carries, whatever it says."""
    headers = answer.headers
    assert headers["plimsoll-outcome"] == outcome, answer
    assert headers["plimsoll-revision"] == REVISION
    assert re.fullmatch(r"queue;dur=\d+\.\d+, compute;dur=\d+\.\d+", headers["server-timing"])
    assert re.fullmatch(r"[A-Za-z0-9._:/+=@-]{1,128}", headers["x-request-id"])
    assert re.fullmatch(
        r"TEXT application_utilization=\d\.\d+,named_metrics\.queued=\d+,"
        r"named_metrics\.wait_ms=\d+\.\d+,named_metrics\.item_ms=\d+\.\d+",
        headers["endpoint-load-metrics"],
    )
    if answer.status >= 400 and answer.body:
        assert list(answer.json) == ["error"]
        assert "\n" not in answer.json["error"]
        assert answer.json["error"]
    if answer.status in (429, 503):
        assert int(headers["retry-after"]) >= 1


PAGES = {
    "/v2": {"name": "plimsoll", "extensions": []},
    "/v2/health/live": {"live": True},
    "/v2/health/ready": {"ready": True},
    "/v2/models/m": {"name": "m", "platform": "python", "versions": [REVISION]},
    f"/v2/models/m/versions/{REVISION}": {"name": "m"},
    "/v2/models/m/ready": {"name": "m", "ready": True},
    f"/v2/models/m/versions/{REVISION}/ready": {"ready": True},
    "/v1/models": {"models": ["m"]},
    "/v1/models/m": {"name": "m", "ready": True},
}


@pytest.mark.parametrize("path", PAGES)
def test_pages(hosts, path):
    host = hosts("python")
    before = host.outcomes()
    answer = host.get(path)
    assert answer.status == 200
    assert PAGES[path].items() <= answer.json.items()
    check_headers(answer, "ok")
    head = host.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.body))
    check_headers(head, "ok")
    assert host.outcomes() == before, "a page is no request"
    wrong = host.post(path, {})
    assert wrong.status == 405
    assert wrong.headers["allow"] == "GET, HEAD"
    check_headers(wrong, "invalid")


def test_metrics_page(hosts):
    host = hosts("python")
    host.plain({"value": 1})
    answer = host.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    check_headers(answer, "ok")
    for name in ("plimsoll_requests_total", "plimsoll_request_seconds_bucket", "plimsoll_queue_seconds_count",
                 "plimsoll_compute_seconds_count", "plimsoll_batch_size_sum", "plimsoll_queue_depth",
                 "plimsoll_in_flight", "plimsoll_loop_lag_seconds", "plimsoll_model_load_seconds"):  # fmt: skip
        assert re.search(rf"^{name}[{{ ]", answer.body.decode(), re.MULTILINE), name
    open_metrics = host.get("/metrics", {"accept": "application/openmetrics-text; version=1.0.0"})
    assert open_metrics.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v1/models/m:predict", "/m"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_wrong_method(hosts, path, method):
    answer = hosts("python").ask(method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    check_headers(answer, "invalid")


@pytest.mark.parametrize("path", ["/v2/models/other/infer", "/v2/models/m/versions/9/infer", "/v1/models/m:explain"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path(hosts, path, method):
    answer = hosts("python").ask(method, path, {"value": 1})
    assert answer.status == 404
    check_headers(answer, "not_found")


def test_paths_that_are_nobody_s_route(replica):
    host = replica(listen="tcp", name="m")
    for path in ("/", "/nope", "/M", "/m/"):
        answer = host.post(path, {"a": 1})
        assert answer.status == 404
        check_headers(answer, "not_found")


def test_request_ids_are_echoed_or_made(hosts):
    host = hosts("python")
    for path, body in (("/m", {"value": 1}), ("/m", b"{"), ("/v2/nope", {})):
        assert host.post(path, body, {"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        made = {host.post(path, body).headers["x-request-id"] for _ in range(3)}
        assert len(made) == 3
        assert all(re.fullmatch("[0-9a-f]{16}", one) for one in made)
        harmful = host.post(path, body, {"x-request-id": 'a"b'}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", harmful)
    assert host.get("/v2/health/live", {"x-request-id": "mine-2"}).headers["x-request-id"] == "mine-2"


def test_what_cannot_be_read_is_refused(hosts):
    host = hosts("python")
    gzip = host.plain({"value": 1}, {"content-encoding": "gzip"})
    assert gzip.status == 415
    assert "gzip" in gzip.json["error"]
    check_headers(gzip, "invalid")
    assert host.plain({"value": 1}, {"content-encoding": "identity"}).status == 200
    by_header = host.post("/v2/models/m/infer", b"{}xx", {"inference-header-content-length": "2"})
    tensor = {"name": "value", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}}
    by_parameter = host.post("/v2/models/m/infer", {"inputs": [tensor]})
    for answer in (by_header, by_parameter):
        assert answer.status == 415
        assert "binary" in answer.json["error"]
        check_headers(answer, "invalid")
    # curl -d sends this content type; a route of the user's own reads JSON all the same
    assert host.plain({"value": 2}, {"content-type": "application/x-www-form-urlencoded"}).json == {"value": 4}
    late = host.plain({"value": 1}, {"plimsoll-deadline-ms": "soon"})
    assert late.status == 400
    assert "plimsoll-deadline-ms" in late.json["error"]
    check_headers(late, "invalid")


# What the connection itself refuses: (bytes, status, outcome).
REFUSED = {
    "malformed": (b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", 400, "invalid"),
    "no host": (b"GET /v2 HTTP/1.1\r\n\r\n", 400, "invalid"),
    "header flood": (b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431, "invalid"),
    "too large": (b"POST /m HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", 413, "too_large"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_connection_refuses_is_told_like_everything_else(hosts, case):
    host = hosts("python")
    data, status, outcome = REFUSED[case]
    before = host.outcomes().get(outcome, 0)
    with connected(host.address) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        raw = b""
        while piece := sock.recv(65536):
            raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert int(lines[0].split()[1]) == status
    assert headers["plimsoll-outcome"] == outcome
    assert headers["plimsoll-revision"] == REVISION
    assert headers["server-timing"].startswith("queue;dur=")
    assert re.fullmatch("[0-9a-f]{16}", headers["x-request-id"])
    assert "\n" not in json.loads(body)["error"]
    assert host.outcomes()[outcome] == before + 1
    assert host.plain({"value": 1}).status == 200


ONNX_PATH = "/v2/models/m/infer"


def row(**changes):
    return {"name": "row", "datatype": "INT64", "shape": [2], "data": [1, 2]} | changes


BAD = {
    "no JSON": (b'{"inputs": [', "truncated"),
    "empty": (b"", "empty"),
    "NaN": (json.dumps({"inputs": [row(datatype="FP32", data=[float("nan"), 1])]}).encode(), ""),
    "no inputs": ({"inputs": []}, "missing"),
    "wrong shape": ({"inputs": [row(shape=[2, 1])]}, "shape"),
    "shape and data differ": ({"inputs": [row(shape=[3])]}, "3 values"),
    "negative shape": ({"inputs": [row(shape=[-2])]}, "shape"),
    "wrong datatype": ({"inputs": [row(datatype="FP32")]}, "INT64"),
    "unknown datatype": ({"inputs": [row(datatype="INT7")]}, "INT7"),
    "fraction": ({"inputs": [row(data=[1.5, 2])]}, "data"),
    "null": ({"inputs": [row(data=[None, 2])]}, "data"),
    "text": ({"inputs": [row(data=["1", 2])]}, "data"),
    "missing tensor": ({"inputs": [row(name="other")]}, "other"),
    "extra tensor": ({"inputs": [row(), row(name="more")]}, "more"),
    "twice": ({"inputs": [row(), row()]}, "twice"),
    "no items": ({"inputs": [row(shape=[0], data=[])]}, "no items"),
    "unknown output": ({"inputs": [row()], "outputs": [{"name": "z"}]}, "z"),
    "not an object": ([1], ""),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_harms_nobody_else(hosts, case):
    """On one keep-alive connection: bad, then good; and beside it a batch mate."""
    host = hosts("onnx")
    body, says = BAD[case]
    good = {"inputs": [row()]}
    client = host.client()
    mates = [host._pool.submit(host.post, ONNX_PATH, good) for _ in range(4)]
    bad = client.ask("POST", ONNX_PATH, body)
    assert bad.status == 400, bad
    assert says in bad.json["error"]
    check_headers(bad, "invalid")
    sock = client.sock
    assert client.ask("POST", ONNX_PATH, good).status == 200
    assert client.sock is sock, "the connection was not kept"
    client.close()
    assert all(mate.result(20).status == 200 for mate in mates)


def test_one_request_that_fails_in_the_model_leaves_its_batch_mates_alone(hosts):
    """An index out of range passes every check of the protocol, and fails in onnxruntime's Gather."""
    host = hosts("onnx")
    futures = [
        host._pool.submit(host.post, ONNX_PATH, {"inputs": [row(data=[1, 99 if index == 3 else 2])]})
        for index in range(8)
    ]
    answers = [future.result(20) for future in futures]
    assert [answer.status for answer in answers] == [500 if index == 3 else 200 for index in range(8)]
    check_headers(answers[3], "model_error")


def test_v1_and_plain_say_what_is_wrong(hosts):
    host = hosts("python")
    for path, body in (("/v1/models/m:predict", {"instances": 3}), ("/v1/models/m:predict", {"instances": []}),
                       ("/v1/models/m:predict", b"{"), ("/m", b"{"), ("/m", b""), ("/m", b"\xff")):  # fmt: skip
        answer = host.post(path, body)
        assert answer.status == 400, (path, body, answer)
        check_headers(answer, "invalid")


def test_untrusted_peers_set_no_marks(replica):
    """Over TCP `plimsoll-alone` and the like are a stranger's: no 102, and no way past the service's timeout."""
    host = replica(listen="tcp", spec={"timeout": "500ms", "runtime": {"predictTimeout": "30s"}})
    with connected(host.address) as sock:
        body = b'{"tag": "a"}'
        sock.sendall(
            b"POST /puppet HTTP/1.1\r\nhost: x\r\nplimsoll-alone: 1\r\nplimsoll-priority: 9\r\nplimsoll-tenant: t\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    busy = host.hold()
    late = host.plain({"tag": "late"}, {"plimsoll-deadline-ms": "60000"})
    assert (late.status, late.outcome) in {(504, "expired"), (503, "shed")}
    host.release()
    busy.result(20)
    assert host.tags() == [["a"]]


def test_alone_is_told_before_it_is_computed(replica):
    """Over the trusted Unix socket: 102 first, then its own batch, then the answer."""
    host = replica()
    busy = host.hold()
    mates = [host.later({"tag": f"mate{index}"}) for index in range(3)]
    host.queued(3)
    with connected(host.address) as sock:
        body = b'{"do": "wait", "for": "second", "tag": "alone"}'
        head = b"POST /puppet HTTP/1.1\r\nhost: x\r\nplimsoll-alone: 1\r\ncontent-length: %d\r\n\r\n" % len(body)
        sock.sendall(head + body)
        host.queued(4)
        host.release()
        seen = sock.recv(65536)
        assert seen == b"HTTP/1.1 102 Processing\r\n\r\n"
        host.until(lambda: host.path("second.started").exists())
        host.release("second")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert all(future.result(20).status == 200 for future in [busy, *mates])
    assert ["alone"] in host.tags(), "it shared a batch"
