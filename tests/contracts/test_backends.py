"""One suite over every backend. What the replicas do is told by their args (`tests/support/tiny_replica.py`)."""

import asyncio
import contextlib

import pytest
from tests.contracts.backend_hosts import (
    FIRST_S,
    LEARNED,
    SUPPORT,
    Fake,
    Kubernetes,
    Local,
    all_ready,
    in_phase,
    run,
    until,
    wish,
)

from plimsoll.ports.backend import ReplicaPhase


@pytest.fixture(params=["fake", "local-fork", "local-exec", "kubernetes"])
def host(request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SUPPORT)  # where forked and exec'ed replicas find their entry
    kinds = {"fake": Fake, "kubernetes": Kubernetes}
    return kinds.get(request.param) or (lambda: Local(request.param.removeprefix("local-")))


def test_from_nothing_to_three_and_back(host):
    async def test(host):
        assert host.backend.observe() == ()
        await host.backend.apply((wish(3),))
        seen = await until(host, all_ready(3))
        if host.numbered:
            assert [replica.id for replica in seen] == ["echo-1-0", "echo-1-1", "echo-1-2"]
        assert len({host.process(replica) for replica in seen}) == 3
        assert len({replica.address for replica in seen}) == 3
        for replica in seen:
            assert replica.address.startswith(host.address)
            assert replica.started_at < replica.ready_at <= host.now()
            assert (replica.service, replica.restarts, replica.reason) == ("echo", 0, "")
        await host.backend.apply(())
        await until(host, lambda seen: seen == ())

    run(host, test)


def test_scaling_up_leaves_the_others_alone_and_down_takes_the_youngest(host):
    async def test(host):
        await host.backend.apply((wish(1),))
        (first,) = await until(host, all_ready(1))
        process = host.process(first)
        await host.backend.apply((wish(3),))
        seen = await until(host, all_ready(3))
        assert (host.process(seen[0]), seen[0].address) == (process, first.address)
        ids = {replica.id for replica in seen}
        await host.backend.apply((wish(1),))
        (left,) = await until(host, all_ready(1))
        assert host.process(left) == process
        await host.backend.apply((wish(2),))
        seen = await until(host, all_ready(2))
        assert seen[1].id not in ids, "an id is never used twice"
        assert seen[1].id == "echo-1-3" or not host.numbered

    run(host, test)


def test_revisions_side_by_side_and_one_replaced_by_the_other(host):
    async def test(host):
        await host.backend.apply((wish(2),))
        await until(host, all_ready(2))
        await host.backend.apply((wish(2), wish(1, "echo-2")))
        seen = await until(host, lambda seen: len(seen) == 3 and all(r.phase is ReplicaPhase.READY for r in seen))
        assert [replica.revision for replica in seen] == ["echo-1", "echo-1", "echo-2"]
        await host.backend.apply((wish(1, "echo-2"),))
        await until(host, all_ready(1, "echo-2"))

    run(host, test)


def test_apply_twice_is_apply_once(host):
    async def test(host):
        for _ in range(2):
            await host.backend.apply((wish(2),))
        seen = await until(host, all_ready(2))
        for _ in range(2):
            await host.backend.apply((wish(2),))
        processes = [host.process(replica) for replica in seen]
        await host.quiet()
        seen_again = host.backend.observe()
        assert [(one.id, host.process(one)) for one in seen_again] == [
            (one.id, process) for one, process in zip(seen, processes, strict=True)
        ]

    run(host, test)


