"""Arrivals wait for nobody, latency counts from when a request should have left, and each request ends once."""

import asyncio
import gc
import time
from random import Random

import pytest

from plimsoll.core.errors import HostError
from plimsoll.insight.traffic import Arrivals, draw, ramp
from plimsoll.load import Budget, LoadSettings, Traffic, http_target, made_json, run_load

OK = b"plimsoll-outcome: ok\r\nserver-timing: queue;dur=4.000, compute;dur=3.000\r\n"


def later(seconds, exchange, status=200, headers=OK):
    asyncio.get_running_loop().call_later(seconds, exchange.respond, status, headers, b"{}")


def test_every_request_of_the_schedule_is_sent_and_counted(run, steady):
    report = run(steady(400, 0.5))
    assert report.offered == len(run.server.requests) == 200
    assert report.outcomes == {"ok": 200}
    assert report.in_time == 200
    assert report.lagging or report.offered_per_s == pytest.approx(400)  # a busy machine is late itself
    assert {exchange.method for exchange in run.server.requests} == {"POST"}
    assert {exchange.body for exchange in run.server.requests} == {b"{}"}
    told = made_json(report)
    assert told["queue_ms"]["p99"] == pytest.approx(4, rel=0.03)
    assert told["compute_ms"]["p50"] == pytest.approx(3, rel=0.03)


def test_arrivals_do_not_wait_for_answers(run, steady):
    """Each answer takes 0.3 s: a closed loop on one connection would send 2 in the time in which 100 are due."""
    report = run(steady(200, 0.5), lambda exchange, count: later(0.3, exchange))
    assert report.offered == 100
    arrived = [exchange.arrived for exchange in run.server.requests]
    assert arrived[-1] - arrived[0] == pytest.approx(0.495, abs=0.3)
    assert report.outcomes == {"ok": 100}
    assert len({id(exchange.connection) for exchange in run.server.requests}) > 20


def test_a_stall_of_the_server_shows_in_the_tail(run, steady):
    """No coordinated omission: the server answers nobody for 300 ms. Of 200 requests some 60 fall into the stall, and
    wait 150 ms on average. Who waits for each answer before sending the next would have seen a single slow one."""
    stall = {}

    def handle(exchange, count):
        now = time.monotonic()
        if count == 50:
            stall["end"] = now + 0.3
        if now < stall.get("end", 0.0):
            later(stall["end"] - now, exchange)
        else:
            exchange.respond(200, OK, b"{}")

    report = run(steady(200, 1.0), handle, settings=LoadSettings(connections=1, timeout_s=5.0, deadline_s=0.1))
    latency = made_json(report)["latency_ms"]
    assert report.outcomes == {"ok": 200}
    assert latency["p99"] >= 250
    assert latency["p95"] >= 200
    assert latency["p50"] < 100
    assert latency["max"] >= latency["p99"] * 0.97
    assert report.in_time <= 170  # goodput is what came within its 100 ms


def test_with_all_connections_busy_the_wait_counts(run, steady):
    report = run(
        steady(100, 0.3),
        lambda exchange, count: later(0.02, exchange),
        settings=LoadSettings(connections=1, timeout_s=5.0, deadline_s=5.0),
    )
    assert report.outcomes == {"ok": 30}
    assert len({id(exchange.connection) for exchange in run.server.requests}) == 1
    assert report.worst_s > 0.2  # 30 requests of 20 ms, one after another, in a schedule of 10 ms


def test_a_request_without_an_answer_is_hung_and_its_connection_is_not_used_again(run, steady):
    def handle(exchange, count):
        if count % 10:
            exchange.respond(200, OK, b"{}")

    report = run(steady(100, 0.5), handle, settings=LoadSettings(timeout_s=0.3, deadline_s=0.3))
    assert report.outcomes == {"ok": 45, "hung": 5}
    assert report.hung == 5
    assert report.breached


def test_who_never_gets_a_connection_is_unsent_not_hung(run, steady):
    report = run(
        steady(100, 0.5),
        lambda exchange, count: None,
        settings=LoadSettings(connections=1, timeout_s=0.2, deadline_s=0.2),
    )
    assert sum(report.outcomes.values()) == report.offered == 50
    assert set(report.outcomes) == {"hung", "unsent"}
    assert report.outcomes["hung"] == len(run.server.requests)


def test_lost_connections_are_counted_by_name(run, steady):
    def handle(exchange, count):
        if count % 5 == 0:
            exchange.connection.abort()
        else:
            exchange.respond(200, OK, b"{}")

    report = run(steady(200, 0.5), handle)
    assert report.outcomes == {"ok": 80, "connection_lost": 20}
    assert report.last_failure


def test_a_server_that_ends_each_connection_gets_a_new_one_each_time(run, steady):
    report = run(steady(200, 0.5), lambda exchange, count: exchange.respond(200, OK + b"connection: close\r\n", b"{}"))
    assert sum(report.outcomes.values()) == 100
    assert report.outcomes["ok"] == 100


