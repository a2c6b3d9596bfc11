"""Traffic as timelines through the whole simulated world, request by request, under the budget scaler.

A model of t(b) = 20 + 10·b ms with a p99 budget of 500 ms: a replica serves some 80 requests a second, so that a few
minutes of traffic pass in a second. Seeds are printed.
"""

from itertools import pairwise
from math import sin, tau

import pytest

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Rates, Segment, Trace
from plimsoll.sim import simulate
from plimsoll.sim.scenario import Fault, Scenario, Service, Traffic

MODEL = Profile(a_s=0.02, c_s=0.01, spread=0.2, cold_s=8.0)
ONE = 80.0  # requests/s


def line(*points):
    """Rates along a line through (seconds, requests a second)."""
    return Rates([Segment(at, until, rate, then) for (at, rate), (until, then) in pairwise(points)])


def play(rates, policy="budget", *, seed=1, least=1, most=20, start=None, faults=(), profile=MODEL, **bounds):
    limits = Bounds(least, most, p99_s=0.5, timeout_s=1.0, **bounds)
    service = Service("one", Traffic(Trace(rates=rates), seed), profile, limits, policy=policy, start_replicas=start)
    found = simulate(Scenario([service], seed=seed, faults=faults)).services[0]
    told = f"{policy}, seed {seed}: {found.missed_share:.2%} late or refused, {found.replica_s:.0f} replica-seconds"
    print(f"{told}, {len(found.acts)} acts")
    return found


def missed(found, first_s, last_s):
    """Share of what was offered in these seconds."""
    line = found.timeline
    part = slice(int(first_s / line.step_s), int(last_s / line.step_s))
    return sum(line.missed[part]) / max(sum(line.offered[part]), 1)


# --- crowds and tides -------------------------------------------------------------------------------------------------

CROWD = line((0, 40), (240, 40), (270, 200), (480, 200))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_five_times_the_load_within_half_a_minute(seed):
    """New replicas take 8 s. Beside it the HPA on requests a second, at its defaults."""
    ours, theirs = play(CROWD, seed=seed), play(CROWD, "hpa-rps", seed=seed)
    assert ours.missed_share < 0.02
    assert missed(ours, 300, 480) < 0.005, "soon over"
    assert ours.missed_share < theirs.missed_share / 2, "fewer misses"
    cautious = play(CROWD, "hpa-rps:target=20", seed=seed)
    assert cautious.missed_share > ours.missed_share or cautious.replica_s > ours.replica_s, "or cheaper"


def test_after_the_crowd_nobody_is_kept():
    found = play(line((0, 40), (120, 40), (130, 400), (180, 400), (190, 40), (480, 40)))
    line_ = found.timeline
    assert max(line_.wanted) >= 400 / ONE
    assert line_.wanted[-1] == 1
    assert found.outcomes.get("replica_lost", 0) == 0, "who goes finishes what it has"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_tide(seed):
    tide = line(*[(second, 150 + 120 * sin(second / 600 * tau)) for second in range(0, 1201, 20)])
    ours, theirs = play(tide, seed=seed, start=3), play(tide, "hpa-rps", seed=seed, start=3)
    assert ours.missed_share < 0.005
    assert ours.replica_s < 1.6 * ours.offered / ONE
    assert ours.replica_s < theirs.replica_s
    high = max(ours.timeline.wanted[60:])
    assert high >= 4
    assert min(ours.timeline.wanted[60:]) <= 2


# --- to zero and back -------------------------------------------------------------------------------------------------


def test_to_zero_and_back():
    traffic = line((0, 10), (60, 10), (60.001, 0), (200, 0), (200.001, 10), (300, 10))
    quick = Profile(a_s=0.02, c_s=0.01, spread=0.2, cold_s=0.4)
    found = play(traffic, least=0, start=1, zero_after_s=30.0, profile=quick)
    wanted = found.timeline.wanted
    assert wanted[50] == 1
    assert wanted[100:195] == [0] * 95
    assert wanted[-1] == 1
    assert missed(found, 0, 200) == 0.0
    assert missed(found, 202, 300) < 0.01
    assert found.outcomes.get("no_replica", 0) == 0, "the first ones were held, not refused"
    zero, one = found.acts
    assert zero.reason.startswith("1 → 0: no request for 30")
    assert one.reason.startswith("0 → 1")
    assert one.at_s - 200 < 1.5, "on the first request"


