"""What a replica says to its log: the few events an operator needs, and nothing of what was asked."""

import logging
import os
import signal

import pytest

from plimsoll.server import failures
from plimsoll.telemetry.logs import fields_of


@pytest.fixture
def log(monkeypatch):
    """The records below `plimsoll`, whoever else listens."""
    records = []

    class Keeper(logging.Handler):
        def emit(self, record):
            records.append(record)

    keeper, logger = Keeper(), logging.getLogger("plimsoll")
    level = logger.level
    logger.addHandler(keeper)
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(failures, "_limiter", failures.Limiter(every_s=1000.0))
    yield lambda text: [record for record in records if text in record.getMessage()]
    logger.removeHandler(keeper)
    logger.setLevel(level)


def test_ready_and_drained(replica, log):
    host = replica()
    (ready,) = log("replica ready")
    assert fields_of(ready)["start_s"] >= 0
    assert host.plain({"do": "echo", "n": 1}).status == 200
    before = len(log(""))
    for _ in range(20):
        host.plain({"do": "echo", "n": 1})
    assert len(log("")) == before, "a line per request"


def test_a_failing_predict_is_said_once_with_its_lines_and_without_its_text(replica, log):
    host = replica()
    for _ in range(5):
        assert host.plain({"do": "raise"}).status == 500
    (record,) = log("predict failed")
    fields = fields_of(record)
    assert (record.levelname, fields["error"], fields["requests"]) == ("ERROR", "ValueError", 1)
    assert fields["at_line"].startswith("model.py:")
    assert fields["at_line"].split(" > ")[-1].endswith(" one")
    assert "mistake" not in str(record.__dict__), "an exception's text may quote its input"


def test_our_own_complaint_is_said_in_words(replica, log):
    host = replica()
    assert host.plain({"do": "short"}).status == 500
    assert "results for 1 inputs" in fields_of(log("predict failed")[0])["error"]


def test_a_lost_model_process_and_its_successor(replica, log):
    host = replica(spec={"runtime": {"isolation": "Process"}})
    lost = host.replica._runner.pid
    os.kill(lost, signal.SIGKILL)
    host.until(lambda: log("is replaced") and host.replica._runner.pid != lost)
    (record,) = log("killed by signal 9; it is replaced")
    assert fields_of(record) == {"worker_pid": lost, "computing": False}
    host.until(lambda: log("the model's process is replaced"))


def test_a_batch_that_hangs(replica, log):
    host = replica(spec={"runtime": {"isolation": "Process", "predictTimeout": "300ms"}})
    assert host.plain({"do": "hang"}).status == 500
    (record,) = log("batch overdue")
    assert fields_of(record) == {"requests": 1, "items": 1}