def test_a_server_that_goes_away_is_refused_connections_by_name(run, steady):
    report = run(
        steady(100, 0.6),
        meanwhile=lambda http: asyncio.get_running_loop().call_later(
            0.3, lambda: asyncio.ensure_future(http.close(0.0))
        ),
    )
    assert sum(report.outcomes.values()) == report.offered == 60
    assert report.outcomes["ok"] >= 20
    assert report.outcomes["connect_refused"] >= 20
    assert set(report.outcomes) <= {"ok", "connect_refused", "connection_lost"}


def test_refusals_have_their_own_latency_and_the_first_is_told_on_a_ramp(run):
    rates = ramp(0, 1000, 1.0)
    traffic = Traffic(Arrivals(draw(rates, Random(1))), 1.0, 1, "ramp", rates, ramp=True)

    def handle(exchange, count):
        if count > 125:  # the integral of the ramp reaches 125 at 0.5 s: 500/s
            later(0.03, exchange, 503, b"plimsoll-outcome: shed\r\n")
        else:
            exchange.respond(200, OK, b"{}")

    report = run(traffic, handle, budget=Budget(p99_s=0.2))
    assert report.first_shed_per_s == pytest.approx(500, rel=0.2)
    assert report.sketches.refusal.quantile(0.5) > 0.028
    assert report.sketches.latency.quantile(0.5) < 0.02
    assert report.outcomes["shed"] + report.outcomes["ok"] == report.offered
    assert report.refusals["shed"].startswith("503")


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, b"", "ok"),
        (204, b"", "ok"),
        (200, b"plimsoll-outcome: degraded\r\n", "degraded"),
        (200, b"plimsoll-outcome: made-up\r\n", "ok"),
        (429, b"", "throttled"),
        (503, b"", "shed"),
        (503, b"plimsoll-outcome: no_replica\r\n", "no_replica"),
        (504, b"", "expired"),
        (500, b"", "model_error"),
        (422, b"", "invalid"),
        (404, b"", "not_found"),
        (302, b"", "http_302"),
        (502, b"", "http_502"),
        (418, b"", "http_418"),
    ],
)
def test_an_answer_is_named_by_its_header_or_by_its_status(run, steady, status, headers, outcome):
    report = run(steady(100, 0.05), lambda exchange, count: exchange.respond(status, headers, b"why"))
    assert report.outcomes == {outcome: 5}


def test_what_comes_after_the_deadline_is_no_goodput(run, steady):
    report = run(
        steady(50, 0.2),
        lambda exchange, count: later(0.15, exchange),
        settings=LoadSettings(timeout_s=2, deadline_s=0.1),
    )
    assert report.outcomes == {"ok": 10}
    assert report.goodput_per_s == 0


def test_stopping_early_gives_a_report_of_what_was(run, steady):
    began = time.monotonic()
    report = run(steady(100, 60), stop_after=0.5)
    assert time.monotonic() - began < 10  # of 60
    assert report.interrupted
    assert 0.4 < report.duration_s < 5
    assert report.offered == sum(report.outcomes.values()) > 20
    assert report.lagging or report.offered_per_s == pytest.approx(100, rel=0.15)


def test_what_is_in_flight_when_stopped_is_cancelled_after_a_moment(run, steady):
    began = time.monotonic()
    report = run(
        steady(100, 60),
        lambda exchange, count: None,
        stop_after=0.2,
        settings=LoadSettings(timeout_s=60, deadline_s=60),
    )
    assert time.monotonic() - began < 10  # of 60
    assert report.outcomes == {"cancelled": report.offered}


def test_nobody_listening_is_told_before_the_run(steady):
    async def main():
        await run_load(http_target("http://127.0.0.1:1/"), steady(10, 1), LoadSettings())

    with pytest.raises(HostError, match=r"nobody answers on 127\.0\.0\.1:1"):
        asyncio.run(main())


def test_a_client_that_is_late_itself_says_so(run, steady):
    def handle(exchange, count):
        if count % 10 == 0:
            time.sleep(0.05)  # the client shares this loop: it cannot send meanwhile
        exchange.respond(200, OK, b"{}")

    report = run(steady(100, 0.5), handle)
    assert report.lagging
    assert "this client itself was late" in made_json(report)["verdict"]
    assert report.sketches.latency.quantile(0.99) >= 0.03  # and it is not hidden


def test_progress_is_told_each_second(run, steady):
    run(steady(100, 2.2))
    assert [round(one.elapsed_s) for one in run.progress][:2] == [1, 2]
    assert run.progress[0].offered_per_s == pytest.approx(100, rel=0.3)
    assert run.progress[0].outcomes_per_s["ok"] == pytest.approx(100, rel=0.3)
    assert run.progress[0].latency_ms["p99"] > 0


def test_nothing_is_left_behind(run, steady):
    run(steady(200, 0.2))
    gc.collect()
    from plimsoll.load.client import _Lane

    assert not [one for one in gc.get_objects() if type(one) is _Lane]