# --- faults -----------------------------------------------------------------------------------------------------------

STEADY = line((0, 300), (300, 300))


def test_half_the_replicas_die():
    found = play(STEADY, start=5, faults=[Fault(100, "kill", share=0.5)])
    line_ = found.timeline
    assert min(line_.ready[100:105]) <= 3
    assert line_.ready[112:140] == line_.wanted[112:140]
    assert max(line_.wanted) <= 6, "the loss is not taken for a lack of capacity"
    assert missed(found, 0, 100) < 0.01
    assert missed(found, 115, 300) < 0.01, "a start later all is well"


def test_metrics_that_stop():
    found = play(STEADY, start=5, faults=[Fault(100, "metrics", for_s=100)])
    wanted = found.timeline.wanted
    assert len(set(wanted[99:200])) == 1
    assert found.missed_share < 0.01


def test_metrics_that_stop_while_the_load_rises():
    rising = line((0, 100), (100, 100), (200, 300), (300, 300))
    found = play(rising, start=2, faults=[Fault(100, "metrics", for_s=60)])
    assert len(set(found.timeline.wanted[99:159])) == 1
    assert found.timeline.wanted[-1] >= 4
    assert missed(found, 220, 300) < 0.01, "it catches up"


def test_starts_that_fail():
    rising = line((0, 100), (100, 100), (130, 400), (400, 400))
    found = play(rising, start=2, faults=[Fault(90, "start", for_s=120)])
    line_ = found.timeline
    assert max(line_.ready[90:210]) == 2, "nobody new gets ready"
    assert len(set(line_.wanted[150:210])) == 1, "and no more are asked for"
    assert line_.wanted[200] <= 400 / ONE + 3
    assert missed(found, 290, 400) < 0.02, "once starts succeed again all is well"


def test_a_model_that_is_slower_than_its_profile():
    """The replicas learn it, and so the scaler."""
    slow = Profile(a_s=0.02, c_s=0.01, spread=0.2, cold_s=8.0, overhead_s=0.15)
    found = play(STEADY, start=4, profile=slow)
    assert missed(found, 120, 300) < 0.02


# --- limits -----------------------------------------------------------------------------------------------------------


def test_most_lower_than_needed_says_what_is_missed():
    found = play(line((0, 60), (60, 60), (60.001, 400), (200, 400)), most=3)
    assert max(found.timeline.wanted) == 3
    assert missed(found, 120, 200) == pytest.approx(1 - 3 * ONE / 400, abs=0.1)
    told = [act.reason for act in found.acts if "would be late or refused" in act.reason]
    assert told, [act.reason for act in found.acts]


def test_an_impossible_budget_is_told_in_the_first_second():
    hopeless = Profile(a_s=0.5, c_s=0.1, spread=0.1, cold_s=8.0)
    found = play(line((0, 5), (20, 5)), start=2, profile=hopeless)
    assert set(found.timeline.wanted) == {2}


# --- steady load ------------------------------------------------------------------------------------------------------


def turns(found, after_s=60.0):
    """Most changes of direction within any five minutes."""
    ways = [(act.at_s, act.after > act.before) for act in found.acts if act.at_s > after_s]
    turned = [at for (_, was), (at, now) in pairwise(ways) if was != now]
    return max((sum(first <= at < first + 300 for at in turned) for first in turned), default=0)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("rate", [5, 60, 75, 150, 235, 320])
def test_steady_load_is_left_alone(rate, seed):
    found = play(line((0, rate), (720, rate)), seed=seed)
    assert turns(found) <= 1, [act.reason for act in found.acts]
    assert missed(found, 60, 720) < 0.01
