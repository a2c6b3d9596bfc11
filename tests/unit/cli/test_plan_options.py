"""Completion of lists and files, and the table of a plan."""

import io

import pytest

from plimsoll.cli.console import Console
from plimsoll.cli.plan_options import _files, _policies, _traces
from plimsoll.cli.plan_table import lines, outcomes, print_report
from plimsoll.sim.report import About, Advice, Goals, Money, Report, Row, oracle_row


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("k", ["kpa", "keda"]),
        ("budget,hpa", ["budget,hpa-cpu", "budget,hpa-rps"]),
        ("kpa,o", ["kpa,oracle"]),
        ("x", []),
    ],
)
def test_the_last_policy_of_a_list_is_completed(typed, expected):
    assert _policies(typed) == expected


def test_files_and_folders_are_completed_hidden_ones_only_when_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "day.csv").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "one.csv").touch()
    assert _files("") == ["day.csv", "traces/"]
    assert _files("d") == ["day.csv"]
    assert _files("traces/") == ["traces/one.csv"]
    assert _files("./tra") == ["./traces/"]
    assert _files(".h") == [".hidden"]
    assert _files("nowhere/") == []
    assert _traces("syn") == ["synthetic:"]


def row(name, *, service="mood", late=0.003, broken=(), cost=None, hours=31.2):
    return Row(service, name, 120_000, late, 0.001, 0.01, 0.05, 0.088, hours, None, cost, 12, 1.08,
               {"shed": 120, "ok": 119_880}, tuple(broken))  # fmt: skip


def report(*rows, own=None, **more):
    about = About("0", 1, 1, 1.0, [], own or {"mood": "budget"}, {"mood": Goals(p99_s=0.1)}, Money("USD", 0.04), **more)
    return Report(about, rows, [Advice("easy", "do it", "mood"), Advice("ramp", "said before", "mood")], {})


def plain():
    return Console(io.StringIO())


def test_the_table_leaves_out_what_nobody_has():
    made = report(
        row("budget", cost=1.25),
        row("kpa", late=0.041, broken=("x",), cost=1.44),
        oracle_row("mood", 9, 3600, 0.01, 1.0),
    )
    heads, budget, kpa, oracle = lines(made, 200, plain())
    assert heads.split("  ")[1:2] == ["POLICY"]
    assert "NODE-H" not in heads
    assert budget.split() == [
        "budget",
        "120,000",
        "0.3%",
        "0.1%",
        "10",
        "ms",
        "50",
        "ms",
        "88",
        "ms",
        "31.2",
        "$1.25",
        "12",
        "1.08",
    ]
    assert "4.1%!" in kpa
    assert oracle.split()[-4:] == ["1.00", "$1.00", "-", "1.00"]
    assert "COST" not in lines(report(row("budget")), 200, plain())[0]


def test_a_narrow_terminal_does_without_some_columns():
    heads = lines(report(row("budget", cost=1.25)), 70, plain())[0]
    assert len(heads) <= 70
    assert "LATE" in heads
    assert "P99" in heads
    assert "P50" not in heads


def test_several_services_are_told_apart_and_only_their_sums_by_outcome():
    made = report(
        row("kpa", service="a"), row("kpa", service="b"), row("kpa", service=""), own={"a": "kpa", "b": "kpa"}
    )
    heads, *rest = lines(made, 200, plain())
    assert heads.split()[:2] == ["SERVICE", "POLICY"]
    assert [line.split()[0] for line in rest] == ["a", "b", "all"]
    assert outcomes(made) == ["kpa  ok 119,880  shed 120"]


def test_what_was_said_before_is_not_said_again():
    stream = io.StringIO()
    made = report(row("budget"), interrupted=True, notes=["mood.profile.json is old"])
    print_report(made, Console(stream), None, said=[made.advice[1]])
    text = stream.getvalue()
    assert "mood.profile.json is old" in text
    assert "advice   do it" in text
    assert "said before" not in text
    assert "VERDICT  budget keeps the budget" in text
    assert "ended early" in text
