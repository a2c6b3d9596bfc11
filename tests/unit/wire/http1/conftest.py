"""A transport in memory, a clock that stands still, and an application that records what it gets."""

import asyncio
import dataclasses
import shutil
import tempfile
from types import SimpleNamespace

import pytest
import uvloop

from plimsoll.core.errors import TooLarge
from plimsoll.wire.http1 import Burst, ClientConnection, HttpServer, HttpSettings


class MemoryTransport:
    """Strict where uvloop is: writing to a closed transport or after write_eof raises."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.writes = []
        self.reading = True
        self.closing = self.aborted = self.eof = self.lost = False
        self.unsent = 0  # what get_write_buffer_size tells

    @property
    def sent(self):
        return b"".join(self.writes)

    def write(self, data):
        if self.closing or self.eof:
            raise RuntimeError("write on a closed transport")
        assert isinstance(data, bytes)
        assert data
        self.writes.append(data)

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.eof = True

    def close(self):
        self.closing = True

    def abort(self):
        self.closing = self.aborted = True

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        self.reading = True

    def set_write_buffer_limits(self, high=None, low=None):
        self.high = high

    def get_write_buffer_size(self):
        return self.unsent

    def get_extra_info(self, name, default=None):
        return default

    # The network's side

    def feed(self, *pieces):
        for piece in pieces:
            if self.closing:
                break
            if piece:
                self.protocol.data_received(piece)
        self.turn()

    def feed_eof(self):
        if not self.protocol.eof_received():
            self.closing = True
        self.turn()

    def turn(self):
        """A turn of the loop: what was closed is lost now."""
        if self.closing and not self.lost:
            self.lose(None)

    def lose(self, exc=None):
        self.closing = self.lost = True
        self.protocol.connection_lost(exc)


class AtOnce(Burst):
    """Each write by itself: these tests look at the transport without turning a loop."""

    def write(self, transport, data):
        super().write(transport, data)
        self.flush()

    def schedule(self):
        pass


class Application:
    """Answers at once with `answer(exchange)` = (status, headers, body), or holds everything."""

    def __init__(self, answer=None, hold=False):
        self.answer = answer or (lambda exchange: (200, b"", b"ok"))
        self.hold = hold
        self.exchanges, self.gone, self.refused = [], [], []

    def on_request(self, exchange):
        self.exchanges.append(exchange)
        if not self.hold:
            exchange.respond(*self.answer(exchange))

    def on_gone(self, exchange):
        self.gone.append(exchange)

    def on_refused(self, error, arrived):
        self.refused.append((error, arrived))
        status = 413 if isinstance(error, TooLarge) else error.status
        return status, b"content-type: text/plain\r\n", str(error).encode() + b"\n"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Host:
    """A server without a socket."""

    def __init__(self, application=None, **settings):
        self.clock = Clock()
        self.application = application or Application()
        settings = dataclasses.replace(HttpSettings(), **settings)
        self.server = HttpServer(self.application, settings, clock=self.clock, burst=AtOnce())

    def accept(self):
        connection = self.server.connection()
        transport = MemoryTransport(connection)
        connection.connection_made(transport)
        transport.turn()
        return transport

    def after(self, seconds, transport):
        self.clock.now += seconds
        self.server.sweep()
        transport.turn()


def split_answers(data):
    """[(status, {header: value}, body)] of answers framed by content-length."""
    answers = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        length = int(headers.get(b"content-length", b"0"))
        answers.append((int(first.split()[1]), headers, data[:length]))
        data = data[length:]
    return answers


class Receiver:
    def __init__(self):
        self.interims, self.answers, self.losses = [], [], []
        self.ended = asyncio.Event()

    def on_interim(self, status):
        self.interims.append(status)

    def on_response(self, status, headers, body):
        self.answers.append((status, headers, body))
        self.ended.set()

    def on_lost(self, reason, started):
        self.losses.append((reason, started))
        self.ended.set()


def client(settings=None):
    connection = ClientConnection(settings)
    transport = MemoryTransport(connection)
    connection.connection_made(transport)
    return connection, transport


def run(loop_name, main):
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop if loop_name == "uvloop" else asyncio.new_event_loop)
    with runner:
        return runner.run(asyncio.wait_for(main, 60))


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(dir="/tmp")  # tmp_path is too long for a socket
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def kit():
    return SimpleNamespace(
        Application=Application,
        AtOnce=AtOnce,
        Host=Host,
        MemoryTransport=MemoryTransport,
        Receiver=Receiver,
        client=client,
        run=run,
        split_answers=split_answers,
    )
