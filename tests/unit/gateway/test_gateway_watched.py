"""Replicas from a watch instead of a snapshot; readiness; an end that costs no client its connection."""

import asyncio
import json

from tests.support.gateway_host import GatewayHost, endpoint, ok, until, view

from plimsoll.core.snapshot import Endpoint, EndpointState, FallbackType, FallbackView

NAME = "shop/mood"
PATH = "/v2/models/mood/infer"


def watched(**settings):
    return GatewayHost(watched=True, tcp=True, **settings)


def test_replicas_come_from_the_watch_and_settings_from_the_snapshot(play):
    async def main():
        async with watched() as host:
            a, b = await host.replica("a"), await host.replica("b")
            host.serve(view(NAME, hold_s=5.0))
            held = host.asking()
            await until(lambda: len(host.service(NAME).held) == 1)
            host.gateway.replicas(NAME, (endpoint(a),))
            host.gateway.replicas("shop/unknown", (endpoint(b),))  # its snapshot is yet to come
            assert len(host.service(NAME).held) == 1  # not before everything was told once
            host.gateway.replicas_known()
            assert (await held).status == 200
            assert len(a.requests) == 1

            host.serve(view(NAME), view("shop/unknown"))  # the next snapshot forgets nothing
            assert (await host.post()).status == 200
            assert (await host.post("/v2/models/unknown/infer")).status == 200
            assert (len(a.requests), len(b.requests)) == (2, 1)

            host.gateway.replicas(NAME, (endpoint(a, EndpointState.DRAINING), endpoint(b)))
            for _ in range(4):
                assert (await host.post()).status == 200
            assert (len(a.requests), len(b.requests)) == (2, 5)
            host.gateway.replicas(NAME, (endpoint(a, EndpointState.DRAINING),))  # nothing ready is left
            assert (await host.post()).status == 200
            assert len(a.requests) == 3

    play(main())


def test_a_change_of_one_service_leaves_the_others_connections_alone(play):
    async def main():
        async with watched() as host:
            a, b = await host.replica("a"), await host.replica("b")
            host.serve(view(NAME), view("shop/other"))
            host.gateway.replicas_known()
            host.gateway.replicas(NAME, (endpoint(a),))
            host.gateway.replicas("shop/other", (endpoint(b),))
            await host.post()
            await host.post("/v2/models/other/infer")
            upstream = host.service("shop/other").upstreams["b"]
            for _ in range(3):
                host.gateway.replicas(NAME, ())
                host.gateway.replicas(NAME, (endpoint(a),))
            await host.post("/v2/models/other/infer")
            assert host.service("shop/other").upstreams["b"] is upstream
            assert b.connections == 1

    play(main())


def test_the_controller_says_which_ready_ones_are_spare(play):
    async def main():
        async with watched() as host:
            a, b = await host.replica("a"), await host.replica("b")
            host.gateway.replicas_known()
            host.gateway.replicas(NAME, (endpoint(a), endpoint(b)))
            host.serve(view(NAME, endpoint(b, EndpointState.SPARE)))
            for _ in range(3):
                await host.post()
            assert (len(a.requests), len(b.requests)) == (3, 0)
            host.gateway.replicas(NAME, (endpoint(b),))
            await host.post()
            assert len(b.requests) == 1

    play(main())


def test_the_revision_is_the_snapshots_where_a_pods_name_fits_it(play):
    async def main():
        async with watched() as host:
            pod = await host.replica("mood-1111111-abcde")
            other = await host.replica("mood-0000000-6d4b8-abcde")
            host.serve(view(NAME, revision="mood-1111111"))
            host.gateway.replicas_known()
            for replica, revision in ((pod, "mood-1111111"), (other, "mood-0000000")):
                host.gateway.replicas(NAME, (Endpoint(replica.name, "mood-0000000", replica.address),))
                assert (await host.post())["plimsoll-revision"] == revision

    play(main())


def test_a_fallback_is_a_service_of_the_same_namespace(play):
    async def main():
        async with watched() as host:
            rules = await host.replica("rules")
            steps = (FallbackView(FallbackType.SERVICE, service="rules"),)
            host.serve(view(NAME, fallback=steps, failed="no GPU"), view("shop/rules"), view("team-a/rules"))
            host.gateway.replicas_known()
            host.gateway.replicas("shop/rules", (endpoint(rules),))
            got = await host.post()
            assert (got.status, got.outcome) == (200, "degraded")
            assert len(rules.requests) == 1

    play(main())


def test_ready_means_a_snapshot_and_a_look_at_the_slices(play):
    async def main():
        async with GatewayHost(watched=True, start=False) as host:
            page = f"unix:{host.folder}/m.sock"
            host.gateway._settings = host.gateway._settings.__class__(
                **(host._settings | {"watched": True, "metrics": page})
            )
            host.addresses = await host.gateway.start()
            host.address = page

            async def ready():
                got = await host.ask("GET", "/v2/health/ready", page=True)
                assert json.loads(got.body)["ready"] is (got.status == 200)
                return got.status

            assert (await host.ask("GET", "/v2/health/live", page=True)).status == 200
            assert await ready() == 503
            host.serve(view(NAME))
            assert await ready() == 503
            host.gateway.replicas_known()
            assert await ready() == 200
            assert host.gateway.report().notes == ()
            host.gateway.troubles = lambda: ("the API server does not answer",)
            assert host.gateway.report().notes == ("the API server does not answer",)

    play(main())


def test_before_it_closes_it_is_not_ready_and_its_clients_connect_anew(play):
    async def main():
        async with watched(drain_linger_s=0.2) as host:
            a = await host.replica("a")
            host.serve(view(NAME))
            host.gateway.replicas_known()
            host.gateway.replicas(NAME, (endpoint(a),))
            old = await host.client()
            assert "connection" not in await old.ask("POST", PATH)
            draining = asyncio.ensure_future(host.gateway.drain())
            await until(lambda: host.door.draining)
            assert not host.gateway.ready
            # Requests are answered as before, on connections old and new; their answers say that none should follow.
            for client in (old, await host.client()):
                got = await client.ask("POST", PATH)
                assert (got.status, got["connection"]) == (200, "close")
                assert await client.ended()
                client.close()
            assert (await host.ask("GET", "/v2/health/ready", page=True)).status == 503
            host.seen["ok"] += 3
            await draining

    play(main())


def test_while_it_lingers_held_requests_are_still_answered(play):
    async def main():
        async with watched(drain_linger_s=0.1) as host:
            a = await host.replica("a", ok)
            host.serve(view(NAME, hold_s=10.0))
            host.gateway.replicas_known()
            held = host.asking()
            await until(lambda: len(host.service(NAME).held) == 1)
            draining = asyncio.ensure_future(host.gateway.drain())
            await asyncio.sleep(0.15)
            host.gateway.replicas(NAME, (endpoint(a),))
            assert (await held).status == 200
            await draining

    play(main())
