"""A TLS client that can stop half way: every step of its own, over asyncio streams."""

import asyncio
import contextlib
import ssl


class TlsClient:
    """`ended`: how the server ended it: "" not yet, "close_notify", "cut" (no goodbye), or the alert's name."""

    def __init__(self, context, name="localhost", session=None):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)
        self.ended = ""

    async def connect(self, address):
        host, _, port = address.removeprefix("tcp:").rpartition(":")
        self.reader, self.writer = await asyncio.open_connection(host.strip("[]"), int(port))
        return self

    async def handshake(self):
        await self._do(self.tls.do_handshake)
        return self

    async def send(self, data):
        self.tls.write(data)
        self.flush()

    async def receive(self):
        """What comes next; b"" once it ended."""
        try:
            return await self._do(lambda: self.tls.read(65536)) or self._end("close_notify")
        except ssl.SSLZeroReturnError:
            return self._end("close_notify")
        except ssl.SSLEOFError:
            return self._end("cut")
        except ssl.SSLError as error:
            return self._end(error.reason)
        except ConnectionResetError:
            return self._end("reset")

    async def answer(self, length):
        """Everything up to `length` bytes after the head."""
        data = b""
        while not (head := data.partition(b"\r\n\r\n"))[1] or len(head[2]) < length:
            piece = await self.receive()
            if not piece:
                break
            data += piece
        return data

    async def rest(self):
        data = b""
        while piece := await self.receive():
            data += piece
        return data

    def say_goodbye(self):
        """close_notify: nothing more will be sent, but the answers are waited for."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.flush()

    def flush(self):
        if data := self.outgoing.read():
            self.writer.write(data)

    def close(self):
        self.writer.close()

    def _end(self, how):
        self.ended = self.ended or how
        return b""

    async def _do(self, step):
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self.flush()
                data = await self.reader.read(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            except ssl.SSLError:
                self.flush()
                raise
            else:
                self.flush()
                return done
