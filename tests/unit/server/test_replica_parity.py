"""A live replica's inputs to its queue and its gate, shown to fresh ones: the same requests in the same batches, the
same ones refused. Real clients, a real model, the real clock; what is compared takes every time as an argument."""

import threading
from dataclasses import fields, replace
from random import Random

import pytest

from plimsoll.core.request import Request
from plimsoll.policy.admission import AdmissionGate
from plimsoll.policy.batching import BatchQueue
from plimsoll.server import replica as replica_module

SEED = 4
MODEL = """
import time

class Slow:
    examples = [{"input": {"x": 1}}]

    def predict(self, batch):
        time.sleep(0.004 + 0.0015 * len(batch))
        return [1 for _ in batch]
"""
QUEUE = {"push", "poll", "forecast", "at_most", "item_s", "goes_ahead", "may_probe", "ran", "cancel", "expire",
         "next_expiry", "drain", "work_s"}  # fmt: skip
GATE = {"guard", "room_s", "decide"}


class Watched:
    """Stands for a policy object, and keeps every call of `calls` with what it was given and what it answered."""

    def __init__(self, real, calls, log, inner=()):
        self._real, self._calls, self._log, self._inner = real, calls, log, dict(inner)

    def __len__(self):
        return len(self._real)

    def __getattr__(self, name):
        found = getattr(self._real, name)
        if name in self._inner:
            return Watched(found, self._inner[name], Prefixed(self._log, f"{name}."))
        if name not in self._calls:
            return found

        def call(*args, **options):
            given = [keep(one) for one in args], {key: keep(one) for key, one in options.items()}
            answer = found(*args, **options)
            self._log.append((name, *given, told(answer)))
            return answer

        return call


class Prefixed:
    def __init__(self, log, prefix):
        self._log, self._prefix = log, prefix

    def append(self, entry):
        self._log.append((self._prefix + entry[0], *entry[1:]))


def keep(value):
    """As it was then: requests are written to while they wait."""
    if not isinstance(value, Request):
        return value
    return replace(value, inputs=None, context=None, place=None)


def told(answer):
    """What is compared: requests by their ids."""
    match answer:
        case Request():
            return answer.id
        case list() | tuple():
            return [told(one) for one in answer]
        case _ if hasattr(answer, "wake_at"):
            return [told(answer.batch), told(answer.expired), told(answer.shed), answer.wake_at]
    return answer


def again(fresh, log):
    """The same calls of a fresh object; what it answers."""
    known: dict[str, Request] = {}

    def meant(value):
        if not isinstance(value, Request):
            return value
        found = known.get(value.id)
        if found is None or any(
            getattr(found, one.name) != getattr(value, one.name) for one in fields(Request) if one.name in SAME
        ):
            found = known[value.id] = replace(value)
        return found

    for name, args, options, answer in log:
        target = fresh
        *path, method = name.split(".")
        for part in path:
            target = getattr(target, part)
        made = getattr(target, method)(*map(meant, args), **{key: meant(one) for key, one in options.items()})
        yield name, answer, told(made)


SAME = {"arrived", "target", "deadline", "size", "key", "priority", "tenant", "weight", "alone"}


@pytest.fixture
def watched(monkeypatch):
    """The logs of every queue and gate that a replica makes, with their settings."""
    queues, gates = [], []

    def make_queue(settings):
        log = []
        queues.append((settings, log))
        return Watched(BatchQueue(settings), QUEUE, log, {"plan": {"passed_between"}})

    def make_gate(settings):
        log = []
        gates.append((settings, log))
        return Watched(AdmissionGate(settings), GATE, log)

    monkeypatch.setattr(replica_module, "BatchQueue", make_queue)
    monkeypatch.setattr(replica_module, "AdmissionGate", make_gate)
    return queues, gates


def drive(host, clients, each):
    """Closed loops, with what real clients differ in: deadlines, priorities, tenants."""
    outcomes = []

    def run(random):
        client = host.client()
        for _ in range(each):
            headers = {"plimsoll-deadline-ms": str(random.choice([15, 40, 90, 300, 5000]))}
            if random.random() < 0.2:
                headers["plimsoll-priority"] = str(random.choice([-1, 1]))
            if random.random() < 0.3:
                headers["plimsoll-tenant"] = random.choice(["red", "blue"])
            outcomes.append(client.ask("POST", "/puppet", {"x": 1}, headers).outcome)
        client.close()

    threads = [threading.Thread(target=run, args=(Random(SEED + number),)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


@pytest.mark.parametrize("clients", [1, 40])
def test_a_recorded_runs_inputs_give_the_same_batches_and_refusals(replica, watched, clients):
    print(f"seed {SEED}")
    host = replica(model=MODEL, spec={"budget": {"latency": {"p99": "100ms"}}})
    outcomes = drive(host, clients, 600 // clients)
    host.close()
    assert len(outcomes) == 600 // clients * clients
    queues, gates = watched
    settings, log = queues[-1]
    assert {"push", "poll", "forecast"} <= {name for name, *_ in log}
    replayed = list(again(BatchQueue(settings), log))
    assert [entry for entry in replayed if entry[1] != entry[2]] == []
    batches = [answer[0] for name, answer, _ in replayed if name == "poll" and answer[0]]
    assert sum(map(len, batches)) == outcomes.count("ok")
    settings, log = gates[-1]
    replayed = list(again(AdmissionGate(settings), log))
    assert [entry for entry in replayed if entry[1] != entry[2]] == []
    if clients == 40:
        assert max(map(len, batches)) > 4
        assert any(answer is not None for name, answer, _ in replayed if name == "decide")


def test_other_settings_would_have_answered_otherwise(replica, watched):
    host = replica(model=MODEL, spec={"budget": {"latency": {"p99": "100ms"}}})
    drive(host, 40, 10)
    host.close()
    settings, log = watched[0][-1]
    assert any(answer != made for _, answer, made in again(BatchQueue(replace(settings, max_size=2)), log))
