"""What /metrics and the reports say is what the clients got."""

import asyncio
import gc
from random import Random

from tests.support.gateway_host import GatewayHost, answer, crash, endpoint, later, ok, silent, until, view

from plimsoll.gateway import record as record_module
from plimsoll.gateway.forwarding import Forwarding


def test_every_request_has_exactly_one_outcome(play):
    async def main():
        async with GatewayHost(max_held=1) as host:
            a = await host.replica("a")
            host.serve(view("mood", a), view("empty"), view("broken", failed="no file"))
            await host.post()
            a.scripts = [
                answer(400, "invalid"),
                answer(500, "model_error"),
                answer(503, "shed"),
                answer(413, "too_large"),
            ]
            for _ in range(4):
                await host.post()
            a.scripts = [crash, crash, crash, crash]
            await host.post()
            a.scripts = [silent]
            await host.post(headers=[("plimsoll-deadline-ms", "10")])
            await host.post("/v2/models/broken/infer")
            held = await host.client()
            held.send("POST", "/v2/models/empty/infer")
            await until(lambda: len(host.service("empty").held) == 1)
            await host.post("/v2/models/empty/infer")
            await host.leave(held)
            await host.post("/nowhere")
            await host.ask("GET", "/x", headers=[("x", "y" * 40_000)])
            await host.quiet()
            assert host.counted(service="mood") == {
                "ok": 1, "invalid": 1, "model_error": 1, "shed": 1, "too_large": 1, "replica_lost": 1, "expired": 1,
            }  # fmt: skip
            assert host.counted(service="empty") == {"cancelled": 1, "shed": 1}
            assert host.counted(service="broken") == {"no_replica": 1}
            assert host.counted(service="") == {"not_found": 1, "invalid": 1}
            assert host.metric("plimsoll_retries_total", service="mood") == 3
            assert host.metric("plimsoll_request_seconds_count", service="mood") == 1  # the answered one
            assert host.metric("plimsoll_gateway_in_flight", service="mood") == 0

    play(main())


