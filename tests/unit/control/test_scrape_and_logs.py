import asyncio

import pytest

from plimsoll.control.log_follow import new_lines
from plimsoll.control.scrape import fetch


def answering(raw: bytes, *, hang: bool = False):
    async def main():
        closed = asyncio.Event()

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            if hang:
                await closed.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await fetch(f"tcp:127.0.0.1:{port}", timeout_s=0.1 if hang else 5)
        finally:
            closed.set()
            server.close()

    return asyncio.run(main())


def test_a_body_by_length_or_to_the_end():
    assert answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab..") == "ab"
    assert answering(b"HTTP/1.0 200 OK\r\n\r\nto the end") == "to the end"


@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 503 no\r\ncontent-length: 2\r\n\r\nab", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", b"",
     b"x" * 99999, b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\nab", b"HTTP/1.1 200 OK\r\n\r\n\xff\xff",
     b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"],
)  # fmt: skip
def test_anything_else_is_no_answer(raw):
    assert answering(raw) is None


def test_who_hangs_or_is_not_there_is_no_answer():
    assert answering(b"HTTP/1.1 200 OK\r\n", hang=True) is None
    assert asyncio.run(fetch("unix:/nowhere.sock")) is None


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a"], ["a"], []),
        (["a"], ["a", "a"], ["a"]),  # the log has grown
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),  # the window has moved
        (["a", "b"], ["x", "y"], ["x", "y"]),  # it moved past everything
    ],
)
def test_followed_lines_are_those_behind_the_overlap(before, now, new):
    assert new_lines(before, now) == new
