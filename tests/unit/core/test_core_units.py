import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.units import format_bytes, format_duration, parse_duration, parse_quantity, parse_share


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("1.5s", 1.5),
        ("10m", 600),
        ("1h30m", 5400),
        ("0", 0),
        ("0s", 0),
        ("250us", 0.00025),
        ("3ns", 3e-9),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "ms", "1 s", "-1s", "1s ", "1d", "1.s", "s1", "1h-30m", "1e3s", "١s"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="is no duration; write a number with a unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.1, "100ms"), (1.5, "1.5s"), (300, "5m"), (7200, "2h"), (90, "90s"), (2e-5, "20us")],
)
def test_durations_as_people_write_them(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(0, 10**6))
def test_what_is_written_can_be_read(milliseconds):
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "number"),
    [("2", 2), ("500m", 0.5), ("1.5", 1.5), ("512Mi", 2**29), ("1G", 1e9), ("1Ki", 1024), ("3k", 3000)],
)
def test_quantities(text, number):
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "banana", "-1", "1 Gi", "1gi", "1Kb", ".5", "1e3", "١"])
def test_no_quantities(text):
    with pytest.raises(ValueError, match="is no quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(("count", "text"), [(512 * 2**20, "512Mi"), (2**30, "1Gi"), (1536, "1.5Ki"), (7, "7")])
def test_bytes_as_people_read_them(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(("text", "share"), [("0.1%", 0.001), ("100%", 1.0), ("0%", 0.0)])
def test_shares(text, share):
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0.1", "101%", "-1%", "%", "1 %", "", "١%"])
def test_no_shares(text):
    with pytest.raises(ValueError, match="is no share; write a percentage"):
        parse_share(text)
