"""Nodes as timelines: who waits, which nodes come, when they go. Virtual time."""

from dataclasses import replace

from tests.unit.sim.node_host import FOUR, Host, service

from plimsoll.sim.room import Unlimited
from plimsoll.sim.scenario import NodeClass


def test_what_waits_shares_the_node_that_comes():
    host = Host([FOUR])
    assert host.ask("a", "b", "c") == []
    host.until(0.0)
    assert host.counts() == (0, 1)
    host.until(60.0)
    assert host.ask("d") == []  # the node that comes has room for it
    host.until(61.0)
    assert host.counts() == (0, 1)
    assert host.ask("e") == []
    host.until(179.9)
    assert host.counts() == (0, 2)
    assert host.granted_at == {}
    host.until(180.0)
    assert host.granted_at == dict.fromkeys("abcd", 180.0)
    host.until(240.9)
    assert "e" not in host.granted_at
    host.until(241.0)
    assert host.granted_at["e"] == 241.0
    assert host.room.spare_slots(0) == 3
    assert host.ask("f") == ["f"]
    assert host.room.spare_slots(0) == 2


def test_who_no_longer_waits_gets_nothing_and_the_node_comes_all_the_same():
    host = Host([FOUR])
    host.ask("a")
    host.until(10.0)
    host.release("a")
    host.until(180.0)
    assert host.counts() == (1, 0)
    assert host.granted_at == {}
    host.until(779.9)
    assert host.counts() == (1, 0)
    host.until(780.0)
    assert host.counts() == (0, 0)
    assert host.room.used(1000.0)[0] == {"four": 780.0}


def test_an_empty_node_goes_after_a_while_unless_somebody_came():
    host = Host([FOUR])
    host.ask("a")
    host.until(200.0)
    host.release("a")
    host.until(700.0)
    assert host.ask("b") == ["b"]
    host.until(900.0)
    assert host.counts() == (1, 0)
    host.release("b")
    host.until(1000.0)
    assert host.ask("c") == ["c"]
    host.until(1100.0)
    host.release("c")  # since then it is empty, whatever was before
    host.until(1699.0)
    assert host.counts() == (1, 0)
    host.until(1700.0)
    assert host.counts() == (0, 0)


def test_the_least_are_there_and_stay_and_the_most_are_not_exceeded():
    host = Host([NodeClass("n", {"cpu": 2.0}, provisioning_s=100.0, least=1, most=3, idle_after_s=50.0)])
    assert host.ask(*"abcdefgh") == ["a", "b"]
    host.until(0.0)
    assert host.counts() == (1, 2)
    host.until(500.0)
    assert host.counts() == (3, 0)
    assert set(host.granted_at) == set("cdef")
    host.release("a", "b")
    host.until(500.0)
    assert host.granted_at["g"] == host.granted_at["h"] == 500.0
    host.release(*"cdefgh")
    host.until(10_000.0)
    assert host.counts() == (1, 0)


def test_one_of_the_least_that_was_empty_for_long_goes_when_another_has_come():
    host = Host([NodeClass("n", {"cpu": 1.0}, provisioning_s=100.0, least=1, idle_after_s=30.0)])
    assert host.ask("a", "b") == ["a"]
    host.until(10.0)
    host.release("a")
    host.until(10.0)
    assert host.granted_at == {"b": 10.0}
    host.release("b")
    assert host.ask("c", "d") == ["c"]
    host.until(11.0)
    host.release("c")
    host.until(11.0)
    host.release("d")
    host.ask("e", "f")
    host.until(12.0)
    assert host.counts() == (1, 1)
    host.release("e")  # f has its place
    host.until(12.0)
    host.release("f")
    host.until(99.0)
    assert host.counts() == (1, 1)
    host.until(100.0)  # the first is empty for 88 s
    assert host.counts() == (1, 0)


