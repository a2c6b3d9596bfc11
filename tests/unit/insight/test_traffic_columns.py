"""Counts of several services in one CSV."""

import pytest

from plimsoll.insight.traffic import TraceError
from plimsoll.insight.traffic.columns import is_columns, read_columns


def read(text):
    return read_columns(text.splitlines(keepends=True), "jobs.csv")


def test_each_column_is_a_trace_of_its_own_and_each_minute_a_step():
    found = read("minute,a,b\n5,60,0\n7,0,120\n6,30,6\n")
    assert list(found) == ["a", "b"]
    assert [(s.start_s, s.end_s, s.rate, s.end_rate) for s in found["a"].rates.segments] == [
        (0, 60, 1, 1),
        (60, 120, 0.5, 0.5),
        (120, 180, 0, 0),
    ]
    assert [trace.requests for trace in found.values()] == [90, 126]
    assert {trace.duration_s for trace in found.values()} == {180}
    assert not found["a"].sampled  # steps are meant: nothing is interpolated


def test_a_missing_minute_had_no_requests():
    assert read("minute,a\n0,60\n3,60\n")["a"].rates.rate_at(90) == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("minute,a\n", "jobs.csv has no rows"),
        ("minute,a,a\n1,2,3\n", "jobs.csv:1 each column needs a name of its own"),
        ("minute,a\n1,2,3\n", "jobs.csv:2 has 3 columns; the first line names 2"),
        ("minute,a\n1.5,2\n", "jobs.csv:2 minute: '1.5' is no whole minute"),
        ("minute,a\n1,x\n", "jobs.csv:2 a: 'x' is no number of 0 or more"),
        ("minute,a\n1,-4\n", "jobs.csv:2 a: '-4' is no number of 0 or more"),
        ("minute,a\n1,nan\n", "jobs.csv:2 a: 'nan' is no number of 0 or more"),
        ("minute,a,b\n1,1,0\n2,1,0\n", "jobs.csv b: has no requests"),
        ("minute,a\n0,1\n99999999,1\n", "are these minutes?"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, told):
    with pytest.raises(TraceError) as error:
        read(text)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("minute,job1,job2\n", True), ("\ufeffMinute,x", True), ("minute\n", False), ("period,count\n", False),
     ("timestamp,tokens\n", False)],
)  # fmt: skip
def test_it_is_told_from_a_trace_by_its_first_line(line, expected):
    assert is_columns(line) is expected


def test_rows_of_one_minute_add_up():
    jobs = read("minute,a,b\n0,60,0\n1,0,60\n0,60,120\n")
    assert [jobs["a"].rates.rate_at(30), jobs["b"].rates.rate_at(30), jobs["b"].rates.rate_at(90)] == [2, 2, 1]
