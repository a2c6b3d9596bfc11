"""Structured logs: JSON lines, console lines, and what never gets in."""

import io
import json
import logging
import re
import sys

import pytest

from plimsoll.telemetry import logs


@pytest.fixture(autouse=True)
def put_back():
    logger = logging.getLogger(logs.ROOT)
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def stream():
    return io.StringIO()


def log():
    return logging.getLogger("plimsoll.test")


def test_json_lines(stream):
    logs.configure("json", "info", stream)
    log().info('replica "ready" ä\nnow', extra={"service": "digits", "in_s": 0.1, "odd": {1, 2}})
    log().debug("too fine")
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("at"))
    assert record == {
        "level": "info", "logger": "plimsoll.test", "message": 'replica "ready" ä\nnow',
        "service": "digits", "in_s": 0.1, "odd": "{1, 2}",
    }  # fmt: skip


def test_console_lines_hold_no_control_characters(stream):
    logs.configure("console", "debug", stream)
    log().warning("a client said %s", "x\x1b[2J\ny", extra={"path": "/a b", "n": 3})
    assert re.fullmatch(r'\d\d:\d\d:\d\d warning  a client said x\\x1b\[2J\\ny  path="/a b"  n=3\n', stream.getvalue())


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_follows(stream, form):
    logs.configure(form, "info", stream)
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        log().exception("failed")
    assert "RuntimeError: boom" in stream.getvalue()
    assert form == "console" or json.loads(stream.getvalue())["exception"].startswith("Traceback")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("field", ["body", "inputs", "outputs", "prompt", "Authorization", "token"])
def test_payloads_and_secrets_are_withheld(stream, form, field):
    logs.configure(form, "info", stream)
    log().info("request", extra={field: "the customer's secret words"})
    assert "secret words" not in stream.getvalue()
    assert "(withheld)" in stream.getvalue()


def test_configuring_again_replaces_and_leaves_the_root_alone(stream):
    roots = list(logging.getLogger().handlers)
    logs.configure("json", "info", io.StringIO())
    logs.configure("console", "error", stream)
    log().error("once")
    log().info("below the level")
    assert len(stream.getvalue().splitlines()) == 1
    assert logging.getLogger().handlers == roots
    logs.configure()
    (handler,) = logging.getLogger(logs.ROOT).handlers
    assert handler.stream is sys.stderr


def test_a_json_line_is_read_back_as_the_console_would_have_said_it(stream):
    logs.configure("json", "info", stream, always={"replica": "mood-1"})
    log().warning("lost", extra={"n": 3})
    record = logs.parse(stream.getvalue())
    assert record is not None
    assert (record["replica"], record["n"]) == ("mood-1", 3)
    (line,) = logs.readable(record, hide={"replica"})
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning  lost  n=3", line)


@pytest.mark.parametrize(
    "line",
    ["loading", "{}", '{"at": 5}', '{"at": "x"', '{"at": null, "level": 1}', '{"at": "2026-01-01T00:00:00Z", "n": 1}'],
)
def test_what_a_model_prints_is_none_of_ours(line):
    assert logs.parse(line) is None


def test_a_limiter_says_a_thing_once_in_a_while_and_how_often_it_did_not():
    limiter = logs.Limiter(every_s=10.0)
    assert [limiter.admit("a", now) for now in (0.0, 1.0, 9.9, 10.0, 10.1)] == [0, None, None, 2, None]
    assert limiter.admit("b", 1.0) == 0
    for number in range(5000):
        limiter.admit(number, 2.0)
    assert len(limiter._said) <= 1000
