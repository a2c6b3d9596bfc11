"""The Server-Timing header, written and read."""

import pytest

from plimsoll.telemetry.server_timing import NOTHING, gateway_timing, header, parse, replica_timing


def test_milliseconds_on_the_wire_seconds_inside():
    value = gateway_timing(0.0001, replica_timing(0.00002, 0.0003))
    assert value == b"gateway;dur=0.100, queue;dur=0.020, compute;dur=0.300"
    assert header(value) == b"server-timing: " + value + b"\r\n"
    assert parse(value) == pytest.approx({"gateway": 0.0001, "queue": 0.00002, "compute": 0.0003})


def test_an_answer_that_never_reached_a_replica():
    assert gateway_timing(0.001, b"") == b"gateway;dur=1.000, " + NOTHING
    assert gateway_timing(0.001, b"queue;dur=1.0", 0.25) == b"gateway;dur=1.000, hold;dur=250.000, queue;dur=1.0"


def test_foreign_entries_are_read_as_far_as_they_go():
    assert parse(b'cache;desc="hit, or miss", db;dur=53.2;desc="x", app;dur=oops, cdn') == pytest.approx({"db": 0.0532})
    assert parse(b"") == {}
