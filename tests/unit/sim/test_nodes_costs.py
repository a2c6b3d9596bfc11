"""Nodes: what they cost in money and watts, how they fail, how long they take, what is refused."""

import pytest
from tests.unit.sim.node_host import FOUR, Host, service

from plimsoll.core.errors import UserError
from plimsoll.sim.room import room_for
from plimsoll.sim.scenario import NodeClass, Scenario


def test_prices_from_the_ask_and_node_seconds_by_class():
    a = NodeClass("a", {"cpu": 1.0}, price_per_hour=3.6, provisioning_s=100.0, idle_after_s=10.0)
    b = NodeClass("b", {"gpu": 1.0}, price_per_hour=36.0, provisioning_s=50.0, least=1)
    host = Host([a, b], service("s"), service("g", gpu=1.0))
    assert host.ask("g", of=1) == ["g"]
    assert host.ask("x") == []
    host.until(130.0)
    assert host.room.used(130.0)[0] == {"a": 130.0, "b": 130.0}
    host.release("x")
    host.until(200.0)
    seconds, cost, _ = host.room.used(200.0)
    assert seconds == {"a": 140.0, "b": 200.0}
    assert cost == pytest.approx(140 * 0.001 + 200 * 0.01)


def test_watts_of_what_is_given_away_and_of_what_is_busy():
    cold = NodeClass("n", {"cpu": 4.0, "memory": 8.0}, least=2, idle_watts=100.0, max_watts=500.0)
    given = Host([cold], service(cpu=1.0, memory=4.0))
    given.ask("a", "b", "c")  # by cores: 2 of 4, and 1 of 4
    given.until(1800.0)
    given.release("c")
    given.until(3600.0)
    wh = 2 * 100.0 + 400.0 * (0.5 + 0.25 / 2)
    assert given.room.used(3600.0)[2] == pytest.approx(wh)

    told = Host([cold], service(cpu=1.0, memory=4.0))
    told.ask("a", "b")
    for _ in range(3600):
        told.room.worked("a", 0.5)
        told.room.worked("gone", 1.0)
    told.until(3600.0)
    assert told.room.used(3600.0)[2] == pytest.approx(2 * 100.0 + 400.0 * 0.5 * 0.25)


def test_power_goes_into_gpus_where_there_are_any():
    gpu = NodeClass("n", {"cpu": 4.0, "gpu": 8.0}, least=1, idle_watts=0.0, max_watts=800.0)
    host = Host([gpu], service("llm", cpu=1.0, gpu=2.0), service("api", cpu=1.0))
    host.ask("l", of=0)
    host.ask("a", of=1)
    host.until(3600.0)
    assert host.room.used(3600.0)[2] == pytest.approx(200.0)


def test_a_failed_node_takes_its_replicas_and_is_replaced():
    cls = NodeClass("n", {"cpu": 2.0}, provisioning_s=60.0, least=2, most=2, mtbf_s=1000.0)
    host = Host([cls], service("s", 4), seed=3)
    host.ask(*"abcd")
    while not host.lost:
        host.until(host.events[0][0])
    failed_at, lost = host.lost[0]
    assert lost in (["a", "b"], ["c", "d"])
    host.release(*lost)  # not needed, and does no harm
    host.until(failed_at)
    assert host.counts() == (1, 1)  # the least are kept
    assert host.ask("x") == []
    host.until(failed_at)
    assert host.counts() == (1, 1)
    while "x" not in host.granted_at:
        host.until(host.events[0][0])
    assert host.granted_at["x"] >= failed_at + 60.0
    seconds, _, _ = host.room.used(host.now)
    assert seconds["n"] == pytest.approx(2 * host.now)  # one fails, and at that moment another is paid


def test_failures_are_exponential_and_repeatable():
    cls = NodeClass("n", {"cpu": 1.0}, provisioning_s=0.0, least=50, mtbf_s=1000.0)

    def count(seed):
        host = Host([cls], service("s", 50), seed=seed)
        host.node_lost = lambda replicas, now: (host.lost.append(now), host.room.ask(f"n{len(host.lost)}", 0, now))
        host.ask(*(f"r{i}" for i in range(50)))
        host.until(20_000.0)
        return len(host.lost), host.room.used(20_000.0)

    failures, used = count(1)
    assert 880 < failures < 1120  # 1000 expected, deviation 32
    assert count(1) == (failures, used)
    assert count(2) != (failures, used)


def test_provisioning_times_are_lognormal_through_median_and_p90():
    cls = NodeClass("n", {"cpu": 1.0}, provisioning_s=180.0, provisioning_p90_s=300.0)
    host = Host([cls])
    names = [f"r{i}" for i in range(2000)]
    host.ask(*names)
    host.until(1e6)
    times = sorted(host.granted_at.values())
    assert len(times) == 2000
    assert times[1000] == pytest.approx(180.0, rel=0.05)
    assert times[1800] == pytest.approx(300.0, rel=0.05)
    assert host.room.lead(0) == (180.0, 300.0)


def test_amounts_add_up_exactly():
    host = Host([NodeClass("n", {"cpu": 0.3, "memory": float("inf")}, least=1, most=1)], service(cpu=0.1, memory=1e12))
    assert host.ask(*"abcd") == ["a", "b", "c"]
    for _ in range(1000):
        host.release("a")
        host.until(host.now)
        name = next(name for name in "ad" if name in host.room._placed)
        host.release(name)
        host.granted_at.clear()
        assert host.ask("a") == ["a"]
        assert host.ask("d") == []
    assert next(iter(host.room.ready.values())).free == [0, 10**30 - 3 * 10**18]


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        (
            [FOUR, NodeClass("nine", {"cpu": 9.0})],
            "service big: no node class has room for a replica, which needs cpu 8, gpu 1 "
            "(four: cpu 4, gpu 0; nine: gpu 0); lower its requests, or add a larger node class",
        ),
        ([NodeClass("none", {"cpu": 9.0, "gpu": 1.0}, most=0)], "none: none may be had"),
        ([FOUR, FOUR], "two of that name"),
        ([NodeClass("n", {"cpu": 9.0}, least=3, most=2)], "node class n: at most 2 nodes and at least 3"),
        ([NodeClass("n", {"cpu": 9.0}, provisioning_s=-1.0)], "provisioning time -1"),
        ([NodeClass("n", {"cpu": float("nan")})], "cpu nan"),
        ([NodeClass("n", {"cpu": 9.0}, mtbf_s=0.0)], "mean time between failures 0"),
    ],
)
def test_what_can_not_be_is_said_at_once(classes, text):
    with pytest.raises(UserError) as error:
        room_for(Scenario([service("big", cpu=8.0, gpu=1.0)], nodes=classes))
    assert text in str(error.value)
