"""Recorded traffic in its three forms, and what is said of files that hold something else."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plimsoll.insight.traffic import TraceError, read_trace


def read(text, name="day.csv"):
    return read_trace(text.splitlines(keepends=True), name)


def test_arrivals_by_the_second_and_by_the_date():
    dates = "TIMESTAMP,ContextTokens\n2023-11-16 18:17:03.9799600,4808\n2023-11-16 18:17:05.0319600,3180\n"
    assert list(read(dates).times) == pytest.approx([0.0, 1.052])
    assert list(read("ts\n10\n10.5\n12\n").times) == [0.0, 0.5, 2.0]
    zones = "timestamp\n2023-11-16T18:00:00+01:00\n2023-11-16T17:00:01Z\n"
    assert list(read(zones).times) == [0.0, 1.0]


@pytest.mark.parametrize("unit", [1, 1e3, 1e6, 1e9])
def test_unix_times_in_any_unit(unit):
    start = 1_700_000_000
    text = f"time\n{start * unit:.0f}\n{(start + 2) * unit:.0f}\n"
    assert list(read(text).times) == pytest.approx([0.0, 2.0], abs=1e-3)


def test_rates_hold_until_the_next():
    trace = read("seconds,requests_per_second,interarrival_cv\n0,10,3\n600,20,\n900,0,1.5\n")
    assert [(s.start_s, s.end_s, s.rate, s.cv) for s in trace.rates.segments] == [
        (0, 600, 10, 3), (600, 900, 20, None), (900, 1200, 0, 1.5),
    ]  # fmt: skip
    assert trace.requests == 12_000
    assert trace.duration_s == 1200
    assert read("seconds,requests_per_second\n5,1\n6,1\n").rates.segments[0].start_s == 0


def test_counts_with_gaps_are_periods_without_requests():
    text = "period,count\n1998-04-30 21:30:00,60\n1998-04-30 21:31:00,120\n1998-04-30 21:35:00,30\n"
    trace = read(text)
    assert [(s.start_s, s.end_s, s.rate) for s in trace.rates.segments] == [(0, 60, 1), (60, 120, 2), (300, 360, 0.5)]
    assert trace.rates.rate_at(200) == 0
    assert trace.requests == 210


def test_rows_of_one_period_add_up_and_a_rate_said_twice_is_one():
    trace = read("period,count\n120,30\n0,60\n60,0\n0,60\n")
    assert [(s.start_s, s.rate) for s in trace.rates.segments] == [(0, 2), (60, 0), (120, 0.5)]
    assert read("seconds,requests_per_second\n0,5\n0,5\n10,1\n").requests == 60


def test_the_moment_it_began_is_kept_where_there_are_dates():
    assert read("period,count\n1998-04-30 21:31:00,60\n1998-04-30 21:30:00,120\n").start == 893_971_800
    assert read("ts\n1700158546.5\n1700158547\n").start == 1_700_158_546.5
    assert read("ts\n5\n6\n").start is None
    assert read("seconds,requests_per_second\n0,5\n600,1\n").start is None


def test_a_million_fold_spike_and_hours_of_nothing():
    rows = [(0, 1), (60, 0), (120, 1_000_000_000), (180, 0), (36_000, 1)]
    trace = read("period,count\n" + "".join(f"{at},{count}\n" for at, count in rows))
    assert trace.requests == 1_000_000_002
    assert trace.rates.rate_at(20_000) == 0
    assert trace.duration_s == 36_060


def test_json_lines_in_every_form():
    def lines(*rows):
        return "".join(json.dumps(row) + "\n" for row in rows)

    assert list(read(lines({"timestamp": 3.5}, {"timestamp": 4})).times) == [0.0, 0.5]
    assert (
        read(lines({"seconds": 0, "requests_per_second": 5}, {"seconds": 2, "requests_per_second": 1})).requests == 12
    )
    assert read(lines({"period": "2024-01-01", "count": 5}, {"period": "2024-01-02", "count": 1})).requests == 6


def test_rows_in_any_order_a_bom_empty_lines_quotes_and_capitals():
    text = '\ufeff"Timestamp", "x"\r\n\r\n"7","a,b"\r\n5,\r\n\r\n6,c\r\n'
    assert list(read(text).times) == [0.0, 1.0, 2.0]
    assert read("seconds,requests_per_second\n60,2\n0,1\n").requests == 60 + 120


def test_requests_of_one_instant_are_all_kept():
    assert list(read("ts\n1\n1\n1\n").times) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "day.csv has no requests; expected the columns timestamp"),
        ("\n\n", "has no requests"),
        ("timestamp\n", "has no requests"),
        ("a,b\n1,2\n", "day.csv:2 has none of the columns of a trace: timestamp; or"),
        ("timestamp\n1\nsoon\n", "day.csv:3 timestamp: 'soon' is no time"),
        ("timestamp\n1\nnan\n", "day.csv:3 timestamp: 'nan' is no time"),
        ("timestamp\n1\ninf\n", "day.csv:3 timestamp"),
        ("timestamp,x\n1,2\n3\n", "day.csv:3 has 1 columns; the first line names 2"),
        ("timestamp,x\n1,2\n\n\n3,4,5\n", "day.csv:5 has 3 columns"),
        ('timestamp\n"1\n', "day.csv:2 is no line of CSV"),
        ("seconds,requests_per_second\n0,1\n0,2\n", "day.csv:3 has the time of another row"),
        ("seconds,requests_per_second\n0,1\n1,-2\n", "day.csv:3 requests_per_second: '-2' is below 0"),
        ("seconds,requests_per_second\n0,1\n1,many\n", "day.csv:3 requests_per_second: 'many' is no number"),
        ("seconds,requests_per_second\n0,0\n1,0\n", "day.csv has no requests: every rate is 0"),
        ("seconds,requests_per_second\n0,5\n", "day.csv has a single row"),
        ("seconds,requests_per_second,interarrival_cv\n0,1,-1\n1,1,1\n", "day.csv:2 interarrival_cv"),
        ("period,count\n2024-01-01,1\n2024-01-01,1\n", "day.csv has a single row"),
        ("period,count\n0,1\n1e-6,1\n", "day.csv:3 has the time of another row"),
        ("period,count\n2024-01-01,1\n2024-13-01,1\n", "day.csv:3 period: '2024-13-01' is no time"),
        ('{"timestamp": 1}\n{"timestamp": \n', "day.csv:2 is no JSON object"),
        ('{"timestamp": 1}\n[1]\n', "day.csv:2 is no JSON object"),
        ('{"timestamp": 1}\n{"time": 2}\n', "day.csv:2 timestamp: None is no time"),
        ('{"timestamp": true}\n', "day.csv:1 timestamp: True is no time"),
        ('{"timestamp": {"a": 1}}\n', "day.csv:1 timestamp"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_line(text, told):
    with pytest.raises(TraceError) as error:
        read(text)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


LINES = [
    "timestamp", "seconds,requests_per_second", "period,count", "1,2", "3,4", "1e300,1", "-1e18,0", "0,0", "1", "2",
    '{"timestamp": 1e400}', "9" * 400, "2024-01-01,3",
]  # fmt: skip


@example("PERIOD,COUNT\r0,0\r1,0\r1E30,0")
@given(st.text(max_size=200) | st.lists(st.sampled_from(LINES), max_size=6).map("\n".join))
def test_any_text_is_a_trace_or_an_error_of_ours(text):
    try:
        trace = read(text)
    except TraceError:
        return
    assert (trace.rates is None) != (trace.times is None)
    assert trace.requests > 0
    assert trace.duration_s >= 0
