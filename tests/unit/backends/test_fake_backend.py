"""The fake in virtual time, as a controller's test uses it."""

import asyncio

from plimsoll.backends.fake.backend import FakeBackend, Life, ManualClock
from plimsoll.ports.backend import DesiredReplicas, ReplicaPhase, ReplicaTemplate

TEMPLATE = ReplicaTemplate("echo", "echo-1", {}, drain_s=3.0, startup_s=60.0)


def phases(backend):
    return [replica.phase for replica in backend.observe()]


def at(clock, backend, now):
    clock.move_to(now)
    backend.settle()
    return phases(backend)


def test_a_timeline():
    async def timeline():
        clock = ManualClock(100.0)
        backend = FakeBackend(clock, startup_s=2.0)
        await backend.apply((DesiredReplicas(TEMPLATE, 2),))
        assert phases(backend) == [ReplicaPhase.STARTING] * 2
        assert backend.next_event() == 102.0
        assert at(clock, backend, 101.9) == [ReplicaPhase.STARTING] * 2
        assert at(clock, backend, 102.0) == [ReplicaPhase.READY] * 2
        assert backend.next_event() is None
        backend.crash("echo-1-0")
        assert phases(backend) == [ReplicaPhase.BACKING_OFF, ReplicaPhase.READY]
        assert at(clock, backend, 102.5) == [ReplicaPhase.STARTING, ReplicaPhase.READY]
        assert at(clock, backend, 104.5) == [ReplicaPhase.READY] * 2
        assert [replica.restarts for replica in backend.observe()] == [1, 0]

    asyncio.run(timeline())


def test_much_at_once_happens_in_the_order_of_time():
    async def timeline():
        clock = ManualClock()
        lives = [Life(startup_s=1.0, lives_s=1.0), Life(startup_s=None), Life(startup_s=1.0, drain_takes_s=None)]
        backend = FakeBackend(clock, script=lambda template, replica, restarts: lives[min(restarts, 2)])
        await backend.apply((DesiredReplicas(TEMPLATE, 1),))
        # ready 1, dead 2, starts 2.5, cut short 62.5, starts 63.5 (twice the wait), ready 64.5
        assert at(clock, backend, 100.0) == [ReplicaPhase.READY]
        (replica,) = backend.observe()
        assert (replica.restarts, replica.started_at, replica.ready_at) == (2, 63.5, 64.5)
        await backend.apply(())
        assert at(clock, backend, 102.9) == [ReplicaPhase.DRAINING]
        assert at(clock, backend, 103.0) == []  # drain_s is over

    asyncio.run(timeline())
