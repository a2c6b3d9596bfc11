"""What `status` shows of one ServiceStatus."""

import io

import pytest
from rich.console import Console

from plimsoll.cli import table

STATUS = {
    "name": "mood",
    "phase": "Ready",
    "message": "",
    "revision": "mood-7c9e41a",
    "revision_number": 2,
    "replicas": {"ready": 1, "wanted": 1},
    "requests_per_s": 1236.4,
    "latency": {"p50_s": 0.002, "p95_s": 0.0091, "p99_s": 0.118},
    "budget": {"p50_s": 0.02, "p95_s": None, "p99_s": 0.1, "error_rate": 0.001, "window_s": 300},
    "outcomes": {"ok": 998, "shed": 2, "invalid": 500},
    "hints": ["the loop lags: isolation: Process"],
    "not_honoured": ["spec.resources.limits.cpu: not here"],
    "instances": [
        {"id": "mood-7c9e41a-0", "phase": "ready", "pid": 12, "restarts": 0, "rss_bytes": 60 * 2**20, "in_flight": 1,
         "service_time": {"a_s": 0.0009, "c_s": 0.0001, "samples": 20}},
        {"id": "mood-8d-0", "phase": "backing_off", "reason": "MemoryError", "log_tail": ["one", "two"], "restarts": 3},
    ],
}  # fmt: skip


def test_figures_stand_beside_their_budgets_and_breaches_are_marked():
    texts = [text for text, _ in table.cells(STATUS)]
    assert texts[:4] == ["mood", "2 mood-7c9e41a", "1/1", "1,236"]
    assert texts[4:] == ["2.0ms (20ms)", "9.1ms", "118ms (100ms)!", "0.2% (0.1%)!", "Ready"]
    styles = [style for _, style in table.cells(STATUS)]
    assert styles[6] == "red"
    assert styles[4] == ""


def test_a_service_without_traffic_or_budget_shows_dashes():
    texts = [text for text, _ in table.cells({"name": "new", "phase": "Progressing"})]
    assert texts == ["new", "-", "0/0", "-", "-", "-", "-", "-", "Progressing"]


def test_clients_mistakes_do_not_count_as_errors():
    assert table.error_share({"invalid": 5, "not_found": 1}) is None
    assert table.error_share({"ok": 3, "expired": 1, "throttled": 9}) == 0.25


def test_below_the_table_stands_what_is_wrong_and_what_to_do():
    lines = [text for text, _ in table.notes(STATUS | {"phase": "Degraded", "message": "rev 3 failed"})]
    assert lines == [
        "rev 3 failed",
        "mood-8d-0: MemoryError",
        "  | one",
        "  | two",
        "errors: 2 shed; more: plimsoll logs mood",
        "hint: the loop lags: isolation: Process",
        "not honoured here: spec.resources.limits.cpu: not here",
    ]


def test_piped_output_is_never_cut():
    stream = io.StringIO()
    Console(file=stream, width=240, highlight=False).print(table.render([STATUS], instances=True))
    text = stream.getvalue()
    assert "0.2% (0.1%)!" in text
    assert "…" not in text
    assert "0.90ms + n x 0.10ms" in text
    assert "60Mi" in text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.00012, "0.12ms"),
        (0.0018, "1.8ms"),
        (0.0184, "18ms"),
        (0.9994, "999ms"),
        (1.24, "1.2s"),
        (61, "61s"),
    ],
)
def test_durations_have_three_figures_at_most(seconds, shown):
    assert table.milliseconds(seconds) == shown


def test_our_own_log_lines_are_shown_as_plain_ones():
    ours = (
        '{"at": "2026-01-02T03:04:05.678Z", "level": "error", "logger": "plimsoll.server", "message": "no\\u001b[m",'
        ' "service": "mood", "revision": "r", "replica": "r-0", "detail": "Traceback\\n  last", "n": 3}'
    )
    first, *more = table.readable_log(["printed", ours, '{"at": "never"}'])[1:4]
    assert first[2:].endswith(r":05 error    no\x1b[m  n=3")
    assert more == ["Traceback", "  last"]
    assert table.readable_log(["printed", '{"at": "never"}', "{}"]) == ["printed", '{"at": "never"}', "{}"]


@pytest.mark.parametrize("width", [50, 60, 80, 100, 240])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_ones(width):
    out = io.StringIO()
    Console(file=out, width=width).print(table.render([STATUS | {"hints": [], "not_honoured": []}], width=width))
    head, row, *_ = out.getvalue().splitlines()
    assert "…" not in head + row
    assert head.split()[0] == "SERVICE"
    assert head.split()[-1] == "PHASE"
    assert "118ms (100ms)!" in row
    assert ("(BUDGET)" in head) == (width == 240)
    assert ("2.0ms" in row) == (width >= 100)  # the quantiles inside their budgets go first


SCALED = {
    "policy": "budget", "min_replicas": 1, "max_replicas": 8, "wanted": 3, "reason": "3: 240/s at q95",
    "changed_at": 1000.0, "change": "1 → 3: 240/s at q95", "holding": "", "trimmed": "", "spares": 0,
    "by_hand": None, "left_s": None,
}  # fmt: skip


def scaled(**changes):
    return STATUS | {"scaling": SCALED | changes, "hints": [], "not_honoured": [], "instances": [], "outcomes": {}}


def test_scaling_stands_beside_the_count_and_below_the_table():
    assert table.ready(scaled()) == "1/1 (1-8)"
    assert table.ready(scaled(min_replicas=2, max_replicas=2)) == "1/1"
    assert table.notes(scaled(), 1090.0) == [
        ("budget: 3: 240/s at q95", "dim"),
        ("90s ago: 1 → 3: 240/s at q95", "dim"),
    ]


def test_what_keeps_a_decision_from_happening_is_told():
    by_hand = [text for text, _ in table.notes(scaled(by_hand=4, left_s=2460.0), 0.0)]
    assert by_hand[0] == "held at 4 by hand, for 41m more, or until: plimsoll scale mood auto"
    assert "held at 4 by hand, until: `replicas` leaves its file" in [
        text for text, _ in table.notes(scaled(by_hand=4), 0.0)
    ]
    told = dict(table.notes(scaled(holding="no word from a gateway", trimmed="3 of the 6 wanted", spares=2), 0.0))
    assert told["no word from a gateway"] == told["3 of the 6 wanted"] == "yellow"
    assert "spares: 0/2 ready" in told
    assert table.notes(scaled(by_hand=1, min_replicas=1, max_replicas=1, reason="", change=""), 0.0) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (42, "42s"), (99, "99s"), (100, "2m"), (3590, "1h"), (3900, "1h 5m")]
)
def test_how_long_something_lasts(seconds, text):
    assert table.lasting(seconds) == text
