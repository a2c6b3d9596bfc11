"""Gateways and replicas as pods: real processes on loopback addresses, an API server in memory, a controller."""

import asyncio
import hashlib
import json
import socket
import ssl
from collections import Counter

import pytest
from tests.support.cache_servers import RedisServer
from tests.support.certificates import Authority
from tests.support.gateway_host import Client, until
from tests.support.pods import GATEWAY, NAMESPACE, Load, Stage, address, view

from plimsoll.core.snapshot import LimitsView, Route, TenantView


@pytest.fixture
def play(tmp_path):
    """Runs `test(stage)`."""

    def run(test, seconds=90):
        async def main():
            async with Stage(tmp_path) as stage, asyncio.timeout(seconds):
                await test(stage)

        asyncio.run(main())

    return run


def pod_of(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)["pod"]


async def answers_of(gate, name, path="/mood"):
    """Until it comes from there."""
    async with asyncio.timeout(20):
        while pod_of(await gate.post(path)) != name:  # noqa: ASYNC110 # another process's state
            await asyncio.sleep(0.01)


def test_pods_come_and_go_and_the_api_server_too(play):
    async def test(stage):
        first, second = stage.pod("mood-1-aaaaa"), stage.pod("mood-1-bbbbb")
        gate = stage.gateway("gateway-a")
        stage.controller.publish(view(routes=_routes("/mood")), view("mood", "team-a", routes=_routes("/mood")))
        await first.ready()
        await second.ready()
        await gate.ready()
        host = [("Host", f"mood.{NAMESPACE}.svc")]

        # Nobody is ready: the request is held, the controller hears of it, a pod's slice lets it go.
        held = asyncio.ensure_future(gate.post("/mood", headers=host))
        await until(lambda: stage.controller.held == 1)
        stage.slices("mood", first, unready=[second])
        assert (await held)["plimsoll-outcome"] == "ok"
        ambiguous = await gate.post("/v2/models/mood/infer")
        assert ambiguous.status == 404
        assert b"several namespaces" in ambiguous.body

        # Terminating: no new work.
        stage.controller.publish(view(routes=_routes("/mood")))
        assert await stage.controller.server.acked(stage.controller.server.snapshot.version, 20.0)
        stage.slices("mood", second, ending=[first])
        await answers_of(gate, second.name)
        for _ in range(20):
            assert pod_of(await gate.post("/mood")) == second.name

        # Nothing ready, one that still serves.
        stage.slices("mood", ending=[first], unready=[second])
        await answers_of(gate, first.name)

        # The API server goes: what was seen last stays. It comes back, forgot the past (410), and news arrive.
        stage.cluster.stop()
        for _ in range(10):
            assert pod_of(await gate.post("/mood")) == first.name
        await until(lambda: any("does not answer" in note for note in stage.controller.reports[-1].notes))
        stage.slices("mood", second, ending=[first])
        stage.cluster.compact()
        stage.cluster.start()
        await answers_of(gate, second.name)
        await until(lambda: not stage.controller.reports[-1].notes)
        lists = [count for (verb, _), count in _calls(stage).items() if verb == "list"]
        assert sum(lists) == 2  # one at the start, one after 410
        assert all(resource == "endpointslices" for _, resource in _calls(stage))

        # Controller and API server are both away.
        await stage.controller.server.close()
        stage.cluster.stop()
        for _ in range(5):
            assert pod_of(await gate.post("/mood")) == second.name
        stage.cluster.start()
        assert await gate.end() == 0

    play(test)


def _routes(*paths):
    return tuple(Route(path) for path in paths)


def _calls(stage):
    return stage.cluster.log.counts(user="system:serviceaccount:plimsoll-system:plimsoll-gateway")


# --- certificates and secrets that change under load ---


async def taken(*processes, count):
    """Each has read new files so many times."""
    await until(lambda: all(len(one.lines("TLS files read anew")) >= count for one in processes), 30)