def test_a_crash_is_followed_by_a_restart_later_and_later(host):
    async def test(host):
        await host.backend.apply((wish(1, how="crash", after_s=host.lives_s),))
        (replica,) = await until(host, all_ready(1))
        waits = []
        for restarts in range(3):
            (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
            assert fallen.id == replica.id
            assert (fallen.restarts, fallen.address, fallen.pid) == (restarts, "", None)
            assert fallen.reason == "ended by itself with exit status 9"
            assert fallen.log_tail == (f"hello from {replica.id}",)
            assert fallen.ready_at is not None, "it was ready once: that tells a crash from a failed start"
            waits.append(fallen.retry_at - host.now())
            (again,) = await until(host, all_ready(1))
            assert (again.restarts, again.reason) == (restarts + 1, "")
        assert waits[0] <= FIRST_S + 1e-9
        assert waits[0] < waits[1] < waits[2]

    run(host, test)


def test_a_failed_start_has_a_reason_and_the_last_log_lines(host):
    async def test(host):
        await host.backend.apply((wish(1, how="fail"), wish(1, "good-1", service="good")))
        seen = await until(host, lambda seen: {r.phase for r in seen} == {ReplicaPhase.BACKING_OFF, ReplicaPhase.READY})
        failed = seen[0]
        assert failed.reason == "model.py:12 the weights are missing"
        assert failed.log_tail == (f"hello from {failed.id}", "line before the failure")
        assert failed.ready_at is None
        seen = await until(host, lambda seen: seen[0].restarts >= 1 and seen[0].phase is ReplicaPhase.BACKING_OFF)
        assert len(seen[0].log_tail) == 2, "of its last life only"

    run(host, test)


def test_a_start_that_works_the_second_time(host, tmp_path):
    async def test(host):
        await host.backend.apply((wish(1, how="fail-once", mark=str(tmp_path / "mark")),))
        (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
        assert fallen.reason.startswith("ended with exit status 7 before it was ready")
        (replica,) = await until(host, all_ready(1))
        assert replica.restarts == 1

    run(host, test)


def test_a_start_that_takes_too_long_is_cut_short(host):
    async def test(host):
        await host.backend.apply((wish(1, how="hang", startup_s=1.5),))
        (fallen,) = await until(host, in_phase(ReplicaPhase.BACKING_OFF))
        assert fallen.reason == "load() did not finish within 1.5s"
        assert fallen.log_tail[0] == f"hello from {fallen.id}"

    run(host, test)


def test_draining_waits_for_what_is_in_flight(host):
    async def test(host):
        await host.backend.apply((wish(1, drain_takes_s=0.4),))
        (replica,) = await until(host, all_ready(1))
        began = host.now()
        await host.backend.apply(())
        (draining,) = await until(host, in_phase(ReplicaPhase.DRAINING))
        assert (draining.address, draining.pid) == (replica.address, replica.pid), "gateways still use it"
        await until(host, lambda seen: seen == ())
        assert host.now() - began >= 0.4

    run(host, test)


def test_draining_ends_by_force(host):
    async def test(host):
        await host.backend.apply((wish(1, how="stubborn", drain_s=0.3),))
        await until(host, all_ready(1))
        began = host.now()
        await host.backend.apply(())
        await until(host, lambda seen: seen == ())
        assert 0.3 <= host.now() - began < 10.0

    run(host, test)


def test_a_replica_that_is_still_starting_is_not_waited_for(host):
    async def test(host):
        await host.backend.apply((wish(1, how="hang", drain_s=100.0),))
        await host.quiet()
        began = host.now()
        await host.backend.apply(())
        await until(host, lambda seen: seen == ())
        assert host.now() - began < 10.0

    run(host, test)


def test_close_takes_whoever_is_there(host):
    async def test(host):
        await host.backend.apply((wish(2), wish(1, "hang-1", how="hang"), wish(1, "fail-1", how="fail")))
        await until(host, lambda seen: sum(replica.phase is ReplicaPhase.READY for replica in seen) == 2)
        await host.backend.close()
        assert host.backend.observe() == ()

    run(host, test)


def test_changed_waits_until_there_is_something_new(host):
    async def test(host):
        await host.backend.apply((wish(1, report_s=100.0),))
        await until(host, host.has_settled)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(host.backend.changed(), 0.15)
            pytest.fail("nothing had changed")
        waiting = asyncio.ensure_future(host.backend.changed())
        await host.backend.apply((wish(2, report_s=100.0),))
        await asyncio.wait_for(waiting, 20)

    run(host, test)


def test_load_and_service_time_are_reported(host):
    async def test(host):
        await host.backend.apply((wish(1),))
        (replica,) = await until(host, lambda seen: all_ready(1)(seen) and bool(seen[0].load))
        assert (replica.load["in_flight"], replica.load["queued"]) == (2.0, 1.0)
        assert replica.service_time == LEARNED

    run(host, test)


def test_logs_of_the_living_and_the_dead(host):
    async def test(host):
        await host.backend.apply((wish(2), wish(1, "other-1", service="other")))
        seen = await until(host, lambda seen: len(seen) == 3 and all(r.phase is ReplicaPhase.READY for r in seen))
        ids, (other,) = [r.id for r in seen if r.service == "echo"], [r.id for r in seen if r.service == "other"]
        await host.quiet()
        await host.backend.apply((wish(1), wish(1, "other-1", service="other")))
        await until(host, lambda seen: len(seen) == 2)
        first, second = sorted(ids)
        lines = host.backend.logs("echo")
        assert sorted(lines) == [f"{first} hello from {first}", f"{second} hello from {second}"]
        assert host.backend.logs("echo", replica=second) == [f"{second} hello from {second}"]
        assert len(host.backend.logs("echo", lines=1)) == 1
        assert host.backend.logs("nobody") == []
        assert host.backend.logs("echo", replica=other) == []

    run(host, test)
