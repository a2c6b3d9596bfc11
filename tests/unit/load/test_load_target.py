"""What is sent, and the alarm that says when."""

import asyncio
import time

import pytest

from plimsoll.core.errors import UserError
from plimsoll.load import body_of_zeros, http_target
from plimsoll.load.alarm import _LoopTimer, new_alarm


def test_a_request_as_it_goes_on_the_wire():
    target = http_target("http://localhost:8080/mood?x=1", b'{"a":1}', ["X-Thing:  y ", "plimsoll-deadline-ms: 250"])
    assert target.address == "tcp:localhost:8080"
    assert target.head == (
        b"POST /mood?x=1 HTTP/1.1\r\nhost: localhost:8080\r\ncontent-type: application/json\r\ncontent-length: 7\r\n"
        b"x-thing: y\r\nplimsoll-deadline-ms: 250\r\n\r\n"
    )
    assert target.deadline_s == 0.25


def test_without_a_body_it_is_a_get_and_ones_own_headers_win():
    target = http_target("http://[::1]", None, ["Host: mood.example"])
    assert target.address == "tcp:[::1]:80"
    assert target.head == b"GET / HTTP/1.1\r\nhost: mood.example\r\n\r\n"
    assert http_target("localhost:8080/mood").address == "tcp:localhost:8080"
    assert b"text/csv" in http_target("http://x/", b"1", ["content-type: text/csv"]).head


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://x/", "ftp:// is not supported; name an http"),
        ("ftp://x/", "ftp:// is not supported"),
        ("http://", "names no host"),
        ("http:///path", "names no host"),
        ("http://x:port/", "[Pp]ort"),
        ("http://x:99999/", "[Pp]ort"),
        ("http://me:secret@x/", "credentials in a URL are not sent"),
        ("http://x/a b", "is no request line"),
    ],
)
def test_urls_that_cannot_be(url, told):
    with pytest.raises(UserError, match=told):
        http_target(url)


@pytest.mark.parametrize(
    "header", ["none", ": x", "a b: c", "a: b\r\nc: d", "content-length: 5", "Connection: close", "\n: x"]
)
def test_headers_that_cannot_be(header):
    with pytest.raises(UserError, match=r"--header"):
        http_target("http://x/", b"", [header])


def test_a_body_from_a_models_metadata():
    body = body_of_zeros(
        [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}, {"name": "t", "datatype": "BYTES", "shape": [1]}]
    )
    assert body == {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0, 0]},
            {"name": "t", "datatype": "BYTES", "shape": [1], "data": [""]},
        ]
    }
    assert body_of_zeros([]) is None
    assert body_of_zeros([{"name": "x", "datatype": "FP32", "shape": [1000, 1000, 1000]}]) is None
    assert body_of_zeros([{"name": "x", "datatype": "FP32"}]) is None


@pytest.mark.parametrize("make", [new_alarm, _LoopTimer])
def test_the_alarm_rings_once_at_its_time(make):
    async def main():
        rung = asyncio.Queue()
        alarm = make(lambda: rung.put_nowait(time.monotonic()))
        for delay in (0.05, -1.0, 0.01):
            at = time.monotonic() + delay
            alarm.set(at + 100)
            alarm.set(at)
            assert await asyncio.wait_for(rung.get(), 10) >= at - 0.002
        alarm.set(time.monotonic() + 0.01)
        alarm.clear()
        await asyncio.sleep(0.03)
        assert rung.empty()
        alarm.close()
        alarm.close()

    asyncio.run(main())