def test_certificates_change_on_the_door_and_behind_it_and_no_request_fails(play, tmp_path):
    async def test(stage):
        old, new = stage.authority, Authority(tmp_path, "next")
        numbers = iter(range(100))

        def gateways(authority):
            return authority.client(f"gateway-{next(numbers)}", "/CN=gateway", f"DNS:{GATEWAY}")

        def replicas(authority):
            return authority.sign(f"replica-{next(numbers)}", "/CN=replica", "DNS:*.shop.svc", "serverAuth")

        inner, outer = tmp_path / "of-replicas", tmp_path / "of-gateways"
        stage.secret(inner, replicas(old), old)
        stage.secret(outer, gateways(old), old)
        pods = [stage.pod(f"mood-1-{end}", PLIMSOLL_REPLICA_TLS=str(inner)) for end in ("aaaaa", "bbbbb")]
        ip = address()
        door = tmp_path / "of-the-door"
        gate = stage.gateway("gateway-a", POD_IP=ip, PLIMSOLL_TLS=str(door), PLIMSOLL_REPLICA_TLS=str(outer))
        stage.controller.publish(view(routes=_routes("/mood")))
        stage.slices("mood", *pods, secure=True)
        for one in (*pods, gate):
            await one.ready()
        await answers_of(gate, pods[0].name)

        def serving(authority):
            return authority.sign(f"door-{next(numbers)}", "/CN=door", f"IP:{ip}", "serverAuth")

        assert gate.lines("no HTTPS yet")  # its Secret is yet to come
        stage.secret(door, serving(old))
        await until(lambda: gate.lines("listening for HTTPS"))
        bundle = tmp_path / "both.pem"
        bundle.write_bytes(old.cert.read_bytes() + new.cert.read_bytes())
        load = Load(f"https://{ip}:8443/mood", ca=bundle, rate=50)
        churn = asyncio.ensure_future(_churn(stage, pods))
        try:
            await until(lambda: load.runs() and stage.controller.reports[-1].services[0].arrived > 100, 60)
            # The door's certificate: another, then another authority's.
            for round_, authority in enumerate((old, new), 1):
                stage.secret(door, serving(authority))
                await taken(gate, count=round_)
            # Behind it, an authority is replaced: both are believed, both sides show the new one's, the old one goes.
            steps = [
                (outer, gateways(old), (old, new)), (inner, replicas(old), (old, new)),
                (outer, gateways(new), (old, new)), (inner, replicas(new), (old, new)),
                (outer, gateways(new), (new,)), (inner, replicas(new), (new,)),
            ]  # fmt: skip
            for number, (folder, pair, believed) in enumerate(steps):
                stage.secret(folder, pair, *believed)
                if folder is outer:
                    await taken(gate, count=3 + number // 2)
                else:
                    await taken(*pods, count=1 + number // 2)
            before = stage.controller.reports[-1].services[0].arrived
            await until(lambda: stage.controller.reports[-1].services[0].arrived > before + 50, 60)
        finally:
            churn.cancel()
            await asyncio.gather(churn, return_exceptions=True)
        report = await load.report()
        print(f"rotation: {report['offered']} requests, {report['outcomes']}")
        assert set(report["outcomes"]) == {"ok"}, report
        assert all(not one.lines("refused") for one in (gate, *pods))
        # What was replaced is out: who shows the old authority's certificate is not let in.
        with pytest.raises(OSError):  # noqa: PT011 # an alert or a reset
            await asyncio.to_thread(_knock, pods[0].ip, new, gateways(old))
        assert await asyncio.to_thread(_knock, pods[0].ip, new, gateways(new)) == b"HTTP/1.1 200 OK"

    play(test, 180)


async def _churn(stage, pods):
    """Each pod leaves the Service and comes back, by turns, so that new connections are made all the time."""
    while True:
        for one in pods:
            stage.slices("mood", *(other for other in pods if other is not one), unready=[one], secure=True)
            await asyncio.sleep(0.15)
            stage.slices("mood", *pods, secure=True)
            await asyncio.sleep(0.15)


def _knock(ip, authority, pair):
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.load_cert_chain(*map(str, pair))
    with (
        socket.create_connection((ip, 8080), 10) as plain,
        context.wrap_socket(plain, server_hostname="mood.shop.svc") as sock,
    ):
        sock.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return sock.recv(1000).split(b"\r\n")[0]


# --- several gateways ---


class Proxy:
    """What kube-proxy (IPVS, least connections) does for the gateways' Service: a new connection goes to the one of
    `backends` that has the fewest open ones. In turn, all might end up at one gateway."""

    def __init__(self, *backends):
        self.backends = list(backends)
        self._open = Counter()
        self._tasks = set()

    async def start(self):
        self._server = await asyncio.start_server(self._accept, address(), 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def _accept(self, reader, writer):
        gate = min(self.backends, key=lambda one: self._open[one])
        self._open[gate] += 1
        there_reader, there_writer = await asyncio.open_connection(gate.ip, 8080)
        pipes = [asyncio.ensure_future(_pipe(*ends)) for ends in ((reader, there_writer), (there_reader, writer))]
        self._tasks.update(pipes)
        await asyncio.gather(*pipes, return_exceptions=True)
        self._open[gate] -= 1
        self._tasks.difference_update(pipes)

    async def close(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()


async def _pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def test_gateways_are_replaced_one_by_one_and_no_connection_breaks(play):
    async def test(stage):
        pod = stage.pod("mood-1-aaaaa")
        gates = [stage.gateway(f"gateway-{letter}", PLIMSOLL_DRAIN_LINGER="1.5") for letter in "ab"]
        stage.controller.publish(view(routes=_routes("/mood")))
        stage.slices("mood", pod)
        for one in (pod, *gates):
            await one.ready()
        proxy = await Proxy(*gates).start()
        loads = [Load(f"{proxy.url}/mood", rate=40, seconds=150) for _ in gates]  # a connection each at least
        try:
            for gate in gates:
                await until(lambda name=gate.name: _arrived(stage).get(name, 0) > 20, 60)
            for old in gates:
                new = await stage.gateway(f"{old.name}-2", PLIMSOLL_DRAIN_LINGER="1.5").ready()
                proxy.backends.append(new)
                ending = asyncio.ensure_future(old.end())
                while await old.status("/v2/health/ready") == 200:  # noqa: ASYNC110 # another process's state
                    await asyncio.sleep(0.01)
                proxy.backends.remove(old)  # its EndpointSlice said so
                assert await ending == 0
                assert not await old.status("/v2/health/live")
                await until(lambda new=new: _arrived(stage).get(new.name, 0) > 20, 60)
            for load in loads:
                report = await load.report()
                print(f"replaced two gateways: {report['offered']} requests, {report['outcomes']}")
                assert set(report["outcomes"]) == {"ok"}, report
        finally:
            for load in loads:
                load.kill()
            await proxy.close()

    play(test, 180)


def test_a_quota_holds_across_gateways(play):
    """Fifty a second for both together, however requests fall on them: what Redis says, not a half each."""

    async def test(stage):
        with RedisServer() as redis:
            pod = stage.pod("mood-1-aaaaa")
            gates = [stage.gateway(f"gateway-{letter}") for letter in "ab"]
            tenant = TenantView("checkout", {"ci": hashlib.sha256(b"the-key").hexdigest()}, requests_per_s=50.0)
            limits = LimitsView(gateways=2, url=redis.url)
            stage.controller.publish(view(routes=_routes("/mood")), tenants=(tenant,), limits=limits)
            stage.slices("mood", pod)
            for one in (pod, *gates):
                await one.ready()
            key = [("x-api-key", "the-key")]
            assert (await gates[0].post("/mood")).status == 401

            async def flood(gate, seconds):
                """As fast as it answers; statuses."""
                client, found = await Client.connect(f"tcp:{gate.ip}:8080"), []
                loop = asyncio.get_running_loop()
                until_ = loop.time() + seconds
                while loop.time() < until_:
                    found.append((await client.ask("POST", "/mood", b"{}", key)).status)
                client.close()
                return found

            await flood(gates[0], 1.5)  # what a bucket holds at first is spent, and leases are known
            began = asyncio.get_running_loop().time()
            # All on one gateway: without Redis it would allow 25.
            alone = await flood(gates[0], 4.0)
            both = await asyncio.gather(*(flood(gate, 4.0) for gate in gates))
            took = asyncio.get_running_loop().time() - began
            assert {200, 429} == set(alone) == set(both[0]) | set(both[1])
            rates = alone.count(200) / 4, sum(one.count(200) for one in both) / 4
            print(f"quota of 50/s over two gateways: {rates[0]:.0f}/s on one, {rates[1]:.0f}/s on both, {took:.1f} s")
            assert 30 < rates[0] <= 60, rates
            assert 30 < rates[1] <= 65, rates
            assert not stage.controller.reports[-1].notes

    play(test)


def _arrived(stage):
    """By gateway, as far as it has said."""
    return {report.gateway: report.services[0].arrived for report in stage.controller.reports if report.services}
