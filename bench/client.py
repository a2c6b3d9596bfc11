"""A closed-loop client with wrk's arguments and report, for machines without wrk: slower, for everybody alike."""

import asyncio
import re
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from plimsoll.app.child_host import run_loop
from plimsoll.wire.http1 import ClientConnection


class Caller:
    """One connection that sends its next request as soon as the last is answered."""

    def __init__(self, head: bytes, body: bytes, until: float) -> None:
        self.head, self.body, self.until = head, body, until
        self.times: list[float] = []
        self.failed = 0
        self.done = asyncio.get_running_loop().create_future()

    async def run(self, address: str) -> None:
        self.connection = await ClientConnection.connect(address)
        self._send()
        await self.done

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.connection.send(self.head, self.body, self)

    def on_interim(self, status: int) -> None:
        pass

    def on_response(self, status: int, headers: object, body: bytes) -> None:
        now = time.perf_counter()
        self.times.append(now - self.sent)
        self.failed += status >= 400
        if now < self.until:
            self._send()
        else:
            self.connection.close()
            self.done.set_result(None)

    def on_lost(self, reason: str, started: bool) -> None:
        self.failed += 1
        if not self.done.done():
            self.done.set_result(None)


async def main(connections: int, seconds: float, body: bytes, headers: list[tuple[str, str]], url: str) -> int:
    parts = urlsplit(url)
    more = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n{more}content-length: {len(body)}\r\n\r\n"
    callers = [Caller(head.encode(), body, time.perf_counter() + seconds) for _ in range(connections)]
    await asyncio.gather(*(caller.run(f"tcp:{parts.netloc}") for caller in callers))
    times = sorted(t for caller in callers for t in caller.times)
    failed = sum(caller.failed for caller in callers)
    for share in (50, 99):
        print(f"  {share}% {times[int(len(times) * share / 100)] * 1000:.3f}ms")
    if failed:
        print(f"Non-2xx or 3xx responses: {failed}")
    print(f"  {len(times)} requests in {seconds:.2f}s")
    print(f"Requests/sec: {len(times) / seconds:.2f}")
    return 0


if __name__ == "__main__":
    options = dict(re.findall(r"-([cd])(\d+)", " ".join(sys.argv[1:])))
    script = Path(sys.argv[sys.argv.index("-s") + 1]).read_text()
    sent = re.search(r"wrk\.body=\[==\[(.*)\]==\]", script, re.DOTALL)
    assert sent is not None
    named = re.findall(r'wrk\.headers\["(.*?)"\]="(.*?)"', script)
    sys.exit(run_loop(main(int(options["c"]), float(options["d"]), sent[1].encode(), named, sys.argv[-1])))