def test_refusals_do_not_flatter_the_quantiles(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", answer(503, "shed"))
            host.serve(view("mood", a))
            for _ in range(9):
                assert (await host.post()).outcome == "shed"
            (report,) = host.door.reports()
            assert report.outcomes == {"shed": 9}
            assert report.p50_s is None

            go = asyncio.Event()
            a.script = later(ok, go)
            asked = host.asking()
            await until(lambda: host.service().in_flight == 1)
            asyncio.get_running_loop().call_later(0.05, go.set)
            assert (await asked).outcome == "ok"
            (report,) = host.door.reports()
            assert report.p50_s >= 0.04

    play(main())


def test_gauges_are_true_at_the_moment_they_are_read(play):
    """Without a controller nobody asks for reports, and the gauges must move all the same."""

    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a", silent)
            host.serve(view("mood", a), view("empty"))
            waiting = host.asking("/v2/models/empty/infer")
            asked = host.asking()
            await a.got(1)
            await until(lambda: host.door.in_flight == 2)
            assert host.metric("plimsoll_gateway_in_flight", service="mood") == 1
            assert host.metric("plimsoll_held_requests", service="empty") == 1
            assert host.metric("plimsoll_endpoints", service="mood") == 1
            a.requests[0].respond(200, b"", b"")
            host.serve(view("mood", a), view("empty", a))
            await asked
            await a.got(2)
            a.requests[1].respond(200, b"", b"")
            await waiting
            assert host.metric("plimsoll_held_requests") == host.metric("plimsoll_gateway_in_flight") == 0

    play(main())


def test_an_answer_counts_for_the_revision_that_gave_it(play):
    async def main():
        async with GatewayHost() as host:
            go = asyncio.Event()
            old, new = await host.replica("a", later(ok, go)), await host.replica("b")
            host.serve(view("mood", endpoint(old, revision="mood-1"), revision="mood-1"))
            asked = host.asking()
            await old.got(1)
            host.serve(view("mood", endpoint(new, revision="mood-2"), revision="mood-2"))
            assert (await host.post())["plimsoll-revision"] == "mood-2"
            go.set()
            assert (await asked)["plimsoll-revision"] == "mood-1"
            assert host.counted(revision="mood-1") == host.counted(revision="mood-2") == {"ok": 1}
            # A new revision that isn't ready yet, while the old one serves: nothing is counted for it.
            host.serve(view("mood", endpoint(new, revision="mood-2"), revision="mood-3"))
            assert (await host.post())["plimsoll-revision"] == "mood-2"
            assert host.counted(revision="mood-3") == {}

    play(main())


def test_old_revisions_are_let_go(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            for n in range(100):
                host.serve(
                    view("mood", endpoint(a, revision=f"mood-{n}"), revision=f"mood-{n}", window_s=300 + n // 50)
                )
                await host.post()
            revisions = {labels["revision"] for labels, _ in host.metrics()["plimsoll_requests_total"]} - {""}
            assert len(revisions) <= record_module._REVISIONS + 1
            assert f"mood-{n}" in revisions
            host.series_may_end = True
            host.serve()
            assert {labels["service"] for labels, _ in host.metrics()["plimsoll_requests_total"]} == {""}
            assert len(host.gateway._record._metrics._services) == 1

    play(main())


def test_a_rate_is_taken_over_a_while(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a))
            real, skip = host.door.now, 0.0
            host.door.now = lambda: real() + skip
            host.door.reports()
            for _ in range(10):
                await host.post()
            assert host.door.reports()[0].requests_per_s == 0.0  # milliseconds later: not a thousand a second
            skip = 2.0
            assert 4 < host.door.reports()[0].requests_per_s < 5.01
            assert 4 < host.door.reports()[0].requests_per_s < 5.01

    play(main())


def test_thousands_at_once_leave_nothing_behind(play):
    async def main():
        async with GatewayHost(max_connections=200) as host:
            random = Random(7)
            go = asyncio.Event()
            replicas = [await host.replica(name, later(ok, go)) for name in "abc"]
            host.serve(view("mood", *replicas))
            clients = [await host.client() for _ in range(400)]
            for n, client in enumerate(clients):
                for k in range(5):
                    client.send("POST", host.PATH, b"[%d,%d]" % (n, k))
            await until(lambda: host.door.in_flight == 2000)
            assert all(replica.connections <= 200 for replica in replicas)
            leaving = random.sample(range(400), 50)
            for n in leaving:
                host.cancelled += 4
                await host.leave(clients[n])
            await until(lambda: host.door.in_flight == 1750)
            go.set()
            for n, client in enumerate(clients):
                if n not in leaving:
                    for k in range(5):
                        got = await client.receive()
                        assert got.body == b"[%d,%d]" % (n, k)
                        host.seen[got.outcome] += 1
                    client.close()
            await host.quiet()
            for upstream in host.service().upstreams.values():
                assert upstream._open <= 200
                assert not upstream._tasks

    play(main())


def test_what_ended_is_freed_at_once(play):
    """A thousand bodies of a megabyte must not wait for the garbage collector."""

    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a), view("empty", hold_s=0.01))
            gc.collect()
            gc.disable()
            try:
                for scripts in ([], [crash], [silent], [answer(503, "replica_lost")]):
                    a.scripts = scripts
                    await host.post(headers=[("plimsoll-deadline-ms", "100")])
                await host.post("/v2/models/empty/infer")
                client = await host.client()
                client.send("POST", "/v2/models/empty/infer", headers=[("plimsoll-deadline-ms", "9000")])
                await until(lambda: len(host.service("empty").held))
                await host.leave(client)
                await host.quiet()
                a.requests.clear()
                # The wheel and the heap look at them once more before they let them go.
                await until(lambda: not any(isinstance(one, Forwarding) for one in gc.get_objects()))
            finally:
                gc.enable()

    play(main())


class Broken:
    @property
    def known(self):
        raise ZeroDivisionError


def test_a_bug_of_ours_costs_one_request(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a")))
            service, client = host.service(), await host.client()
            quarantine, service.quarantine = service.quarantine, Broken()
            got = await client.ask("POST", host.PATH)
            assert (got.status, got.outcome) == (500, "model_error")
            assert [type(context["exception"]) for context in host.errors] == [ZeroDivisionError]
            host.errors.clear()
            service.quarantine = quarantine
            assert (await client.ask("POST", host.PATH)).status == 200  # on the same connection
            host.seen.update(model_error=1, ok=1)
            client.close()

    play(main())
