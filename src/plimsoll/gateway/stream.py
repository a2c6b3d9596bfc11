"""The gateway's end of the controllers' streams: snapshots from one of them, reports to all.

On one machine there is one controller and one Unix socket. On a cluster a name leads to several, which come and go: it
is looked up again and again, each gets a line, and the first that knows anything is the one whose snapshots take
effect. It stays that until its line ends, so that two who disagree for a moment don't alternate. While all are away the
last snapshot stays.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import GatewayReport, Snapshot
from plimsoll.gateway.line import Line, LineSettings
from plimsoll.wire.http1 import TcpAddress, TlsAddress, UnixAddress, format_address, parse_address

LOG = logging.getLogger(__name__)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_REPORT_S = 1.0
_LOOK_UP_S = 5.0  # how old the answer of a name server may get: a new controller is reported to within this


class ControlStream:
    """`take` applies a snapshot; `report` makes a report. `control`: addresses, commas between them."""

    def __init__(
        self,
        control: str,
        take: Callable[[Snapshot], None],
        report: Callable[[], GatewayReport],
        *,
        ca_file: str = "",
        token_file: str = "",
    ) -> None:
        self._places = [parse_address(one.strip()) for one in control.split(",")]
        for place in self._places:
            if isinstance(place, TcpAddress) and not isinstance(place, TlsAddress):
                raise HostError(f"{control}: the control stream is unix:/path or tls:host:port, never plain TCP")
        self._ca_file, self._token_file = ca_file, token_file
        self._take = take
        self._report = report
        self._encode = msgspec.json.Encoder().encode
        self._lines: dict[str, tuple[Line, asyncio.Task[None]]] = {}
        self._chosen: Line | None = None  # whose snapshots take effect

    @property
    def connected(self) -> bool:
        return any(line.connected for line, _ in self._lines.values())

    def tell(self) -> None:
        """A report now, before the next second's. Nothing while the controllers are away."""
        report: GatewayReport | None = None
        for line, _ in self._lines.values():
            if line.connected:
                report = report or self._report()
                # Controllers number their snapshots each for itself: what one has not sent, it isn't told of.
                mine = report if line is self._chosen or len(self._lines) == 1 else replace(report, version=0)
                line.send(self._encode(mine) + b"\n")

    async def run(self) -> None:
        """Until cancelled."""
        reporting = asyncio.create_task(self._report_each_second())
        try:
            while True:
                self._keep(await self._addresses())
                if all(isinstance(place, UnixAddress) for place in self._places):
                    await asyncio.Event().wait()
                await asyncio.sleep(_LOOK_UP_S if self.connected else _LONGEST_WAIT_S)
        finally:
            reporting.cancel()
            for _, task in self._lines.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in self._lines.values()), return_exceptions=True)

    def _keep(self, addresses: Sequence[str]) -> None:
        """Lines to these, and those that stand: a name server may know less than a connection does."""
        settings = LineSettings(self._ca_file, self._token_file, _FIRST_WAIT_S, _LONGEST_WAIT_S)
        for address in addresses:
            if address not in self._lines:
                line = Line(address, settings, self._up, self._news)
                self._lines[address] = line, asyncio.create_task(line.run())
        for address, (line, task) in list(self._lines.items()):
            if address not in addresses and not line.connected:
                task.cancel()
                del self._lines[address]

    async def _addresses(self) -> list[str]:
        """A name's every address. Where it can't be looked up, those that were known."""
        found: list[str] = []
        for place in self._places:
            if isinstance(place, UnixAddress):
                found.append(format_address(place))
                continue
            assert isinstance(place, TlsAddress)
            try:
                infos = await self._look(place.host, place.port)
            except OSError as error:
                LOG.warning("%s can't be looked up: %s", place.host, error)
                return [*found, *(address for address in self._lines if address not in found)]
            found += sorted({format_address(TlsAddress(str(info[4][0]), place.port, place.name)) for info in infos})
        return found

    async def _look(self, host: str, port: int) -> list[tuple[Any, ...]]:
        return list(await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))

    # --- what lines say ---------------------------------------------------------------------------------------------

    def _up(self, line: Line) -> None:
        """A report at once: a controller that has just begun knows of nobody."""
        if len(self._lines) > 1:
            line.send(self._encode(replace(self._report(), version=0)) + b"\n")

    def _news(self, line: Line) -> None:
        chosen = self._chosen
        if chosen is None or chosen.latest is None or not chosen.latest.version:
            chosen = self._chosen = self._best() or line
        if line is chosen:
            self._apply(line)

    def _best(self) -> Line | None:
        return next((line for line, _ in self._lines.values() if line.latest is not None and line.latest.version), None)

    def _apply(self, line: Line) -> None:
        assert line.latest is not None
        try:
            self._take(line.latest)
        except Exception:  # the stream must live: the next snapshot may be the remedy
            LOG.exception("snapshot %d did not take effect", line.latest.version)
            return
        line.send(self._encode(self._report()) + b"\n")

    async def _report_each_second(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            self._turn_to_another()
            with suppress(OSError):
                self.tell()

    def _turn_to_another(self) -> None:
        """The one whose snapshots took effect is gone: another's do, if it knows anything."""
        if self._chosen is not None and not self._chosen.connected:
            self._chosen = self._best()
            if self._chosen is not None:
                self._apply(self._chosen)
