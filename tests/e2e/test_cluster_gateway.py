"""Gateways and replicas as pods: real processes on loopback addresses, an API server in memory, a controller."""

import asyncio
import json

import pytest
from tests.support.gateway_host import until
from tests.support.pods import NAMESPACE, Stage, view


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
    from plimsoll.core.snapshot import Route

    return tuple(Route(path) for path in paths)


def _calls(stage):
    return stage.cluster.log.counts(user="system:serviceaccount:plimsoll-system:plimsoll-gateway")
