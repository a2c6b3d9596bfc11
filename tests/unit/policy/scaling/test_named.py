import pytest
from tests.unit.policy.scaling.world import seen

from plimsoll.core.scaling import Bounds
from plimsoll.policy.scaling.named import NAMES, make, split

BOUNDS = Bounds(1, 10)


@pytest.mark.parametrize(
    "text", ["kpa", "kpa:rps=400,window=30s", "fixed:8", "schedule:0 8 * * *=6", "keda", "keda:rps=400"]
)
def test_makes_what_is_named(text):
    policy = make(text, BOUNDS)
    assert policy.name.startswith(text.partition(":")[0])
    decision = policy.decide(seen(1000.0))
    assert 1 <= decision.replicas <= 10
    assert f"{decision.replicas}: " in decision.reason


def test_every_call_makes_a_fresh_one():
    assert make("kpa", BOUNDS) is not make("kpa", BOUNDS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kba", "did you mean kpa?"),
        ("hpa", "did you mean"),
        ("", "there are budget, hpa-cpu"),
        ("fixed", "as in fixed:8"),
        ("fixed:-1", "as in fixed:8"),
        ("kpa:taget=3", "kpa: unknown setting 'taget'"),
        ("kpa:window=30s,window=40s", "twice"),
        ("kpa:window=2s", "6s to 1h"),
        ("kpa:window=6.5s", "whole seconds"),
        ("kpa:concurrency=", "needs a value"),
        ("kpa:concurrency=nan", "expected a number"),
        ("kpa:concurrency=3,rps=3", "not both"),
        ("kpa:utilization=120%", "70%"),
        ("kpa:panic-threshold=100%", "110%"),
        ("kpa:window=5x", "no duration"),
        ("schedule:", "needs lines"),
        ("schedule:0 8 * *=6", "5 fields"),
        ("schedule:0 8 * * *", "needs a count"),
        ("schedule:99 8 * * *=6", "bad minute"),
        ("schedule:0 8 31 2 *=6", "schedule: '0 8 31 2 *'"),
        ("schedule:0 8 * * *=6;tz=Europe/Berln", "did you mean Europe/Berlin?"),
    ],
)
def test_a_wrong_text_says_what_is_wrong(text, says):
    with pytest.raises(ValueError, match=r".") as caught:
        make(text, BOUNDS)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_splits_a_list_at_names_only():
    text = "budget,hpa-cpu,kpa:concurrency=10,window=30s,keda:queue=8,fixed:8,oracle"
    assert split(text) == ["budget", "hpa-cpu", "kpa:concurrency=10,window=30s", "keda:queue=8", "fixed:8", "oracle"]
    text = "schedule:0 8,12 * * 1,2=4;0 20 * * *=1,fixed:3"
    assert split(text) == ["schedule:0 8,12 * * 1,2=4;0 20 * * *=1", "fixed:3"]


def test_a_misspelt_name_stays_one_of_its_own():
    assert split("fixed:3,hpacpu") == ["fixed:3", "hpacpu"]
    assert split(" kpa , ,keda") == ["kpa", "keda"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("fixed", "schedule")])
def test_needs_no_settings(name):
    assert make(name, BOUNDS).name == name


def test_a_bare_value_is_the_target():
    assert make("kpa:10,window=30s", BOUNDS).settings.target == 10
    assert make("keda:8", BOUNDS).settings == make("keda:queue=8", BOUNDS).settings
