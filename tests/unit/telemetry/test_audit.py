"""The audit log: what a line holds, what breaks the chain, and what happens when disk or process fail."""

import hashlib
import json
import signal
import subprocess
import sys
import threading

import pytest

from plimsoll.core.errors import HostError, UserError
from plimsoll.telemetry.audit import AuditLog, AuditSettings
from plimsoll.telemetry.audit_chain import GENESIS, verify
from plimsoll.telemetry.metrics import Metrics

AT = 1_795_356_127.25  # 2026-11-22T14:02:07.25Z
BODY = b'{"text": "a secret"}'


class Log(AuditLog):
    """Without the thread: `turn` is called by hand, with a clock that stands still."""

    def __init__(self, path, **settings):
        self.now = 0.0
        super().__init__(path, AuditSettings(**settings), gateway="gateway-0", clock=lambda: self.now)
        self._file.open("gateway-0", AT)

    def add(self, count=1, body=BODY):
        for _ in range(count):
            self.note("req-1", "acme", "mood", "mood-1111111", "ok", 200, body, AT)
        return self

    def put(self, count=1, body=BODY):
        self.add(count, body).turn()
        return self


def records(*paths):
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gateway-0.jsonl"


def test_a_line_says_who_when_and_how_it_ended_and_nothing_of_what_was_said(path):
    Log(path).put().close()
    start, request = records(path)
    assert (start["kind"], start["seq"], start["prev"]) == ("start", 1, GENESIS)
    assert {key: request[key] for key in request if key not in ("prev", "hash")} == {
        "seq": 2, "time": "2026-11-22T14:02:07.250000Z", "kind": "request", "gateway": "gateway-0", "request": "req-1",
        "tenant": "acme", "service": "mood", "revision": "mood-1111111", "outcome": "ok", "status": 200,
        "bytes": len(BODY), "body": hashlib.sha256(BODY).hexdigest(),
    }  # fmt: skip
    assert b"secret" not in path.read_bytes()
    assert request["prev"] == start["hash"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_can_be_checked_without_us(path):
    Log(path).put(3).close()
    for line in path.read_text().splitlines():
        text, _, rest = line.partition(',"prev":"')
        assert hashlib.sha256((rest[:64] + text + "}").encode()).hexdigest() == json.loads(line)["hash"]


def test_the_chain_goes_on_after_a_restart(path):
    first = Log(path).put(2)
    head = first.head
    first.close()
    second = Log(path).put(2)
    second.close()
    verdict = verify([path])
    assert verdict.broken == ""
    assert (verdict.records, verdict.requests, verdict.whole) == (6, 4, True)
    assert (verdict.head, verdict.torn, verdict.lost) == (second.head, 0, 0)
    assert records(path)[3]["prev"] == head.hash
    assert verify([path], head.hash).broken == ""


def test_full_files_are_renamed_and_the_chain_goes_on(path, tmp_path):
    log = Log(path, max_file_bytes=4000)
    for _ in range(12):
        log.put(3)
    log.close()
    Log(path, max_file_bytes=4000).put().close()
    files = sorted(tmp_path.glob("gateway-0.jsonl*"))
    assert len(files) > 3
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    verdict = verify(files)  # the glob's order is not the order of writing
    assert (verdict.broken, verdict.requests, verdict.whole) == ("", 37, True)
    oldest, *others = sorted(files, key=lambda file: records(file)[0]["seq"])
    assert records(others[0])[0]["prev"] == records(oldest)[-1]["hash"]
    assert records(others[0])[0]["after"] == oldest.name
    later = verify(others)
    assert (later.broken, later.whole) == ("", False)
    assert later.first_seq == len(records(oldest)) + 1
    without = verify([oldest, *others[1:]])
    assert "are missing" in without.broken


# --- what breaks it -------------------------------------------------------------------------------------------------


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def edited(path):
    found = lines(path)
    found[3] = found[3].replace(b'"acme"', b'"evil"')
    return found


def rehashed(path):
    """Whoever edits a line may make its hash anew: then the next one does not follow."""
    found = lines(path)
    text, _, rest = found[3].replace(b'"acme"', b'"evil"').partition(b',"prev":"')
    digest = hashlib.sha256(rest[:64] + text + b"}").hexdigest().encode()
    found[3] = text + b',"prev":"' + rest[:64] + b'","hash":"' + digest + b'"}\n'
    return found


def removed(path):
    return [line for number, line in enumerate(lines(path), 1) if number != 4]


def swapped(path):
    found = lines(path)
    found[3], found[4] = found[4], found[3]
    return found


def repeated(path):
    found = lines(path)
    return [*found[:4], found[3], *found[4:]]


def joined(path):
    found = lines(path)
    found[3] = found[3][:-1]
    return found


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (edited, 4, "was changed"),
        (rehashed, 5, "does not follow"),
        (removed, 4, "1 are missing"),
        (swapped, 4, "1 are missing"),
        (repeated, 5, "does not follow"),
        (joined, 4, "was changed"),
    ],
)
def test_the_first_break_is_named(path, change, line, words):
    Log(path).put(9).close()
    path.write_bytes(b"".join(change(path)))
    verdict = verify([path])
    assert verdict.broken.startswith(f"{path}:{line}  ")
    assert words in verdict.broken
    assert verdict.records == line - 1


