"""Axes and lines: round ticks, gaps where nothing was measured, steps that hold."""

import re

import pytest

from plimsoll.drawing import svg
from plimsoll.drawing.page import page, table


@pytest.mark.parametrize(
    ("most", "expected"),
    [(7.0, [0, 5]), (100.0, [0, 50, 100]), (0.03, [0, 0.01, 0.02, 0.03]), (1e7, [0, 5e6, 1e7])],
)
def test_ticks_are_round_and_begin_at_0(most, expected):
    assert svg.ticks(most, 3) == expected


@pytest.mark.parametrize(
    ("seconds", "first", "last"),
    [
        (0.5, "0 s", "0.5 s"),
        (60, "0 s", "60 s"),
        (3600, "0 min", "60 min"),
        (86400, "0 h", "24 h"),
        (14 * 86400, "0 d", "14 d"),
    ],
)
def test_times_are_in_the_unit_a_reader_thinks_in(seconds, first, last):
    found = svg.time_ticks(seconds, 8)
    assert (found[0][1], found[-1][1]) == (first, last)
    assert 3 <= len(found) <= 9
    assert found[-1][0] <= seconds


def test_a_line_has_gaps_where_nothing_was_measured_and_a_lone_value_is_a_dot():
    drawn = svg.line([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, None, 4.0], float, float, "red")
    assert re.search(r'd="([^"]*)"', drawn)[1] == "M0.0,1.0h0.1L1.0,2.0M3.0,4.0h0.1"


def test_a_staircase_holds_each_count_for_its_step():
    drawn = svg.staircase([0.0, 1.0, 2.0], 1.0, [1.0, 1.0, 3.0], float, float, "red")
    assert re.search(r'd="([^"]*)"', drawn)[1] == "M0.0,1.0H2.0V3.0H3.0"


def test_whole_decades_hold_both_ends():
    up, ticks = svg.decades(3.0, 140.0, 0, 100)
    assert ticks == [1, 10, 100, 1000]
    assert up(1) == 100
    assert up(0.1) == 100  # below the lowest: at the edge
    assert up(1000) == pytest.approx(0)


def test_what_was_written_by_others_is_text():
    assert "<b>" not in table(["<b>"], [["<b>!"]])
    assert "<b>" not in page("<b>", "")
    assert "class=bad>&lt;b&gt;!<" in table(["x"], [["<b>!"]])
