"""Keys of a service that its replicas and its controller act on, from end to end: what each is for, seen from outside.

What its gateway acts on: `test_answer_keys.py`. That no key is forgotten: `test_every_key.py`.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

MODEL = """
import os
import time


class Wrong:
    def predict(self, batch):
        return ["wrong"] * len(batch)


class Model:
    def load(self):
        time.sleep(float(os.environ.get("LOAD_S", 0)))

    def predict(self, batch):
        for item in batch:
            if item == "raise":
                raise ValueError("as asked")
            if item == "die":
                os._exit(9)
            if isinstance(item, dict):
                time.sleep(item.get("sleep", 0))
                if "die_unless" in item and not os.path.exists(item["die_unless"]):
                    open(item["die_unless"], "w").close()
                    os._exit(9)
        return [{"batch": len(batch), "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]} for _ in batch]
"""

HEAD = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\n"
SERVICES = {
    "plain": "scaling: {minReplicas: 1}\n  runtime: {isolation: Thread}",
    "median": "budget: {latency: {p50: 1ms}}",
    "tail": "budget: {latency: {p95: 1ms}}",
    "late": "budget: {latency: {p99: 60ms}}\n  timeout: 5s",
    "errors": "budget: {errorRate: 1%}",
    "window": "budget: {window: 1s}",
    "timeout": "timeout: 100ms",
    "once": "retry: Never\n  scaling: {minReplicas: 2}",
    "again": "retry: Once\n  replicas: 2",
    "linger": "batching: {linger: 1s}",
    "pairs": "batching: {maxSize: 2}",
    "cores": 'resources: {requests: {cpu: "2"}}',
    "apart": "runtime: {isolation: Process}",
    "two": "replicas: 2",
    "elsewhere": "routes: [{path: /here, host: api.example.com}]",
}
BROKEN = {
    "needs": ("runtime: {requirements: [no-such-thing>=3]}", "no-such-thing"),
    "slow": ("runtime: {loadTimeout: 1s}", "load() did not finish within 1s"),
    "eater": ("resources: {limits: {memory: 150Mi}}", "memory limit 150Mi exceeded"),
}
EATER = """
import time


class Model:
    def load(self):
        print("eating", flush=True)
        self.hoard = b"x" * (300 << 20)
        time.sleep(5)

    def predict(self, batch):
        return batch
"""
SLOW = """
import time


class Model:
    def load(self):
        print("sleeping", flush=True)
        time.sleep(1000)

    def predict(self, batch):
        return batch
"""


def document(name, spec, model="./model.py"):
    meta = f"metadata: {{name: {name}, labels: {{tier: online}}, annotations: {{owner: us}}, namespace: shop}}\n"
    return f"{HEAD}{meta}spec:\n  model: {{format: Python, path: {model}, className: Model}}\n  {spec}\n"


HELD = "scaling: {hold: 200ms}"
DOCUMENTS = [
    *(document(*one) for one in SERVICES.items()),
    *(document(name, spec) for name, (spec, _) in BROKEN.items()),
    document("held", HELD),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "service.yaml").write_text("---\n".join(document(*one) for one in SERVICES.items()))
    return tmp_path


def infer(running, name, item="x", **headers):
    return running.post(f"/v1/models/{name}:predict", {"instances": [item]}, headers)


def outcome(answer):
    return answer[0], answer[1]["plimsoll-outcome"]


def value(answer):
    assert answer[0] == 200, answer
    return answer[2]["predictions"][0]


def many(running, name, items):
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(lambda item: infer(running, name, item), items))


def test_keys_that_shape_a_service(up, folder, until):
    running = up(folder).ready()

    # className: the right one of two answers; format and path brought it here
    plain = value(infer(running, "plain"))
    assert plain["threads"] == "1"
    told = running.status("plain")
    assert (told["labels"], told["replicas"]) == ({"tier": "online"}, {"ready": 1, "wanted": 1})
    assert [line.partition(":")[0] for line in told["not_honoured"]] == ["metadata.namespace"]

    # timeout: an answer that would come later is worth nothing
    began = time.monotonic()
    assert outcome(infer(running, "timeout", {"sleep": 4})) == (504, "expired")
    assert time.monotonic() - began < 3

    # retry: Never. One replica dies, and the other is not asked.
    assert outcome(infer(running, "once", "die")) == (503, "replica_lost")
    until(lambda: sum(one["restarts"] for one in running.status("once")["instances"]) == 1)

    # retry: Once. The other one is asked.
    assert value(infer(running, "again", {"die_unless": str(folder / "died")}))
    assert (folder / "died").exists()

    # linger: a free model waits for company, no longer
    began = time.monotonic()
    assert [value(answer)["batch"] for answer in many(running, "linger", ["x"] * 4)] == [4] * 4
    assert time.monotonic() - began > 0.99

    # maxSize
    sizes = [value(answer)["batch"] for answer in many(running, "pairs", [{"sleep": 0.1}] * 7)]
    assert max(sizes) == 2

    # requests.cpu: threads to compute with
    assert value(infer(running, "cores"))["threads"] == "2"

    # isolation: the model computes in a process that is not the replica's
    (apart,) = running.status("apart")["instances"]
    (same,) = running.status("plain")["instances"]
    assert value(infer(running, "apart"))["pid"] != apart["pid"]
    assert plain["pid"] == same["pid"]

    # replicas, and scaling.minReplicas
    assert running.status("two")["replicas"] == {"ready": 2, "wanted": 2}
    assert running.status("once")["replicas"]["wanted"] == 2

    # routes: a path of one host's own
    assert running.post("/here", "x", {"host": "api.example.com"})[0] == 200
    assert running.post("/here", "x", {"host": "www.example.com"})[0] == 404

    # budget: each quantile and the error rate by itself
    for name in ("median", "tail", "errors", "window"):
        for _ in range(3):
            assert value(infer(running, name, {"sleep": 0.01}))
    for items in [["x"]] * 8 + [[{"sleep": 0.2}] * 2]:  # nobody could foresee the last two
        assert all(map(value, many(running, "late", items)))
    assert outcome(infer(running, "errors", "raise")) == (500, "model_error")
    outside = ["median", "tail", "late", "errors"]
    until(lambda: [running.status(name)["inside_budget"] for name in outside] == [False] * 4)
    assert running.status("window")["inside_budget"] is None
    table = running.cli("status").stdout
    for name, budget in [("median", "(1.0ms)"), ("tail", "(1.0ms)"), ("late", "(60ms)"), ("errors", "(1%)")]:
        assert budget in next(line for line in table.splitlines() if line.startswith(name))

    # window: what is older is forgotten
    until(lambda: running.status("window")["outcomes"].get("ok", 0) == 0)
    assert running.status("tail")["outcomes"]["ok"] == 3


def test_keys_that_fail_a_service_and_the_others_serve_on(up, service, tmp_path, until):
    """A model that misses a package, loads too long, or eats its memory: Failed, with the reason and its last lines."""
    (tmp_path / "eater").mkdir()
    (tmp_path / "slow").mkdir()
    (tmp_path / "eater/model.py").write_text(EATER)
    (tmp_path / "slow/model.py").write_text(SLOW)
    (tmp_path / "model.py").write_text(MODEL)
    models = {"eater": "./eater/model.py", "slow": "./slow/model.py"}
    broken = [document(name, spec, models.get(name, "./model.py")) for name, (spec, _) in BROKEN.items()]
    corrupt = f"{HEAD}metadata: {{name: corrupt}}\nspec: {{model: {{path: ./broken.onnx}}}}\n"
    (tmp_path / "broken.onnx").write_bytes(b"no model at all")
    (tmp_path / "all.yaml").write_text("---\n".join([document("plain", "timeout: 5s"), *broken, corrupt]))
    running = up("all.yaml")
    running.line(r"stop: +Ctrl-C")
    assert value(infer(running, "plain"))
    for name, (_, reason) in [*BROKEN.items(), ("corrupt", ("", "broken.onnx"))]:
        told = until(
            lambda name=name: (told := running.status(name)) and told["phase"] == "Failed" and told,
            message=lambda name=name: json.dumps(running.status(name), indent=1),
        )
        assert reason in told["message"], told
        status, headers, answer = infer(running, name)
        assert (status, headers["plimsoll-outcome"]) == (503, "no_replica")
        assert reason in answer["error"]
        lines = running.cli("status", name).stdout
        assert reason in lines, lines
        if name in models:
            assert {"eater": "eating", "slow": "sleeping"}[name] in lines, lines
    assert value(infer(running, "plain"))
    assert running.interrupt() == 0
    running.nothing_left()


def test_hold_is_how_long_a_request_waits_for_a_first_replica(up, service, echo, until):
    slow_start = echo.replace("        print(", "        import time; time.sleep(60)\n        print(")
    running = up(service(model=slow_start, spec=f"  {HELD}\n"))

    def asked():
        began = time.monotonic()
        try:
            return running.post("/mood", 1), time.monotonic() - began
        except ConnectionRefusedError:  # the gateway isn't there yet
            return None

    answer, took = until(asked)
    assert outcome(answer) == (503, "no_replica")
    assert took < 10  # without it: 30 s
