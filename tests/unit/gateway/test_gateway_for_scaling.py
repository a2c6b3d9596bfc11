"""What a gateway tells the controller so that it can scale: counts since its start, and a word at once when nobody can
take a request; and spares, which get requests only where nobody else is."""

import asyncio

import pytest
from tests.support.gateway_host import GatewayHost, answer, endpoint, later, ok, until, view
from tests.unit.gateway.test_gateway_control import Controlled, controller

from plimsoll.core.snapshot import CacheView, EndpointState, FallbackType, FallbackView, Snapshot
from plimsoll.gateway import door as door_module
from plimsoll.gateway import stream as stream_module


def report(host, name="mood"):
    return next(one for one in host.door.reports() if one.service == name)


def test_arrivals_are_those_that_want_a_replica(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a"), cache=CacheView(60.0, 1 << 20)))
            for body in (b"1", b"1", b"2", b"2", b"2"):
                await host.post(body=body)
            assert report(host).arrived == 2  # the others came from the cache
            await host.ask("POST", host.PATH, b"{}", [("plimsoll-deadline-ms", "0")])
            assert report(host).arrived == 2  # nobody had to answer it

    play(main())


def test_late_are_those_over_the_budget_and_those_that_found_no_capacity(play):
    async def main():
        async with GatewayHost() as host:
            a = await host.replica("a")
            host.serve(view("mood", a, target_s=5.0))
            await host.post()
            assert report(host).late == 0
            a.scripts = [answer(503, "shed"), answer(500, "model_error"), answer(400, "invalid")]
            for _ in range(3):
                await host.post()
            assert report(host).late == 1  # more replicas mend neither a model nor a request
            host.serve(view("mood", a, target_s=1e-6))
            await host.post()
            assert report(host).late == 2
            host.serve(view("mood", a, target_s=1e-6, window_s=10.0))
            assert report(host).late == 2  # another window, the same counts

    play(main())


def test_busy_seconds_grow_with_the_requests_inside(play):
    async def main():
        async with GatewayHost() as host:
            gate = asyncio.Event()
            a = await host.replica("a", later(ok, gate))
            host.serve(view("mood", a))
            real, skip = host.door.now, 0.0
            host.door.now = lambda: real() + skip
            asked = [host.asking() for _ in range(4)]
            await a.got(4)
            before = report(host).busy_s
            skip = 2.0
            assert report(host).busy_s - before == pytest.approx(8.0, abs=0.5)
            gate.set()
            await asyncio.gather(*asked)
            rest = report(host).busy_s
            skip = 4.0
            assert report(host).busy_s == rest  # nobody is inside
            assert rest >= 8.0

    play(main())


def test_arrivals_are_counted_by_tenths_of_a_second(play):
    async def main():
        async with GatewayHost() as host:
            host.serve(view("mood", await host.replica("a")))
            service = host.service()
            begun = report(host)
            for count in (3, 0, 2):
                before = service.arrived
                while service.arrived - before < count:
                    service.arrived += 1
                service.count_tenth()
            told = report(host)
            assert told.tenths - begun.tenths >= 3
            assert told.tenths_squared - begun.tenths_squared == 9 + 4
            await until(lambda: report(host).tenths > told.tenths)  # the clockwork goes on

    play(main())


def test_the_controller_hears_at_once_when_nobody_can_take_a_request(play, monkeypatch):
    monkeypatch.setattr(stream_module, "_REPORT_S", 3600.0)

    async def main():
        async with Controlled() as host:
            server, reports = await controller(host.control, Snapshot(1, (view("mood"),)))
            await host.start()
            await until(lambda: reports)
            count = len(reports)
            first = host.asking()
            await until(lambda: len(reports) > count)
            (mood,) = reports[-1].services
            assert (mood.held, mood.arrived, mood.in_flight) == (1, 1, 1)
            assert reports[-1].at > 0
            more = [host.asking() for _ in range(20)]
            await until(lambda: len(host.service().held) == 21)
            assert len(reports) == count + 1  # the first says it for all
            server.publish(Snapshot(2, (view("mood", await host.replica("a")),)))
            assert {one.status for one in await asyncio.gather(first, *more)} == {200}
            await server.close()

    play(main())


def test_it_is_said_again_each_second_as_long_as_it_lasts(play, monkeypatch):
    monkeypatch.setattr(stream_module, "_REPORT_S", 3600.0)
    monkeypatch.setattr(door_module, "_SHORT_S", 0.0)

    async def main():
        async with Controlled() as host:
            server, reports = await controller(host.control, Snapshot(1, (view("mood"),)))
            await host.start()
            await until(lambda: reports)
            count = len(reports)
            asked = []
            for n in range(1, 4):
                asked.append(host.asking())
                await until(lambda n=n: len(reports) == count + n)
            server.publish(Snapshot(2, (view("mood", await host.replica("a")),)))
            await asyncio.gather(*asked)
            await server.close()

    play(main())


def test_a_fallback_that_has_no_replica_is_wanted_too(play):
    async def main():
        async with GatewayHost() as host:
            told = []
            host.door.on_short = lambda: told.append(1)
            steps = (
                FallbackView(FallbackType.SERVICE, service="plain"),
                FallbackView(FallbackType.STATIC, body="{}"),
            )
            a = await host.replica("a", answer(503, "shed"))
            host.serve(view("mood", a, fallback=steps), view("plain"))
            assert (await host.post()).outcome == "degraded"
            await until(lambda: told)
            assert (report(host, "mood").arrived, report(host, "plain").arrived) == (1, 1)
            assert report(host, "mood").late == 1  # somebody else's answer is none of its own
            b = await host.replica("b")
            host.serve(view("mood", a, fallback=steps), view("plain", b))
            await host.post()
            assert (report(host, "mood").arrived, report(host, "plain").arrived) == (2, 2)

    play(main())


def test_spares_get_requests_only_where_nobody_else_is(play):
    async def main():
        async with GatewayHost() as host:
            a, spare, old = await host.replica("a"), await host.replica("spare"), await host.replica("old")
            aside = endpoint(spare, EndpointState.SPARE)
            leaving = endpoint(old, EndpointState.DRAINING)
            host.serve(view("mood", a, aside, leaving))
            for _ in range(20):
                await host.post()
            assert (len(a.requests), len(spare.requests), len(old.requests)) == (20, 0, 0)
            host.serve(view("mood", aside, leaving))  # from zero, with a spare: nobody is held
            for _ in range(5):
                await host.post()
            assert (len(spare.requests), len(old.requests)) == (5, 0)
            host.serve(view("mood", a, spare))
            for _ in range(40):
                await host.post()
            assert len(spare.requests) > 5  # promoted

    play(main())
