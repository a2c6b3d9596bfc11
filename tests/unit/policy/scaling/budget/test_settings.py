"""The budget scaler's settings as text."""

from dataclasses import asdict, fields

import pytest
from tests.unit.policy.scaling.budget.timeline import Timeline, bounds

from plimsoll.policy.scaling.budget import BudgetScaling, BudgetSettings, parse_settings
from plimsoll.policy.scaling.named import make


def test_nothing_said_is_the_default():
    assert parse_settings("") == BudgetSettings()
    assert make("budget", bounds()).settings == BudgetSettings()


def test_each_setting_has_its_name():
    for index, field in enumerate(fields(BudgetSettings)):
        found = parse_settings(f"{field.name.replace('_', '-')}=0.{index + 1}")
        assert asdict(found) == asdict(BudgetSettings()) | {field.name: float(f"0.{index + 1}")}


def test_several_and_percent():
    found = parse_settings("price=8, allowed=0.5%")
    assert (found.price, found.allowed) == (8.0, 0.005)
    assert make("budget:price=8,allowed=0.5%", bounds()).settings == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prize=8", "budget has no setting 'prize'; it has allowed, price"),
        ("price=much", "price is a number, not 'much'"),
        ("price=-1", "price must not be negative"),
        ("price=nan", "price must not be negative"),
        ("allowed=0", "allowed lies between 0 and 100%"),
        ("allowed=100%", "allowed lies between 0 and 100%"),
        ("price", "price is a number, not ''"),
    ],
)
def test_what_is_wrong_is_told(text, told):
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        make(f"budget:{text}", bounds())


def test_a_higher_price_of_misses_buys_more_replicas():
    def paid(**more):
        world = Timeline(start=4, seed=2)
        world.policy = BudgetScaling(bounds(), BudgetSettings(**more))
        world.run(900, lambda s: 1000 + 2500 * (s % 90 < 12))
        return world.paid_s, world.missed

    cheap, dear = paid(price=1.0), paid(price=80.0)
    assert cheap[0] < dear[0]
    assert cheap[1] > dear[1]


def test_a_stricter_tail_needs_more():
    def count(**more):
        world = Timeline(start=1)
        world.policy = BudgetScaling(bounds(), BudgetSettings(**more))
        return world.run(400, 480)[-1]

    assert (count(allowed=0.1), count(allowed=1e-9)) == (1, 2)


def test_a_long_lead_has_a_standing_margin():
    def count(**more):
        world = Timeline(start=10, cold_s=60.0)
        world.policy = BudgetScaling(bounds(), BudgetSettings(**more))
        return world.run(300, 5000)[-1]

    assert count(margin_per_lead_s=0.0) < count() <= count(margin_per_lead_s=0.05, most_margin=2.0)


def test_a_stricter_error_budget_buys_more():
    def paid(share):
        world = Timeline(bounds(missed_share=share), start=4, seed=2)
        world.run(900, lambda s: 1000 + 2500 * (s % 90 < 12))
        return world.paid_s, world.missed

    usual, strict = paid(0.01), paid(0.0005)
    assert usual[0] < strict[0]
    assert usual[1] >= strict[1]
    assert paid(0.05) == usual, "a wider one changes nothing: latency's own 1% stands"
