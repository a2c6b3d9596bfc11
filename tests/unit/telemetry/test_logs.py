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
