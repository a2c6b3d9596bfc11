"""Outcomes to status codes, reason bodies and Retry-After."""

import json

import pytest

from plimsoll.core import errors
from plimsoll.core.outcome import ANSWERED, CLIENTS_DOING, ERRORS, Outcome
from plimsoll.wire.status import STATUS, error_body, refusal, retry_after, status_of


def test_every_outcome_has_a_status_of_the_right_class():
    assert set(STATUS) == set(Outcome)
    assert {STATUS[outcome] for outcome in ANSWERED} == {200}
    assert all(400 <= STATUS[outcome] < 500 for outcome in CLIENTS_DOING)
    assert all(STATUS[outcome] >= 500 for outcome in ERRORS)


def test_errors_of_the_tree():
    assert status_of(errors.Invalid("no", status=415)) == 415
    assert status_of(errors.Invalid("no")) == 400
    assert status_of(errors.Shed("no")) == 503
    assert status_of(errors.Throttled("no")) == 429
    assert status_of(errors.Expired("no")) == 504
    assert status_of(errors.ModelFailed("no")) == 500
    assert status_of(errors.Unauthorized("no")) == 401
    assert status_of(errors.Unauthorized("no", status=403)) == 403


def test_only_401_says_how_to_authenticate():
    line = b"www-authenticate: Bearer\r\n"
    assert line in refusal(errors.Unauthorized("who are you"))[1]
    assert line not in refusal(errors.Unauthorized("not for you", status=403))[1]
    assert line not in refusal(errors.Throttled("later"))[1]


@pytest.mark.parametrize(
    ("seconds", "line"),
    [(None, 1), (0, 1), (-3, 1), (0.2, 1), (1.01, 2), (30, 30), (float("inf"), 1), (float("nan"), 1)],
)
def test_retry_after_is_whole_seconds_of_at_least_one(seconds, line):
    assert retry_after(seconds) == b"retry-after: %d\r\n" % line


@pytest.mark.parametrize(
    ("error", "retries"),
    [
        (errors.Shed("x", retry_after_s=2.5), 3),
        (errors.Throttled("x"), 1),
        (errors.NoReplica("x"), 1),
        (errors.ReplicaLost("x"), 1),
        (errors.ModelFailed("x"), None),
        (errors.Invalid("x"), None),
    ],
)
def test_only_429_and_503_say_when_to_come_back(error, retries):
    _, headers, body = refusal(error)
    assert headers.startswith(b"content-type: application/json\r\n")
    assert (b"retry-after: %d\r\n" % retries in headers) if retries else b"retry-after" not in headers
    assert json.loads(body) == {"error": "x"}


@pytest.mark.parametrize(
    "reason", ['a "quoted" ü', "two\nlines\r\n\tof it", "\ud800 lone", "x" * 10_000, "\x00\x1b[31m", ""]
)
def test_a_reason_is_one_line_of_valid_json(reason):
    body = error_body(reason)
    assert body.index(b"\n") == len(body) - 1  # a shell's prompt stands on a line of its own
    assert b"\x1b" not in body
    line = json.loads(body)["error"]
    assert len(line) <= 2001
    assert "\n" not in line
