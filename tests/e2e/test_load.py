"""`plimsoll load` against a real `plimsoll up`: by name, by URL, from a trace, and ended early."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from html.parser import HTMLParser

import pytest

BUDGET = "  budget: {latency: {p99: 500ms}, errorRate: 1%}\n"


@pytest.fixture
def mood(up, service):
    folder = service("mood", spec=BUDGET)
    (folder / "request.json").write_text('{"text": "what a lovely day"}')
    return up(folder / "service.yaml").ready()


def report(done):
    return json.loads(done.stdout)


def test_a_service_by_its_name(mood, tmp_path, until):
    done = mood.cli("load", "mood", "--rate", 200, "--for", "2s", "--json", "--html", "report.html", "--seed", 5)
    told = report(done)
    assert set(told) >= {
        "offered_per_s", "goodput_per_s", "outcomes", "hung", "latency_ms", "refusal_ms", "queue_ms", "compute_ms",
        "budget", "seed", "duration_s", "generator_lag_ms", "verdict",
    }  # fmt: skip
    assert told["seed"] == 5
    assert told["offered_per_s"] == pytest.approx(200, rel=0.3)
    assert told["outcomes"] == {"ok": round(told["offered_per_s"] * 2)}
    assert told["hung"] == 0
    assert told["budget"] == {"p99_ms": 500.0, "inside": True}
    assert 0 < told["compute_ms"]["p50"] < told["latency_ms"]["p99"]
    page = (tmp_path / "report.html").read_text()
    HTMLParser().feed(page)
    assert "inside budget" in page
    # The gateway, which reports each second, counted as many.
    until(lambda: mood.status("mood")["outcomes"] == told["outcomes"], message=lambda: mood.status("mood")["outcomes"])


def test_what_stands_in_a_terminal(mood):
    done = mood.cli("load", "mood", "--ramp", "10:200", "--for", "2s", "--seed", 9)
    lines = done.stdout.splitlines()
    assert re.match(r"  mood   10 to 200/s poisson for 2 s   seed 9   body: .*request\.json", lines[0])
    line = r"  \d+/s offered  ok \d+   p50 \S+  p95 \S+  p99 \S+ ms \(budget 500\)  queue \S+  compute \S+  replicas 1"
    assert re.match(line, lines[-4]), done.stdout
    assert re.match(r"  (\d+) of \1 offered answered in time: 100\.00%", lines[-3])
    assert lines[-1] == "  VERDICT  inside budget; nothing shed"


def test_a_trace_by_url_with_a_body_and_headers_of_ones_own(mood, tmp_path):
    (tmp_path / "day.csv").write_text("timestamp\n" + "".join(f"{i * 0.1:.1f}\n" for i in range(101)))
    url = f"http://127.0.0.1:{mood.port}/mood"
    done = mood.cli(
        "load", url, "--trace", "day.csv", "--speedup", 10, "--body", '{"a": 1}', "--header", "x-a: b", "--tenant", "t",
        "--json",
    )  # fmt: skip
    told = report(done)
    assert told["outcomes"] == {"ok": 101}
    assert told["duration_s"] == pytest.approx(1.0, abs=0.1)
    assert told["budget"] == {"p99_ms": None, "inside": None}


def test_a_key_is_sent_and_told_nowhere_and_each_request_has_its_line(mood, tmp_path):
    (tmp_path / "ci.key").write_text("plm_0123456789\n")
    done = mood.cli(
        "load", "mood", "--rate", 50, "--for", "1s", "--api-key-file", "ci.key", "--priority", 3, "--requests", "r.csv",
        "--html", "report.html", "--seed", 3,
    )  # fmt: skip
    assert "plm_0123456789" not in done.stdout + done.stderr + (tmp_path / "report.html").read_text()
    head, *lines = (tmp_path / "r.csv").read_text().splitlines()
    assert head == "at_s,outcome,latency_ms,queue_ms,compute_ms"
    assert f"  {len(lines)} of {len(lines)} offered answered in time" in done.stdout
    assert all(re.fullmatch(r"0\.\d{6},ok,\d+\.\d{3},\d+\.\d{3},\d+\.\d{3}", line) for line in lines)
    assert re.search(r"  goodput \d+/s   time: queue \d+%, compute \d+%, else \d+%", done.stdout)


def test_over_budget_ends_with_1_where_that_is_asked_for(up, service, slow):
    folder = service("mood", model=slow(0.05), spec="  budget: {latency: {p99: 10ms}}\n  timeout: 10s\n")
    running = up(folder / "service.yaml").ready()
    arguments = ("load", "mood", "--rate", 20, "--for", "1s", "--body", "{}")
    assert "OVER budget: p99" in running.cli(*arguments, check=0).stdout
    assert "OVER budget: p99" in running.cli(*arguments, "--fail-on-breach", check=1).stdout


def test_the_body_comes_from_the_models_metadata_where_nothing_else_is_known(up, service):
    typed = "class Model:\n    def load(self):\n        pass\n\n    def predict(self, batch):\n        return batch\n"
    running = up(service("mood", model=typed) / "service.yaml").ready()
    done = running.cli("load", "mood", "--for", "1s", check=2)
    assert "no example is known for mood: name one with --body" in done.stderr


def test_ctrl_c_ends_early_with_the_report(mood, env, tmp_path):
    load = subprocess.Popen(
        [sys.executable, "-m", "plimsoll.cli.main", "load", "mood", "--rate", "100", "--for", "10m"],
        cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    rescue = threading.Timer(60, load.kill)
    rescue.start()
    try:
        first = [load.stdout.readline(), load.stdout.readline()]  # the second comes after five seconds of load
        os.killpg(load.pid, signal.SIGINT)
        rest = load.communicate(timeout=30)[0]
    finally:
        rescue.cancel()
        load.kill()
    assert "seed" in first[0]
    assert "/s offered  ok" in first[1]
    assert load.returncode == 0
    assert "ended early, after" in rest
    assert "VERDICT  inside budget" in rest


MISTAKES = [
    (["mod"], "no service 'mod'; did you mean mood?"),
    (["ftp://localhost/mood"], "ftp:// is not supported"),
    (["http://127.0.0.1:1/"], "nobody answers on 127.0.0.1:1"),
    (["mood", "--rate", "5", "--ramp", "1:2"], "--rate, --ramp and --trace exclude each other"),
    (["mood", "--ramp", "10"], "--ramp '10'; write the first and the last rate: 10:2000"),
    (["mood", "--rate", "0"], "a rate of 0 sends nothing"),
    (["mood", "--for", "10"], "--for: '10' is no duration"),
    (["mood", "--arrivals", "bursty"], "--arrivals 'bursty' is no kind of arrivals"),
    (["mood", "--speedup", "2"], "--speedup and --scale are about a --trace"),
    (["mood", "--trace", "none.csv"], "none.csv: cannot be read: No such file"),
    (["mood", "--trace", "bad.csv"], "bad.csv:2 timestamp: 'soon' is no time"),
    (["mood", "--body", "none.json"], "--body none.json: No such file"),
    (["mood", "--html", "none/report.html"], "--html none/report.html: No such file"),
    (["mood", "--api-key-file", "none.key"], "--api-key-file none.key: No such file"),
    (["mood", "--api-key-file", "two.key"], "--api-key-file two.key: expected one key in one line"),
    (["mood", "--requests", "none/r.csv"], "--requests none/r.csv: No such file"),
    (["mood", "--unix-socket", "r.sock"], "--unix-socket goes with a URL"),
    (["https://127.0.0.1:1/", "--ca", "none.pem"], "none.pem: cannot be read: No such file"),
    (["mood", "--header", "nonsense"], "--header 'nonsense' is no header"),
]


def test_mistakes_are_told_before_the_first_request(mood, tmp_path):
    (tmp_path / "bad.csv").write_text("timestamp\nsoon\n")
    (tmp_path / "two.key").write_text("plm_one plm_two\n")
    for arguments, told in MISTAKES:
        done = mood.cli("load", *arguments, check=2)
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    assert mood.status("mood")["outcomes"] == {}
