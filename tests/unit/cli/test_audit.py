"""`plimsoll audit verify`, as typed."""

import json

import pytest
from typer.testing import CliRunner

from plimsoll.cli.main import app
from plimsoll.telemetry.audit import AuditLog


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "gateway-0.jsonl"
    audit = AuditLog(path, gateway="gateway-0")
    audit.start()
    for number in range(3):
        audit.note(f"r{number}", "acme", "mood", "mood-1", "ok", 200, b"x", 1_795_356_127.0)
    audit.close()
    return path, audit.head.hash


def verify(*args):
    return CliRunner().invoke(app, ["audit", "verify", *map(str, args)])


def test_a_whole_log(log):
    path, head = log
    done = verify(path, "--head", head.upper())
    assert done.exit_code == 0
    assert "whole  4 records, 3 requests" in done.output
    assert head in done.output
    found = json.loads(verify(path, "--json").output)
    assert (found["ok"], found["records"], found["last_seq"], found["head"]) == (True, 4, 4, head)


def test_a_broken_one_names_the_place_and_ends_with_1(log):
    path, head = log
    path.write_bytes(path.read_bytes().replace(b'"r1"', b'"rX"'))
    done = verify(path)
    assert done.exit_code == 1
    assert f"{path}:3  the line does not match its hash" in done.output
    found = json.loads(verify(path, "--json").output)
    assert (found["ok"], found["records"]) == (False, 2)
    assert verify(path, "--head", head).exit_code == 1


def test_a_head_that_is_not_there(log):
    path, _ = log
    done = verify(path, "--head", "0" * 63 + "1")
    assert done.exit_code == 1
    assert "cut off or rewritten" in done.output
