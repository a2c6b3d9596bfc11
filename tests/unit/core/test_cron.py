"""Cron expressions against crontab(5)'s rules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.cron import parse_cron


def when(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


MONDAY = when(2026, 6, 1, 9, 30)  # a Monday


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("0 8 * * 1-5", MONDAY, when(2026, 6, 1, 8, 0)),
        ("0 8 * * mon-fri", MONDAY, when(2026, 6, 1, 8, 0)),
        ("0 20 * * 1-5", MONDAY, when(2026, 5, 29, 20, 0)),  # the Friday before
        ("30 9 * * *", MONDAY, MONDAY),  # the very minute counts
        ("31 9 * * *", MONDAY, when(2026, 5, 31, 9, 31)),
        ("*/20 * * * *", MONDAY, when(2026, 6, 1, 9, 20)),
        ("5/20 * * * *", MONDAY, when(2026, 6, 1, 9, 25)),
        ("0 0 1,15 * *", MONDAY, when(2026, 6, 1)),
        ("0 0 29 2 *", MONDAY, when(2024, 2, 29)),
        ("0 0 * * 7", MONDAY, when(2026, 5, 31)),  # 7 is Sunday too
        ("0 0 * * 0", MONDAY, when(2026, 5, 31)),
        ("0 0 13 * 5", MONDAY, when(2026, 5, 29)),  # both days restricted: either counts
        ("0 0 * JAN,mar *", MONDAY, when(2026, 3, 31)),
        ("@daily", MONDAY, when(2026, 6, 1)),
        ("@hourly", MONDAY, when(2026, 6, 1, 9)),
    ],
)
def test_when_it_fired_last(text: str, at: datetime, expected: datetime) -> None:
    assert parse_cron(text).latest(at) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected five fields"),
        ("0 8 * *", "expected five fields"),
        ("0 0 8 * * 1", "expected five fields"),
        ("60 * * * *", "'60' is no minute; expected numbers from 0 to 59"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of the month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * foo *", "'foo' is no month"),
        ("* * * * 8", "'8' is no day of the week"),
        ("5-1 * * * *", "'5-1' is no minute"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("*-5 * * * *", "'*-5' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("-1 * * * *", "'-1' is no minute"),
        ("0 0 30 2 *", "never fires"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        parse_cron(text)
    assert message in str(error.value)


fields = st.tuples(st.integers(0, 59), st.integers(0, 23), st.sampled_from(["*", "1-5", "0", "2,4"]))


@given(fields, st.datetimes(timezones=st.just(UTC)))
def test_the_latest_is_what_counting_minutes_back_finds(one: tuple[int, int, str], now: datetime) -> None:
    minute, hour, week = one
    cron = parse_cron(f"{minute} {hour} * * {week}")
    found = cron.latest(now)
    assert found is not None
    assert found <= now
    assert (found.minute, found.hour) == (minute, hour)
    assert cron.on(found)
    # None in between: each later day that fits would be at a time after now.
    day = found + timedelta(days=1)
    while day <= now:
        assert not cron.on(day)
        day += timedelta(days=1)


@given(st.text(alphabet="0123456789*/,- @abcdefjmntuw", max_size=30))
def test_any_text_is_taken_or_refused_in_words(text: str) -> None:
    try:
        told = ""
        parse_cron(text)
    except ValueError as error:
        told = str(error)
    assert not told or "expected" in told
