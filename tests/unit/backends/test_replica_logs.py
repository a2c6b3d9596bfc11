"""Reading the ends of logs, and keeping them short."""

import os

import pytest

from plimsoll.backends.local import logs


@pytest.mark.parametrize("lines", [0, 1, 3, 1000, 5000])
def test_a_tail_is_the_end_of_the_file(tmp_path, lines):
    path = tmp_path / "log"
    whole = [f"line {number} " + "x" * (number % 200) for number in range(3000)]  # several blocks
    path.write_text("\n".join(whole) + "\n")
    assert logs.tail(str(path), lines) == (whole[-lines:] if lines else [])


def test_a_tail_begins_no_earlier_than_told(tmp_path):
    path = tmp_path / "log"
    path.write_text("old\nnew\nnewer\n")
    assert logs.tail(str(path), 10, since=4) == ["new", "newer"]
    assert logs.tail(str(path), 10, since=400) == ["old", "new", "newer"], "the file was emptied since"


def test_a_tail_takes_anything(tmp_path):
    path = tmp_path / "log"
    assert logs.tail(str(path), 5) == []
    path.write_bytes(b"half a line \xff\xfe")
    assert logs.tail(str(path), 5) == ["half a line \ufffd\ufffd"]
    path.write_bytes(b"x" * (5 * 2**20))  # one endless line: bounded
    assert len(logs.tail(str(path), 5)[0]) == 4 * 2**20


def test_rotation_keeps_the_writer_writing(tmp_path):
    path = str(tmp_path / "log")
    writer = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(writer, b"before\n")
    logs.rotate(path)
    os.write(writer, b"after\n")
    os.close(writer)
    assert logs.tail(path, 9) == ["after"]
    assert logs.tail(path + ".1", 9) == ["before"]


def test_lines_are_shared_fairly():
    tails = [["a1"], [f"b{n}" for n in range(100)], [f"c{n}" for n in range(100)]]
    parts = logs.fair_tail(tails, 11)
    assert parts == [["a1"], ["b95", "b96", "b97", "b98", "b99"], ["c95", "c96", "c97", "c98", "c99"]]
    assert logs.fair_tail([], 5) == []