def test_a_scenario_begins_with_room_for_its_replicas():
    small, large = service("small", 3, cpu=1.0), service("large", 2, cpu=3.0)
    host = Host([FOUR], small, large)
    assert host.counts() == (3, 0)
    assert host.ask("s0", "s1", "s2") == ["s0", "s1", "s2"]  # they don't take the larger ones' place
    assert host.ask("l0", "l1", of=1) == ["l0", "l1"]
    host.until(0.0)
    assert sorted(names for _, names in host.nodes) == [["l0", "s0"], ["l1", "s1"], ["s2"]]


def test_room_for_the_beginning_that_nobody_asks_for_is_let_go():
    host = Host([FOUR], service("s", 8))
    assert host.counts() == (2, 0)
    assert host.ask("a") == ["a"]
    assert host.room.spare_slots(0) == 0
    host.until(0.0)
    assert host.room.spare_slots(0) == 7
    host.until(600.0)
    assert host.counts() == (1, 0)
    soon = Host([replace(FOUR, idle_after_s=0.0)], service("s", 8))
    assert soon.ask("a") == ["a"]
    soon.until(0.0)
    assert soon.counts() == (1, 0)


def test_the_beginning_is_bounded_too():
    host = Host([NodeClass("n", {"cpu": 2.0}, provisioning_s=10.0, most=1)], service("s", 3))
    assert host.ask("a", "b", "c") == ["a", "b"]
    host.until(100.0)
    assert host.granted_at == {}
    host.release("a")
    host.until(100.0)
    assert host.granted_at == {"c": 100.0}


def test_first_fit_with_the_largest_first():
    """Small ones asked first would spread over all nodes: 8 x 1 and 4 x 3 of 4 cores are 5 nodes, not 6."""
    host = Host([FOUR], service("small", cpu=1.0), service("large", cpu=3.0))
    for i in range(8):
        host.ask(f"s{i}", of=0)
        host.ask(f"l{i}", of=1) if i % 2 else None
    host.until(0.0)
    assert host.counts() == (0, 5)
    host.until(180.0)
    assert len(host.granted_at) == 12


def test_the_cheapest_class_for_what_waits():
    big = NodeClass("big", {"cpu": 16.0}, price_per_hour=1.2, provisioning_s=180.0)
    little = NodeClass("little", {"cpu": 2.0}, price_per_hour=0.2, provisioning_s=60.0)
    host = Host([big, little])
    host.ask("a")  # 1.2 for one against 0.2
    host.until(0.0)
    assert [node.kind.spec.name for node in host.room.coming.values()] == ["little"]
    host.until(60.0)
    host.ask(*(f"b{i}" for i in range(17)))  # one has room at once; 1.2 / 16 against 0.2 / 2
    host.until(60.0)
    assert [node.kind.spec.name for node in host.room.coming.values()] == ["big"]
    assert host.room.lead(0) == (180.0, 180.0)


def test_the_next_class_where_the_cheapest_has_its_most():
    spot = NodeClass("spot", {"cpu": 1.0}, price_per_hour=0.1, provisioning_s=100.0, provisioning_p90_s=200.0, most=2)
    sure = NodeClass("sure", {"cpu": 1.0}, price_per_hour=0.5, provisioning_s=30.0, most=1)
    host = Host([sure, spot])
    assert host.room.lead(0) == (100.0, 200.0)
    host.ask(*"abcd")
    host.until(0.0)
    assert sorted(node.kind.spec.name for node in host.room.coming.values()) == ["spot", "spot", "sure"]
    assert host.room.lead(0) == (100.0, 200.0)
    host.until(1e5)
    assert sorted(host.granted_at) == ["a", "b", "c"]


def test_no_lead_where_no_node_can_come():
    host = Host([NodeClass("n", {"cpu": 4.0}, provisioning_s=100.0, least=2, most=2)])
    assert host.room.lead(0) == (0.0, 0.0)
    assert host.room.spare_slots(0) == 8


