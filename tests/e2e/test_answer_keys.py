"""Keys of a service that its gateway acts on, from outside: kept answers, answers instead, sessions, second copies.

(Who may ask: `test_tenant_keys.py`. That no key is forgotten: `test_every_key.py`.)
"""

import http.client
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.cache_servers import MemcachedServer, RedisServer

# `broken` is a file of the test's: while it is there, the model fails. What is called `slow_once` is slow once.
MODEL = """
import itertools
import os
import time
from pathlib import Path

FOLDER = Path({folder!r})


class Model:
    calls = itertools.count(1)

    def predict(self, batch):
        return [self.one(item) for item in batch]

    def one(self, item):
        if (FOLDER / "broken").exists():
            raise ValueError("as asked")
        time.sleep(item.get("sleep", 0))
        name = item.get("slow_once")
        if name and not (FOLDER / name).exists():
            (FOLDER / name).touch()
            time.sleep(3)
        return {{"call": next(self.calls), "pid": os.getpid(), "text": "x" * item.get("long", 0)}}
"""
SPARE = """
class Spare:
    def predict(self, batch):
        return [ValueError("as asked") if "spare fails" in item else {"spare": True} for item in batch]
"""

SERVICES = {
    "brief": ["cache: {ttl: 1s, backend: {type: Memory}}"],
    "small": ["cache: {ttl: 10m, maxSize: 1Mi}"],
    "chosen": ["cache: {ttl: 10m, key: {inputs: [text]}}"],
    "chain": [
        "cache: {ttl: 300ms}",
        "fallback:",
        "- {type: StaleCache, maxAge: 1h}",
        "- {type: Service, service: {name: spare}}",
        "- {type: Static, body: sorry, contentType: text/plain}",
    ],
    "aged": ["cache: {ttl: 200ms}", "fallback: [{type: StaleCache, maxAge: 400ms}]"],
    "late": ["timeout: 400ms", "fallback: [{type: Static, body: '{\"late\": true}'}]"],
    "full": [
        "budget: {latency: {p99: 300ms}}",
        "batching: {maxSize: 1}",
        "fallback: [{type: Service, service: {name: spare}}]",
    ],
    "by-header": ["replicas: 3", "sessionAffinity: {type: Header, name: X-User}"],
    "by-cookie": ["replicas: 3", "sessionAffinity: {type: Cookie, name: session}"],
    "hedged": ["replicas: 2", "hedging: Slow"],
    "alone": ["replicas: 2", "hedging: Never"],
    "spare": ["timeout: 5s"],
    "closed": ["access: {anonymous: false}"],
}
SHARED = {
    "redis": ["cache: {ttl: 10m, backend: {type: Redis, secretRef: {name: stores, key: redis}}}"],
    "memcached": ["cache: {ttl: 10m, backend: {type: Memcached, secretRef: {name: stores, key: memcached}}}"],
}


def document(name, spec):
    model = "spare.py" if name == "spare" else "model.py"
    head = f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: {name}}}\n"
    return head + "\n  ".join(["spec:", f"model: {{path: ./{model}}}", f"routes: [{{path: /{name}}}]", *spec]) + "\n"


DOCUMENTS = [document(*one) for one in (SERVICES | SHARED).items()]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text(MODEL.format(folder=str(tmp_path)))
    (tmp_path / "spare.py").write_text(SPARE)
    return tmp_path


def outcome(answer):
    return answer[0], answer[1]["plimsoll-outcome"]


def degraded(answer):
    """By what, and the answer."""
    assert outcome(answer) == (200, "degraded"), answer
    return answer[1]["plimsoll-degraded-by"], answer[2]