def test_any_flipped_bit_is_found(path):
    """Of every byte but the last newline, whose loss is an unfinished line."""
    Log(path).put(2).close()
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        verdict = verify([path])
        assert verdict.broken or verdict.unfinished, place
        assert verdict.records < 3


def test_an_end_cut_off_is_seen_only_against_a_head_kept_elsewhere(path):
    log = Log(path).put(9)
    log.close()
    path.write_bytes(b"".join(lines(path)[:5]))
    assert verify([path]).broken == ""
    assert "kept" in verify([path], log.head.hash).broken


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\0" * 9000])
def test_what_is_no_log(path, content):
    path.write_bytes(content)
    verdict = verify([path])
    assert verdict.records == 0
    assert bool(verdict.broken) == (content == b"hello\n") or verdict.unfinished
    with pytest.raises(UserError, match="cannot be read"):
        verify([path.with_name("none")])
    with pytest.raises(UserError):
        verify([])


# --- crashes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b'{"seq":5,"ti', b"\0" * 5000, b'{"seq":5}\n\0\0', b"x"])
def test_a_torn_end_is_cut_off_kept_aside_and_said(path, tail):
    Log(path).put(3).close()
    with path.open("ab") as file:
        file.write(tail)
    log = Log(path).put()
    log.close()
    verdict = verify([path])
    assert (verdict.broken, verdict.torn, verdict.requests) == ("", 1, 4)
    (torn,) = [record for record in records(path) if record["kind"] == "torn"]
    assert (torn["bytes"], torn["body"]) == (len(tail), hashlib.sha256(tail).hexdigest())
    assert path.with_name("gateway-0.jsonl.torn-4").read_bytes() == tail


def test_a_first_line_that_was_torn(path):
    path.write_bytes(b'{"seq":1,"time":"20')
    Log(path).put().close()
    assert (verify([path]).broken, verify([path]).whole) == ("", True)


@pytest.mark.parametrize("content", [b"an innocent file\n", b"x" * 3_000_000, b"no newline"])
def test_a_file_of_something_else_is_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(HostError, match="does not end as one; move it away"):
        Log(path)
    assert path.read_bytes() == content


def test_two_writers_are_one_too_many(path):
    log = Log(path)
    with pytest.raises(HostError, match="in use by another process"):
        Log(path)
    log.close()
    Log(path).close()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(HostError, match="No such file"):
        AuditLog(tmp_path / "none" / "a.jsonl", gateway="g").start()


def test_a_log_that_is_moved_away_goes_on_in_a_new_file(path):
    log = Log(path).put(2)
    moved = path.with_name("moved")
    path.rename(moved)
    log.put(2).close()
    assert log.lost == 0
    verdict = verify([path, moved])
    assert (verdict.broken, verdict.requests) == ("", 4)