def test_gpus_are_for_who_needs_them():
    plain = NodeClass("plain", {"cpu": 8.0}, price_per_hour=0.4, provisioning_s=60.0)
    gpu = NodeClass("gpu", {"cpu": 8.0, "gpu": 2.0}, price_per_hour=4.0, provisioning_s=120.0)
    host = Host([gpu, plain], service("llm", cpu=1.0, gpu=1.0), service("api", cpu=1.0))
    assert host.room.lead(0) == (120.0, 120.0)
    assert host.room.lead(1) == (60.0, 60.0)
    host.ask("l0", "l1", "l2", of=0)
    host.ask("a0", of=1)
    host.until(0.0)
    # a0 will fit beside a GPU of the second node: no node is asked for it alone.
    assert sorted(node.kind.spec.name for node in host.room.coming.values()) == ["gpu", "gpu"]
    host.until(120.0)
    assert len(host.granted_at) == 4
    assert host.room.spare_slots(0) == 1
    assert len(host.ask(*(f"b{i}" for i in range(30)), of=1)) == 12  # beside the GPUs: better than to wait
    host.until(300.0)
    assert sorted(name for name, _ in host.nodes) == ["gpu", "gpu", "plain", "plain", "plain"]
    assert len(host.granted_at) == 4 + 18


def test_who_needs_no_gpu_goes_where_there_is_none():
    plain, gpu = NodeClass("plain", {"cpu": 8.0}, least=1), NodeClass("gpu", {"cpu": 8.0, "gpu": 2.0}, least=1)
    host = Host([gpu, plain], service("llm", cpu=1.0, gpu=2.0), service("api", cpu=1.0))
    assert host.ask("l", of=0) == ["l"]  # that node is the fuller one: all its GPUs are given away
    assert host.ask(*(f"a{i}" for i in range(9)), of=1) == [f"a{i}" for i in range(9)]
    assert host.nodes == [("gpu", ["a8", "l"]), ("plain", [f"a{i}" for i in range(8)])]


def test_whoever_is_more_important_goes_first():
    low, high = service("low", priority=0), service("high", priority=5)
    host = Host([NodeClass("n", {"cpu": 2.0}, provisioning_s=10.0, most=1)], low, high)
    host.ask("l0", "l1", of=0)
    host.ask("h0", "h1", of=1)
    host.until(10.0)
    assert sorted(host.granted_at) == ["h0", "h1"]
    host.release("h0")
    assert host.ask("h2", of=1) == []  # at the same moment, those who have waited are asked first
    host.until(10.0)
    assert host.granted_at["h2"] == 10.0
    host.release("h1", "h2")
    host.until(11.0)
    assert host.granted_at["l0"] == host.granted_at["l1"] == 10.0


def test_packed_so_that_nodes_get_empty():
    host = Host([FOUR], service("s", 8))
    names = [f"r{i}" for i in range(8)]
    assert host.ask(*names) == names
    host.until(0.0)
    host.release("r0", "r1", "r4")  # 2 and 3 are left
    assert host.ask("x") == ["x"]
    assert sorted(names for _, names in host.nodes) == [["r2", "r3"], ["r5", "r6", "r7", "x"]]


def test_who_leaves_first_empties_a_node():
    host = Host([FOUR], service("s", 8), service("other", 1))
    names = [f"r{i}" for i in range(8)]
    host.ask(*names)
    host.ask("o", of=1)
    host.until(0.0)
    host.release("r1", "r2")
    order = host.room.leaving(["r7", "r6", "r5", "r4", "r3", "r0", "never"])
    assert order == ["never", "r3", "r0", "r7", "r6", "r5", "r4"]
    assert Unlimited().leaving(["b", "a"]) == ["b", "a"]
    host.release("r3", "r0")
    host.release("r7", "r6", "r5", "r4")
    assert host.ask("x") == ["x"]  # beside the other service's: it is the fullest
    assert ("four", ["o", "x"]) in host.nodes
    assert host.ask(*(f"y{i}" for i in range(3))) == ["y0", "y1", "y2"]
    assert host.room.leaving(["x", "y2"]) == ["y2", "x"]
