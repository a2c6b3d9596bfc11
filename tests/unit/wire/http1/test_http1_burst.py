"""Writes of one turn leave together, in order, and nothing that has to come first overtakes them."""

import asyncio

import pytest
import uvloop

from plimsoll.wire.http1 import Burst, ClientConnection, HttpServer


class Pipe:
    def __init__(self, fails=False):
        self.writes, self.fails = [], fails

    def write(self, data):
        if self.fails:
            raise RuntimeError("closed")
        self.writes.append(data)


def test_writes_wait_for_the_end_of_the_turn_and_keep_their_order():
    async def main():
        burst, one, other = Burst(), Pipe(), Pipe()
        burst.write(one, b"a")
        burst.write(other, b"b")
        burst.write(one, b"c")
        assert one.writes == other.writes == []
        await asyncio.sleep(0)
        assert (one.writes, other.writes) == ([b"a", b"c"], [b"b"])
        burst.write(one, b"d")
        burst.flush()
        assert one.writes == [b"a", b"c", b"d"]

    asyncio.run(main())


def test_a_transport_that_failed_does_not_cost_the_others_their_answers():
    async def main():
        burst, dead, alive = Burst(), Pipe(fails=True), Pipe()
        burst.write(dead, b"a")
        burst.write(alive, b"b")
        burst.flush()
        assert alive.writes == [b"b"]

    asyncio.run(main())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_an_interim_answer_is_out_before_interim_returns(loop, folder):
    """The gateway must know that a replica began with a request that may end the replica."""

    class Application:
        def on_request(self, exchange):
            exchange.interim(102)
            self.sent_at_once = not exchange.connection._burst._due
            exchange.respond(200, b"", b"ok")

        def on_gone(self, exchange): ...

        def on_refused(self, error, arrived):
            return 400, b"", b""

    class Receiver:
        def __init__(self):
            self.heard = []
            self.done = asyncio.Event()

        def on_interim(self, status):
            self.heard.append(status)

        def on_response(self, status, headers, body):
            self.heard.append((status, body))
            self.done.set()

        def on_lost(self, reason, started):
            self.heard.append(reason)
            self.done.set()

    async def main():
        application, receiver = Application(), Receiver()
        server = HttpServer(application)
        address = await server.start(f"unix:{folder}/s")
        connection = await ClientConnection.connect(address, burst=Burst())
        connection.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"", receiver)
        await asyncio.wait_for(receiver.done.wait(), 5)
        connection.close()
        await server.close()
        assert (receiver.heard, application.sent_at_once) == ([102, (200, b"ok")], True)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
