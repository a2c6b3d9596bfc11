"""An open loop that offers more than `plimsoll load` can: 100,000 requests/s of one core, pipelined, counted roughly.

    python bench/flood.py URL RATE SECONDS DEADLINE_MS BODY_FILE

Each millisecond what is due goes out in pieces of up to eight requests a connection; answers are told apart by their
status line alone. A refusal may have to wait behind the answer before it (HTTP/1.1 keeps the order), so latencies are
upper bounds: what it is for is goodput and CPU time where requests are cheaper than a careful client's.
"""

import asyncio
import json
import re
import sys
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

from plimsoll.app.child_host import run_loop

_PIECE, _CONNECTIONS, _LAST_S = 8, 256, 1.0
_ANSWER = re.compile(rb"HTTP/1\.1 (\d)")
_LONGEST = len(b"HTTP/1.1 2") - 1  # of an answer's beginning that a read may cut off


class Lane(asyncio.Protocol):
    """One connection. `due`: when each of its unanswered requests should have been sent."""

    def __init__(self, flood: "Flood") -> None:
        self.flood = flood
        self.due: deque[float] = deque()
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now, flood, due = time.monotonic(), self.flood, self.due
        data = self.rest + data
        for found in _ANSWER.finditer(data):
            took = now - due.popleft()
            if found[1] == b"2":
                flood.accepted.append(took)
            else:
                flood.refused.append(took)
        self.rest = data[-_LONGEST:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.flood.lost += len(self.due)
        self.due.clear()


class Flood:
    def __init__(self, request: bytes, rate: float) -> None:
        self.request, self.rate = request, rate
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.sent = self.lost = 0

    async def run(self, host: str, port: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        lanes = [(await loop.create_connection(lambda: Lane(self), host, port))[1] for _ in range(_CONNECTIONS)]
        began = time.monotonic()
        turn = 0
        while (now := time.monotonic()) - began < seconds:
            owed = int((now - began) * self.rate) - self.sent
            while owed > 0:
                lane, count = lanes[turn % _CONNECTIONS], min(owed, _PIECE)
                turn += 1
                if lane.transport.is_closing():
                    self.lost += count
                else:
                    lane.transport.write(self.request * count)
                    lane.due.extend([now] * count)
                self.sent += count
                owed -= count
            await asyncio.sleep(0.001)
        await asyncio.sleep(_LAST_S)
        self.lost += sum(len(lane.due) for lane in lanes)
        for lane in lanes:
            lane.due.clear()
            lane.transport.abort()


def p99(times: list[float]) -> float | None:
    return sorted(times)[int(len(times) * 0.99)] * 1000 if times else None


async def main(url: str, rate: float, seconds: float, deadline_ms: float, body: bytes) -> int:
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        f"plimsoll-deadline-ms: {deadline_ms:g}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    flood = Flood(head.encode() + body, rate)
    await flood.run(parts.hostname or "", parts.port or 80, seconds)
    good = sum(took * 1000 <= deadline_ms for took in flood.accepted)
    print(
        json.dumps(
            {
                "offered": flood.sent,
                "in_time": good,
                "accepted": len(flood.accepted),
                "refused": len(flood.refused),
                "unanswered": flood.lost,
                "p99_ms": p99(flood.accepted),
                "refusal_p99_ms": p99(flood.refused),
            }
        )
    )
    return 0


if __name__ == "__main__":
    where, rate_, seconds_, deadline_, file = sys.argv[1:]
    sys.exit(run_loop(main(where, float(rate_), float(seconds_), float(deadline_), Path(file).read_bytes())))
