import pytest

from plimsoll.policy.routing import Rendezvous

KEYS = [f"user-{i}".encode() for i in range(6_000)]


def owners(names):
    ring = Rendezvous(names)
    return [ring.names[ring.best(key)] for key in KEYS]


def names(count):
    return [f"sentiment-00001-{i:05d}" for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_keys_spread_evenly(count):
    counts = [owners(names(count)).count(name) for name in names(count)]
    mean = len(KEYS) / count
    assert max(abs(n - mean) for n in counts) < 5 * mean**0.5  # five deviations of a fair throw


@pytest.mark.parametrize("count", [2, 4, 10])
def test_one_more_replica_takes_its_part_and_moves_nothing_else(count):
    before, after = owners(names(count)), owners(names(count + 1))
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {new for _, new in moved} == {names(count + 1)[-1]}
    assert len(moved) / len(KEYS) == pytest.approx(1 / (count + 1), rel=0.12)


def test_one_less_moves_only_its_own_and_spreads_them():
    everyone = names(5)
    before, after = owners(everyone), owners(everyone[:2] + everyone[3:])
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {old for old, _ in moved} == {everyone[2]}
    heirs = [new for _, new in moved]
    assert min(heirs.count(name) for name in set(heirs)) > len(heirs) / 4 * 0.8
    assert len(set(heirs)) == 4


def test_the_order_of_the_names_does_not_matter():
    assert owners(names(6)) == owners(names(6)[::-1])


def test_an_unusable_one_gives_way_to_the_next_in_the_ranking():
    ring = Rendezvous(names(5))
    for key in KEYS[:200]:
        order = ring.order(key)
        assert sorted(order) == list(range(5))
        assert ring.best(key) == order[0]
        assert ring.best(key, lambda index, out=order[:2]: index not in out) == order[2]
        assert ring.best(key, lambda index: False) is None


def test_nobody():
    assert Rendezvous([]).best(b"x") is None
    assert Rendezvous([]).order(b"x") == []


def test_rankings_of_a_key_are_independent():
    """The second choice of one replica's keys is as even as the first: no neighbour takes all."""
    ring = Rendezvous(names(4))
    seconds = [ring.order(key)[1] for key in KEYS if ring.best(key) == 0]
    for index in (1, 2, 3):
        assert seconds.count(index) / len(seconds) == pytest.approx(1 / 3, abs=0.06)


def test_every_gateway_agrees():
    """Written down: another process, another version must give the same."""
    assert [Rendezvous(names(8)).best(key) for key in (b"", b"a", b"user-1", b"\xff" * 40)] == [5, 6, 0, 5]
