"""Admission at a real replica: who would be late is told at once, and absurd deadlines have a clear outcome."""

import asyncio
import json
import time

import pytest

SLOW = """
import time

class Slow:
    examples = [{"input": {"x": 1}}]

    def predict(self, batch):
        time.sleep(0.5 * len(batch))
        return [1 for _ in batch]
"""


@pytest.mark.parametrize(
    ("name", "value", "status", "outcome"),
    [
        ("plimsoll-deadline-ms", "0", 504, "expired"),
        ("plimsoll-deadline-ms", "-1", 400, "invalid"),
        ("plimsoll-deadline-ms", "soon", 400, "invalid"),
        ("plimsoll-deadline-ms", "nan", 400, "invalid"),
        ("plimsoll-deadline-ms", "1e400", 400, "invalid"),
        ("plimsoll-deadline-ms", "999999999999999", 200, "ok"),
        ("grpc-timeout", "0n", 504, "expired"),
        ("grpc-timeout", "99999999H", 200, "ok"),
        ("x-envoy-upstream-rq-timeout-ms", "-5", 400, "invalid"),
    ],
)
def test_absurd_deadlines(replica, name, value, status, outcome):
    answer = replica().plain({"tag": "t"}, {name: value})
    assert (answer.status, answer.outcome) == (status, outcome)


@pytest.mark.parametrize(
    "headers",
    [
        {"plimsoll-weight": "nan"},
        {"plimsoll-weight": "-3"},
        {"plimsoll-weight": "inf"},
        {"plimsoll-priority": "9" * 400},
        {"plimsoll-priority": "high"},
        {"plimsoll-tenant": "ä\xff"},
    ],
)
def test_marks_of_a_hop_that_make_no_sense_are_passed_over(replica, headers):
    host = replica()
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert host.plain({"tag": "t"}, encoded).status == 200


def test_after_a_long_stall_it_takes_requests_again_at_once(replica):
    """What is over is over: only who waited in the kernel through it is judged by all of it."""
    host = replica(spec={"budget": {"latency": {"p99": "300ms"}}})
    assert host.plain({"tag": "before"}).status == 200
    host.on_loop(time.sleep, 3.0)
    time.sleep(0.1)  # a few ticks
    answers = [host.later({"tag": "after"}) for _ in range(20)]
    assert [answer.result().status for answer in answers] == [200] * 20


def test_a_request_that_would_be_late_is_refused_at_once_and_not_computed(replica):
    host = replica(model=SLOW, spec={"budget": {"latency": {"p99": "1500ms"}}, "batching": {"maxSize": 1}})
    running = [host.later({"x": 1}) for _ in range(2)]
    host.in_flight(2)
    began = time.monotonic()
    refused = host.plain({"x": 2})
    assert time.monotonic() - began < 0.45, "not as long as the queue"
    assert (refused.status, refused.outcome) == (503, "shed")
    assert int(refused.headers["retry-after"]) >= 1
    assert "item_ms=" in refused.headers["endpoint-load-metrics"]
    assert [future.result(20).status for future in running] == [200, 200]


def test_bytes_in_hand_are_bounded(replica):
    host = replica(max_body_bytes=1000)
    busy = host.hold()
    waiting = host.later({"tag": "a" * 900})
    host.queued(1)
    refused = host.plain({"tag": "b" * 900})
    assert (refused.status, refused.outcome) == (503, "shed")
    assert "bytes" in json.loads(refused.body)["error"]
    host.release()
    assert busy.result(20).status == waiting.result(20).status == 200
    assert host.replica._intake.held_bytes == 0


@pytest.mark.parametrize(("late_ms", "counted_ms"), [(0.9, 0.0), (3.0, 2.0)])
def test_a_timers_own_step_is_no_lag(replica, monkeypatch, late_ms, counted_ms):
    host = replica()

    async def ticked():
        one = host.replica
        now = time.monotonic()
        one._timer.cancel()
        one._engine.lag_s, one._due = 0.0, now - late_ms / 1000
        with monkeypatch.context() as patch:
            patch.setattr("plimsoll.server.replica.monotonic", lambda: now)
            one._tick()
        return one._engine.lag_s

    lag_s = asyncio.run_coroutine_threadsafe(ticked(), host.loop).result(10)
    assert lag_s * 1000 == pytest.approx(counted_ms, abs=1e-6)
