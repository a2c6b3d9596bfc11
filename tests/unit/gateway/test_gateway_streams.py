"""Several controllers over TLS: snapshots from one at a time, reports to all of them."""

import asyncio
import logging

import pytest
from tests.support.certificates import Authority
from tests.support.gateway_host import GatewayHost, until, view

from plimsoll.control.stream import SnapshotServer, TcpListen
from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import GatewayReport, Snapshot
from plimsoll.gateway import stream as stream_module
from plimsoll.gateway.stream import ControlStream
from plimsoll.wire.http1.tls import TlsSettings, make_context

NAME = "plimsoll-controller.plimsoll-system.svc"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in (("_FIRST_WAIT_S", 0.005), ("_LONGEST_WAIT_S", 0.02), ("_REPORT_S", 0.05)):
        monkeypatch.setattr(stream_module, name, seconds)
    monkeypatch.setattr(stream_module, "_LOOK_UP_S", 0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ca")


@pytest.fixture(scope="module")
def authority(folder):
    return Authority(folder, "ca")


@pytest.fixture(scope="module")
def pair(authority):
    return authority.sign("controller", "/CN=controller", f"DNS:{NAME}", "serverAuth")


class Controller:
    """One of those behind the name: a stream on an address of its own."""

    def __init__(self, host, pair, port=0):
        self.pair, self.reports, self.tokens = pair, [], []
        self.good = None  # None: every token
        listen = TcpListen(host, port, self.context, self.check)
        self.server = SnapshotServer(None, on_report=self.reports.append, tcp=listen)

    async def start(self, snapshot=None):
        if snapshot is not None:
            self.server.publish(snapshot)
        await self.server.start()
        return self

    def context(self):
        return make_context(TlsSettings(*map(str, self.pair)))

    async def check(self, token):
        self.tokens.append(token)
        return self.good is None or token == self.good

    @property
    def address(self):
        return f"tls:{NAME}@{self.server._tcp.host}:{self.server.port}"

    @property
    def versions(self):
        return {report.version for report in self.reports}


class Clustered(GatewayHost):
    def __init__(self, folder, authority, *controllers, **settings):
        self.token = folder / "token"
        self.token.write_text("token-1\n")
        super().__init__(
            start=False,
            control=",".join(one.address for one in controllers),
            control_ca=str(authority.cert),
            control_token=str(self.token),
            **settings,
        )

    async def start(self):
        self.addresses = await self.gateway.start()
        self.address = self.addresses[0]


def test_snapshots_from_one_and_reports_to_all(play, tmp_path, authority, pair):
    async def main():
        one = await Controller("127.0.0.1", pair).start(Snapshot(10, (view("shop/mood"),)))
        two = await Controller("127.0.0.2", pair).start(Snapshot(900, (view("shop/mood"), view("shop/other"))))
        async with Clustered(tmp_path, authority, one, two) as host:
            await host.start()
            await until(lambda: one.reports and two.reports)
            chosen, other = (one, two) if host.gateway._version == 10 else (two, one)
            mine, theirs = chosen.server.snapshot.version, other.server.snapshot.version
            await until(lambda: mine in chosen.versions and len(other.reports) > 3)
            assert other.versions == {0}  # it is told what is served, but not that its snapshot was taken
            assert {report.gateway for report in other.reports} == {"gateway-0"}

            # The other one's news changes nothing while the first is there.
            other.server.publish(Snapshot(theirs + 1, ()))
            chosen.server.publish(Snapshot(mine + 1, (view("shop/new"),)))
            await until(lambda: mine + 1 in chosen.versions)
            assert list(host.door.services) == ["shop/new"]
            host.series_may_end = True

            # It goes: the other one's newest takes effect, and it stays in charge when the first is back.
            port = chosen.server.port
            await chosen.server.close()
            await until(lambda: host.gateway._version == theirs + 1)
            assert not host.door.services
            again = await Controller(chosen.server._tcp.host, pair, port).start(Snapshot(5000, (view("shop/late"),)))
            await until(lambda: again.reports)
            other.server.publish(Snapshot(theirs + 2, (view("shop/mood"),)))
            await until(lambda: theirs + 2 in other.versions)
            assert list(host.door.services) == ["shop/mood"]
            for server in (again, other):
                await server.server.close()

    play(main())


def test_one_that_knows_nothing_is_not_followed(play, tmp_path, authority, pair):
    async def main():
        empty = await Controller("127.0.0.1", pair).start()
        full = await Controller("127.0.0.2", pair).start(Snapshot(3, (view("shop/mood"),)))
        async with Clustered(tmp_path, authority, empty, full) as host:
            await host.start()
            await until(lambda: host.gateway._version == 3)
            assert list(host.door.services) == ["shop/mood"]
            await empty.server.close()
            await full.server.close()

    play(main())


def test_all_are_away_and_it_serves_on(play, tmp_path, authority, pair):
    async def main():
        one = await Controller("127.0.0.1", pair).start()
        async with Clustered(tmp_path, authority, one) as host:
            replica = await host.replica("a")
            one.server.publish(Snapshot(4, (view("shop/mood", replica),)))
            await host.start()
            await until(lambda: host.gateway._version == 4)
            await one.server.close()
            await until(lambda: not host.gateway._stream.connected)
            assert (await host.post()).status == 200

    play(main())


def test_the_token_is_read_anew_and_a_refused_one_is_tried_again(play, tmp_path, authority, pair):
    async def main():
        one = await Controller("127.0.0.1", pair).start(Snapshot(4, ()))
        one.good = "token-2"
        async with Clustered(tmp_path, authority, one) as host:
            starting = asyncio.ensure_future(host.start())
            await until(lambda: len(one.tokens) >= 2)
            assert host.gateway._version == 0
            assert not one.reports
            host.token.write_text("token-2")
            await until(lambda: host.gateway._version == 4)
            assert set(one.tokens) == {"token-1", "token-2"}
            await starting
            await one.server.close()

    play(main())


@pytest.mark.parametrize("wrong", ["another authority", "another name", "no token"])
def test_who_cannot_prove_itself_gets_nothing(play, tmp_path, authority, pair, wrong, caplog):
    async def main():
        shown = pair
        trusted = authority
        if wrong == "another authority":
            trusted = Authority(tmp_path, "stranger")
        elif wrong == "another name":
            shown = authority.sign("other", "/CN=other", "DNS:other.plimsoll-system.svc", "serverAuth")
        one = await Controller("127.0.0.1", shown).start(Snapshot(4, (view("shop/mood"),)))
        async with Clustered(tmp_path, trusted, one) as host:
            if wrong == "no token":
                host.token.unlink()
            starting = asyncio.ensure_future(host.start())
            await until(lambda: any("no stream from the controller" in record.message for record in caplog.records))
            assert host.gateway._version == 0
            assert not one.tokens
            await starting
            await one.server.close()

    with caplog.at_level(logging.WARNING):
        play(main())
    words = {"another authority": "CERTIFICATE_VERIFY_FAILED", "another name": "mismatch", "no token": "projected"}
    assert words[wrong] in caplog.text
    assert "token-1" not in caplog.text


def test_a_name_that_leads_elsewhere_is_followed(play, tmp_path, authority, pair, monkeypatch):
    """A controller's pod is replaced by another at another address."""

    async def main():
        one = await Controller("127.0.0.1", pair).start(Snapshot(4, ()))
        two = await Controller("127.0.0.2", pair, one.server.port).start(Snapshot(5, (view("shop/mood"),)))
        behind = ["127.0.0.1"]
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def getaddrinfo(host, port, **more):
            assert host in {NAME, "127.0.0.1", "127.0.0.2"}
            if host != NAME:
                return await real(host, port, **more)
            if not behind:
                raise OSError("no such name")
            return [(None, None, None, "", (address, port)) for address in behind]

        taken = []
        stream = ControlStream(
            f"tls:{NAME}:{one.server.port}", lambda snapshot: taken.append(snapshot.version),
            _report, ca_file=str(authority.cert), token_file=str(tmp_path / "token"),
        )  # fmt: skip
        (tmp_path / "token").write_text("t")
        monkeypatch.setattr(stream, "_look", getaddrinfo)
        running = asyncio.ensure_future(stream.run())
        await until(lambda: taken == [4])
        behind[:] = []  # the name server is away: what stands, stands
        await asyncio.sleep(0.05)
        assert len(stream._lines) == 1
        behind[:] = ["127.0.0.2"]
        await until(lambda: two.reports)
        assert taken == [4]
        await one.server.close()
        await until(lambda: taken == [4, 5])
        await until(lambda: list(stream._lines) == [two.address])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await two.server.close()

    play(main())


def _report():
    return GatewayReport("gateway-0", 0)


def test_plain_tcp_is_refused():
    with pytest.raises(HostError, match="never plain TCP"):
        ControlStream("tcp:127.0.0.1:7443", lambda _: None, _report)
