"""Whole fleets under Poisson load in virtual time: what the routing objects do together. a = 4 ms, c = 1.5 ms, batches
of at most 26: 605/s a replica. `pytest -s` prints the figures of docs/routing.md."""

import pytest
from tests.unit.policy.routing.world import CAPACITY, ByCount, Gateway, Replica, World, latency, quantile, share

from plimsoll.core.outcome import Outcome

SEEDS = (1, 2, 3)
SECONDS = 8.0


def fleet(seed, *, load, replicas=4, gateways=1, by_count=False, guard=False, arrange=None, **each):
    """`load`: of what the replicas can do, as `arrange(world, replicas)` returns it."""
    world = World(seed)
    members = [Replica(world, f"r{i}", **each) for i in range(replicas)]
    capacity = replicas * CAPACITY if arrange is None else arrange(world, members)
    choose = ByCount(world.random) if by_count else None
    hosts = [Gateway(world, members, choose=choose, guard=guard) for _ in range(gateways)]
    for host in hosts:
        host.offer(load * capacity / gateways, SECONDS)
    world.run(SECONDS + 2)
    return hosts


def tell(what, seed, hosts, **more):
    jobs = sum(len(host.jobs) for host in hosts)
    p50, p99 = (latency(hosts, q, since=1.0) * 1e3 for q in (0.5, 0.99))
    extra = "  ".join(f"{key} {value}" for key, value in more.items())
    print(f"\n{what:32} seed {seed}  {jobs} requests  p50 {p50:5.1f} ms  p99 {p99:6.1f} ms  {extra}", end="")


def p99(hosts, since=1.0):
    return latency(hosts, 0.99, since=since)


def one_slow(world, replicas):
    replicas[0].slow = 4.0
    return CAPACITY * (len(replicas) - 0.75)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("load", "gateways", "ratio"), [(0.3, 1, 0.6), (0.6, 1, 0.6), (0.8, 1, 0.5), (0.8, 4, 0.7)])
def test_with_a_slow_replica_the_least_wait_beats_the_fewest_outstanding(seed, load, gateways, ratio):
    least = fleet(seed, load=load, gateways=gateways, arrange=one_slow)
    count = fleet(seed, load=load, gateways=gateways, arrange=one_slow, by_count=True)
    tell(f"one 4x slow, {load}x, {gateways} gateways", seed, least)
    tell("  by outstanding", seed, count)
    assert p99(least) < ratio * p99(count)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_among_equals_it_is_no_worse(seed, load):
    least, count = fleet(seed, load=load), fleet(seed, load=load, by_count=True)
    tell(f"equals, {load}x", seed, least)
    tell("  by outstanding", seed, count)
    assert p99(least) < 1.12 * p99(count)


@pytest.mark.parametrize("seed", SEEDS)
def test_four_gateways_that_see_only_their_own_requests_do_not_herd(seed):
    """Each learns of the others' requests from the reports alone. Against one gateway that sees all."""
    one, four = fleet(seed, load=0.8), fleet(seed, load=0.8, gateways=4)
    tell("one gateway, 0.8x", seed, one)
    tell("four gateways", seed, four)
    assert p99(four) < 1.35 * p99(one)
    for name in ("r0", "r1", "r2", "r3"):
        assert all(share(host, name) == pytest.approx(0.25, abs=0.04) for host in four)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gateways", [1, 4])
def test_reports_that_are_renewed_four_times_a_second_do_no_harm(seed, gateways):
    fresh = fleet(seed, load=0.8, gateways=gateways)
    stale = fleet(seed, load=0.8, gateways=gateways, renew_s=0.25)
    tell(f"renewed each 250 ms, {gateways} gateways", seed, stale)
    assert p99(stale) < 2.2 * p99(fresh)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_any_report_it_is_the_fewest_outstanding_of_two(seed):
    silent = fleet(seed, load=0.8, gateways=4, reports=False)
    count = fleet(seed, load=0.8, gateways=4, reports=False, by_count=True)
    tell("no reports, 4 gateways", seed, silent)
    assert p99(silent) == pytest.approx(p99(count), rel=0.15)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [0.05, 0.3, 0.6, 0.9])