def counted(running, metric, service):
    """Summed over gateways."""
    connection = http.client.HTTPConnection("127.0.0.1", running.admin_port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = re.findall(rf'^{metric}{{[^}}]*service="{service}"[^}}]*}} (\S+)$', text, re.MULTILINE)
    return sum(map(float, lines))


def test_keys_that_answer_from_elsewhere(up, folder, until):
    (folder / "service.yaml").write_text("---\n".join(document(*one) for one in SERVICES.items()))
    running = up(cwd=folder).ready()
    assert outcome(running.post("/closed", {})) == (401, "unauthorized")  # there is no tenant that could
    kept_answers(running)
    answers_instead(running, folder, until)
    sessions(running)
    second_copies(running)


def kept_answers(running):
    # ttl: the same question is computed once, until the answer is too old
    first = running.post("/brief", {"text": "hi"})
    again = running.post("/brief", {"text": "hi"})
    assert (outcome(first), outcome(again)) == ((200, "ok"), (200, "cached"))
    assert again[2] == first[2]
    assert again[1]["age"] == "0"
    assert outcome(running.post("/brief", {"text": "ho"})) == (200, "ok")
    time.sleep(1.1)
    assert running.post("/brief", {"text": "hi"})[2]["call"] > first[2]["call"]

    # key.inputs: what of the body makes it the same question
    first = running.post("/chosen", {"text": "hi", "id": 1})
    assert outcome(running.post("/chosen", {"id": 2, "text": "hi"})) == (200, "cached")
    assert outcome(running.post("/chosen", {"text": "ho", "id": 1})) == (200, "ok")

    # maxSize: eleven answers of 100 kB are more than a mebibyte, and the one asked for longest ago goes
    for number in range(11):
        assert outcome(running.post("/small", {"long": 100_000, "number": number})) == (200, "ok")
    assert 500_000 < counted(running, "plimsoll_cache_bytes", "small") <= 1 << 20
    assert outcome(running.post("/small", {"long": 100_000, "number": 10})) == (200, "cached")
    assert outcome(running.post("/small", {"long": 100_000, "number": 0})) == (200, "ok")


def answers_instead(running, folder, until):
    # fallback: the list in its order, when the model fails. First what it said before, however long ago maxAge allows.
    known = running.post("/chain", {"text": "known"})
    aged = running.post("/aged", {"text": "known"})
    assert outcome(known) == outcome(aged) == (200, "ok")
    time.sleep(1.0)
    (folder / "broken").touch()
    stale = running.post("/chain", {"text": "known"})
    assert degraded(stale) == ("StaleCache", known[2])
    assert int(stale[1]["age"]) >= 1
    assert outcome(running.post("/aged", {"text": "known"})) == (500, "model_error")

    # service.name: another one's answer; should that fail, too: body, of contentType
    assert degraded(running.post("/chain", {"text": "new"})) == ("Service/spare", {"spare": True})
    static = running.post("/chain", {"spare fails": 1})
    assert degraded(static) == ("Static", b"sorry")
    assert static[1]["content-type"] == "text/plain"
    (folder / "broken").unlink()
    until(lambda: running.status("chain")["outcomes"].get("degraded") == 3)

    # ... also when the model takes longer than the answer is worth: just before the deadline
    began = time.monotonic()
    late = running.post("/late", {"sleep": 4.0})
    assert degraded(late) == ("Static", {"late": True})
    assert late[1]["content-type"] == "application/json"
    assert 0.2 < time.monotonic() - began < 3

    # ... and when so many ask that the budget would break: nobody is refused
    for _ in range(5):
        running.post("/full", {"sleep": 0.03})
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: running.post("/full", {"sleep": 0.03}), range(80)))
    outcomes = [outcome(answer)[1] for answer in answers]
    assert set(outcomes) == {"ok", "degraded"}, outcomes
    assert {degraded(one)[0] for one in answers if outcome(one)[1] == "degraded"} == {"Service/spare"}


def sessions(running):
    """sessionAffinity.type and name: a session has one replica, and all replicas have sessions."""

    def replica_of(path, headers):
        (pid,) = {running.post(path, {}, headers)[2]["pid"] for _ in range(4)}
        return pid

    assert len({replica_of("/by-header", {"x-user": f"user-{n}"}) for n in range(20)}) == 3
    assert len({replica_of("/by-cookie", {"cookie": f"theme=dark; session={n}"}) for n in range(20)}) == 3
    assert len({running.post("/by-header", {}, {"x-other": "me"})[2]["pid"] for _ in range(20)}) > 1


def second_copies(running):
    """hedging: a request that takes longer than usual is sent to the other replica, too, and the first answer wins."""
    for number in range(3):  # a stall of the machine makes "usual" so long that the request counts as overdue first
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: running.post("/hedged", {"sleep": 0.01}), range(120)))
        began = time.monotonic()
        assert running.post("/hedged", {"slow_once": f"stalled-{number}"})[0] == 200
        assert time.monotonic() - began < 2.5
        if counted(running, "plimsoll_hedges_total", "hedged"):
            break
        time.sleep(3.1)  # until the stalled one goes on
    assert counted(running, "plimsoll_hedges_total", "hedged") >= 1
    assert counted(running, "plimsoll_hedges_total", "alone") == 0


@pytest.mark.parametrize("server", [RedisServer, MemcachedServer], ids=["redis", "memcached"])
def test_a_cache_that_gateways_share(server, up, folder, request, until):
    """cache.backend: what one gateway has kept, another gives. A store that is away is a miss, never an error."""
    name = request.node.callspec.id
    with server() as store:
        (folder / "service.yaml").write_text(document(name, SHARED[name]))
        (folder / "secrets/stores").mkdir(parents=True)
        (folder / "secrets/stores" / name).write_text(store.url + "\n")
        running = up("--gateways", 2, cwd=folder).ready()
        one = running.client()  # a connection stays with its gateway
        asked = f"/{name}", {"text": "hi"}
        assert outcome(one.post(*asked)) == (200, "ok")
        until(lambda: outcome(one.post(*asked)) == (200, "cached"))  # once written
        one.close()

        def both_have_it():
            """One and the same answer over sixteen connections. Where a lookup takes more than 20 ms, as on a busy
            machine it may, it is a miss: the model is asked, and what it says is kept instead."""
            answers = [running.post(*asked) for _ in range(16)]
            same = len({answer[2]["call"] for answer in answers}) == 1
            return same and {outcome(answer) for answer in answers} == {(200, "cached")}

        until(both_have_it)
        store.kill()
        assert outcome(running.post(*asked)) == (200, "ok")
        assert store.url not in running.output + running.cli("status", "--json").stdout
