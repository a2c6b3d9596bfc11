"""How a thousand watchers wait for an API server, in virtual time."""

import random

import pytest

from plimsoll.backends.kubernetes.pacing import Pace, PaceSettings, Why

WATCHERS = 1000
SEED = 7


def attempts(draw, *, away_s, takes_s=0.0, held_s=100.0):
    """When one watcher asks, in seconds from the break of a watch that held, up to the first time it is answered."""
    pace = Pace(PaceSettings(), draw)
    at = pace.wait_s(Why.AWAY, held_s, held=True)
    asked = [at]
    while at < away_s:
        took_s = min(takes_s, away_s - at)  # a request that hangs is answered when the server is there again
        at += took_s
        if at >= away_s:
            break
        at += pace.wait_s(Why.AWAY, took_s, held=False)
        asked.append(at)
    return asked


@pytest.mark.parametrize("away_s", [0.0, 0.3, 2.0, 9.0, 61.7, 600.0])
def test_who_watches_is_back_within_two_seconds(away_s):
    draws = random.Random(SEED)
    print(f"seed {SEED}")
    late = [attempts(draws.random, away_s=away_s)[-1] - away_s for _ in range(WATCHERS)]
    assert max(late) <= 1.5, "and half a second is left for the connection"


def test_they_do_not_come_all_at_once():
    draws = random.Random(SEED)
    print(f"seed {SEED}")
    for away_s in (0.0, 60.0):
        back = [attempts(draws.random, away_s=away_s)[-1] for _ in range(WATCHERS)]
        busiest = max(sum(at <= one < at + 0.02 for one in back) for at in back)
        assert busiest < WATCHERS / 10, f"{busiest} of {WATCHERS} within 20 ms, {away_s} s after a break"


def test_a_dead_server_is_not_hammered():
    draws = random.Random(SEED)
    print(f"seed {SEED}")
    asked = [len(attempts(draws.random, away_s=60.0)) for _ in range(WATCHERS)]
    assert sum(asked) / WATCHERS / 60.0 < 1.0, "requests a second and watcher"
    assert len(attempts(lambda: 0.0, away_s=60.0)) <= 82, "whatever is drawn"


def test_an_attempt_that_waited_for_an_answer_has_waited():
    """A machine that is gone answers nothing: the next SYN must not wait for a pause besides."""
    pace = Pace(PaceSettings(), lambda: 1.0)
    assert pace.wait_s(Why.AWAY, 100.0, held=True) == 0.4
    assert pace.wait_s(Why.AWAY, 5.0, held=False) == 0.0
    assert pace.wait_s(Why.AWAY, 1.0, held=False) == 0.5


def test_what_is_refused_is_asked_later_and_later_and_a_break_begins_anew():
    pace = Pace(PaceSettings(), lambda: 1.0)
    refused = [pace.wait_s(Why.REFUSED, 0.0, held=False) for _ in range(8)]
    assert refused == pytest.approx([0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0])
    assert pace.wait_s(Why.AWAY, 0.0, held=False) == 0.4
    assert pace.wait_s(Why.REFUSED, 0.0, held=False) == 0.4, "a server that has just begun knows no rights for a moment"


def test_a_watch_that_held_is_gone_on_with_at_once_and_one_that_did_not_is_not():
    pace = Pace(PaceSettings(), lambda: 1.0)
    assert pace.wait_s(Why.ENDED, 290.0, held=True) == 0.0
    assert [pace.wait_s(Why.ENDED, 0.0, held=True) for _ in range(3)] == [0.4, 0.8, 1.6]
    assert pace.wait_s(Why.AWAY, 0.0, held=False) <= 1.5
    assert pace.wait_s(Why.ENDED, 290.0, held=True) == 0.0
    assert pace.wait_s(Why.AWAY, 0.0, held=True) == 0.4
