"""Replicas that never answer, and clients that don't wait."""

import asyncio
import socket

from tests.support.gateway_host import GatewayHost, later, ok, silent, until, view


def test_a_silent_replica_is_not_waited_for(play):
    async def main():
        async with GatewayHost(grace_s=0.05) as host:
            replica = await host.replica("a", silent)
            host.serve(view("mood", replica, timeout_s=0.1))
            loop = asyncio.get_running_loop()
            began = loop.time()
            got = await host.post()
            assert (got.status, got.outcome) == (504, "expired")
            assert 0.14 < loop.time() - began < 3
            await until(lambda: replica.gone == replica.requests)  # the connection was closed: it may stop computing
            replica.requests[0].respond(200, b"", b"late")  # to nobody
            replica.script = ok
            assert (await host.post(body=b"[2]")).body == b"[2]"

    play(main())


def test_a_silent_replica_gets_no_more_while_others_are_there(play):
    async def main():
        async with GatewayHost() as host:
            stopped, live = await host.replica("a", silent), await host.replica("b")
            host.serve(view("mood", stopped))
            assert (await host.post(headers=[("plimsoll-deadline-ms", "300")])).outcome == "expired"
            host.serve(view("mood", stopped, live))
            for _ in range(30):
                assert (await host.post()).status == 200
            assert len(stopped.requests) == 1

    play(main())


def test_an_answer_within_the_grace_counts(play):
    async def main():
        async with GatewayHost(grace_s=5.0) as host:
            go = asyncio.Event()
            replica = await host.replica("a", later(ok, go))
            host.serve(view("mood", replica))
            asked = host.asking(headers=[("plimsoll-deadline-ms", "300")])
            await replica.got(1)
            await asyncio.sleep(0.35)
            go.set()
            assert (await asked).status == 200

    play(main())


def test_the_client_leaves_while_a_replica_computes(play):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a", silent)
            host.serve(view("mood", replica))
            client = await host.client()
            client.send("POST", host.PATH, b"{}")
            await replica.got(1)
            await host.leave(client)
            await until(lambda: replica.gone == replica.requests)
            await host.quiet()
            assert host.counted() == {"cancelled": 1}

    play(main())


def test_the_client_leaves_while_nothing_is_connected_yet(play):
    async def main():
        async with GatewayHost() as host:
            listener = socket.socket(socket.AF_UNIX)  # never accepts: its backlog lets one in, the next waits or fails
            listener.bind(f"{host.folder}/slow.sock")
            listener.listen(0)
            replica = await host.replica("a", start=False)
            replica.address = f"unix:{host.folder}/slow.sock"
            host.serve(view("mood", replica))
            clients = [await host.client() for _ in range(5)]
            for client in clients:
                client.send("POST", host.PATH, b"{}")
            await until(lambda: host.door.in_flight == 5)
            for client in clients:
                await host.leave(client)
            await until(lambda: host.door.in_flight == 0)
            listener.close()

    play(main())


def test_a_whole_pipeline_leaves(play):
    async def main():
        async with GatewayHost() as host:
            replica = await host.replica("a", silent)
            host.serve(view("mood", replica))
            client = await host.client()
            for _ in range(8):
                client.send("POST", host.PATH, b"{}")
            await replica.got(8)
            host.cancelled += 7
            await host.leave(client)
            await until(lambda: len(replica.gone) == 8)

    play(main())


def test_pipelined_answers_keep_their_order(play):
    async def main():
        async with GatewayHost() as host:
            first = asyncio.Event()
            replica = await host.replica("a")
            replica.scripts = [later(ok, first)]
            host.serve(view("mood", replica))
            client = await host.client()
            for n in range(6):
                client.send("POST", host.PATH, b"%d" % n)
            await replica.got(6)
            first.set()
            assert [(await client.receive()).body for _ in range(6)] == [b"%d" % n for n in range(6)]
            host.seen["ok"] += 6
            client.close()

    play(main())


def test_an_address_that_swallows_connections(play):
    """TCP to a listener whose backlog is full: the attempt is bounded, and the other replica answers."""

    async def main():
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        await asyncio.sleep(0.05)
        async with GatewayHost() as host:
            dead, live = await host.replica("a", start=False), await host.replica("b", start=False)
            dead.address = f"tcp:127.0.0.1:{port}"
            host.serve(view("mood", dead, live))
            asked = host.asking()
            other = host.asking()
            await until(lambda: host.service().upstreams["a"].outstanding or len(host.service().held))
            await live.start()
            began = asyncio.get_running_loop().time()
            assert [(await one).status for one in (asked, other)] == [200, 200]
            assert asyncio.get_running_loop().time() - began < 4
        for one in (full, *fillers):
            one.close()

    play(main())