KILLED = """
import sys, time
from pathlib import Path
from plimsoll.telemetry.audit import AuditLog, AuditSettings
log = AuditLog(Path(sys.argv[1]), AuditSettings(write_s=0.001), gateway="g")
log.start()
n = 0
while True:
    log.note(f"r{n}", "acme", "mood", "mood-1", "ok", 200, b"x" * 100, time.time())
    n += 1
    log.seal_held()
    time.sleep(0.0001)
    if n == 200:
        print("going", flush=True)
"""


def test_killed_while_it_writes(path):
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"going\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    Log(path).close()
    verdict = verify([path])
    assert verdict.broken == ""
    assert verdict.whole
    assert verdict.requests > 30


FULL = """
import resource, sys, time
from pathlib import Path
from plimsoll.telemetry.audit import AuditLog
log = AuditLog(Path(sys.argv[1]), gateway="g")
def put(count):
    for n in range(count):
        log.note(f"r{n}", "acme", "mood", "mood-1", "ok", 200, b"x" * 100, time.time())
    log.turn()
log._file.open("g", time.time())
put(10)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
put(20)
assert log.lost > 0, "the disk took more than it has"
put(5)
assert log.written < 30
lost = log.lost
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
put(7)
assert log.lost == lost
log.close()
print(log.written, log.lost)
"""


def test_a_full_disk_costs_records_and_they_are_owned_up_to(path):
    """The limit is the process's own, RLIMIT_FSIZE: the kernel takes a part of a write, then refuses."""
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written, lost = map(int, done.stdout.split())
    assert written + lost == 42
    verdict = verify([path])
    assert (verdict.broken, verdict.requests, verdict.lost) == ("", written, lost)
    assert "since" in next(record for record in records(path) if record["kind"] == "gap")


# --- limits, thread, metrics ----------------------------------------------------------------------------------------


def test_what_waits_is_bounded_in_records_and_bytes(path):
    log = Log(path, max_held=5)
    log.add(8)
    assert log.lost == 3
    log.turn()
    assert (log.written, verify([path]).lost) == (5, 3)
    log.close()

    log = Log(path.with_name("b"), max_held_bytes=1000)
    log.add(3, b"x" * 400)
    assert log.lost == 1
    log.turn()
    log.put(2, b"x" * 400)
    assert (log.written, log.lost, log.held_bytes) == (4, 1, 0)
    log.close()


def test_the_thread_writes_by_itself_and_close_writes_the_rest(path):
    log = AuditLog(path, AuditSettings(write_s=0.005), gateway="g")
    metrics = Metrics()
    log.register(metrics)
    log.start()
    for number in range(1000):
        log.note(f"r{number}", "", "mood", "mood-1", "shed", 503, b"", AT)
    log.close()
    assert (log.written, log.lost, threading.active_count()) == (1000, 0, threading.active_count())
    assert [record["request"] for record in records(path)[1:]] == [f"r{number}" for number in range(1000)]
    _, text = metrics.render()
    assert b"plimsoll_audit_records_total 1000.0" in text
    assert b"plimsoll_audit_lost_total 0.0" in text


def test_the_loop_makes_the_lines_and_large_bodies_are_digested_by_the_thread(path):
    log = AuditLog(path, AuditSettings(write_s=0.005), gateway="g")
    log.start()
    large = b"x" * 200_000
    for number in range(50):
        log.note(f"r{number}", "", "mood", "mood-1", "ok", 200, large if number % 10 == 0 else b"small", AT)
        log.seal_held()
    log.close()
    assert (log.written, log.lost, log.held_bytes) == (50, 0, 0)
    assert verify([path]).broken == ""
    told = {record["request"]: record for record in records(path)[1:]}
    assert len(told) == 50
    assert told["r10"]["bytes"] == 200_000
    assert told["r10"]["body"] == hashlib.sha256(large).hexdigest()


def test_a_record_that_can_not_be_written_does_not_end_the_thread(path):
    log = Log(path)
    log.note("\ud800", "acme", "mood", "mood-1", "ok", 200, b"", AT)  # half a surrogate pair: no UTF-8
    log.turn()
    log.put(2)
    assert (log.written, log.lost) == (2, 1)
    assert verify([path]).lost == 1
    log.close()