def test_where_nothing_is_wrong_nobody_is_accused(seed, load):
    hosts = fleet(seed, load=load, guard=True)
    assert [host.changes for host in hosts] == [[]]
    assert hosts[0].resent == 0


def freezes(world, replicas):
    """The first one stops at 3 s and goes on at 6 s."""

    def freeze():
        replicas[0].freeze(True)

    world.at(3.0, freeze)
    world.at(6.0, lambda: replicas[0].freeze(False))
    return CAPACITY * (len(replicas) - 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("replicas", "load", "gateways"), [(2, 0.6, 1), (2, 0.6, 4), (4, 0.3, 4), (4, 0.6, 1)])
def test_a_frozen_replica_costs_a_delay_and_no_request(seed, replicas, load, gateways):
    """What it had is answered elsewhere inside 100 ms, and no request goes there until it has answered a probe."""
    hosts = fleet(seed, load=load, replicas=replicas, gateways=gateways, guard=True, arrange=freezes)
    before_s = max(job.latency_s for host in hosts for job in host.jobs if job.started < 2.9)
    slowest_s = max(job.latency_s for host in hosts for job in host.jobs)
    resent = sum(host.resent for host in hosts)
    tell(
        f"1 of {replicas} frozen, {load}x, {gateways} gateways", seed, hosts, slowest=round(slowest_s, 3), resent=resent
    )
    assert slowest_s < 0.1
    assert all(job.outcome is Outcome.OK for host in hosts for job in host.jobs)
    for host in hosts:
        sent = [when - 3.0 for job in host.jobs for name, when in job.sent_to if name == "r0" and 3.0 <= when < 6.0]
        assert all(when - sent[0] < 3 * max(before_s, 0.02) for when in sent)
        # Its requests' deadlines are a second away; until then the answer to one of them would do. Then 0.5, 1 s later.
        probes = [when - 3.0 for name, when in host.probes if when < 6.0]
        assert probes == pytest.approx([1.05, 1.55, 2.55], abs=0.1)
        back = [when for job in host.jobs for name, when in job.sent_to if name == "r0" and when > 6.1]
        assert len(back) > 20  # it is used again as soon as it has answered
    assert latency(hosts, 0.99, since=6.5) < 2.5 * latency(hosts, 0.99, since=1.0, until=2.9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gateways", [1, 4])
def test_a_replica_that_fails_everything_is_found_in_eight_requests(seed, gateways):
    """It answers at once, so that it has the shortest queue of all: unguarded it eats most of the traffic."""

    def fails(world, replicas):
        world.at(3.0, lambda: setattr(replicas[0], "fails", True))
        return 3 * CAPACITY

    hosts = fleet(seed, load=0.6, gateways=gateways, guard=True, arrange=fails)
    naked = fleet(seed, load=0.6, gateways=gateways, arrange=fails)
    errors, unguarded = (
        sum(job.outcome is Outcome.MODEL_ERROR for host in group for job in host.jobs) for group in (hosts, naked)
    )
    tell(f"1 of 4 fails, {gateways} gateways", seed, hosts, errors=errors, unguarded=unguarded)
    assert errors <= gateways * (8 + 4)  # and one each probation: after 1, 2, 4 s
    assert unguarded > 40 * errors


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hanging_replica_does_not_get_the_healthy_one_ejected(seed):
    """All the load on the other one of two slows it down: compared with what the frozen one once did, an outlier."""
    (host,) = fleet(seed, load=0.85, replicas=2, guard=True, arrange=freezes)
    assert [change.replica for _, change in host.changes if change.replica == "r1"] == []
    assert quantile([job.latency_s for job in host.jobs], 1.0) < 0.25
