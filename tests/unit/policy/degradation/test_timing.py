"""When a request turns to its fallback, by the second. The service's timeout is 200 ms, its p99 budget 100."""

import pytest

from plimsoll.core.snapshot import FallbackType, FallbackView
from plimsoll.policy.degradation import FallbackTiming

P99_S = {"mood": 0.100, "quick": 0.030, "slow": 0.500, "loose": None}
STATIC = FallbackView(FallbackType.STATIC, body="{}")
STALE = FallbackView(FallbackType.STALE_CACHE, max_age_s=60.0)


def service(name):
    return FallbackView(FallbackType.SERVICE, service=name)


def timing(*steps):
    return FallbackTiming("mood", steps, timeout_s=0.200, grace_s=0.250, p99_s=P99_S)


def test_without_a_fallback_the_replicas_word_is_awaited_a_little_beyond_the_deadline():
    assert timing().until(10.0, 10.2) == pytest.approx(10.450)
    assert timing().until(10.0, 10.001) == pytest.approx(10.251)  # a short time of the client's own as well


@pytest.mark.parametrize("step", [STATIC, STALE])
def test_what_is_at_hand_needs_the_time_to_send_it(step):
    assert timing(step).until(10.0, 10.2) == pytest.approx(10.160)


def test_another_service_needs_its_own_p99():
    assert timing(service("quick")).until(10.0, 10.2) == pytest.approx(10.130)
    assert timing(service("quick"), STATIC).until(10.0, 10.2) == pytest.approx(10.130)  # the first step decides


def test_at_least_half_of_the_time_is_not_the_fallbacks():
    assert timing(service("slow")).until(10.0, 10.2) == pytest.approx(10.100)
    assert timing(service("quick")).until(10.0, 10.05) == pytest.approx(10.025)  # a client that has 50 ms


@pytest.mark.parametrize("name", ["loose", "unknown"])
def test_a_service_without_a_budget_is_taken_to_need_what_the_one_that_was_asked_may_take(name):
    timed = FallbackTiming("mood", (service(name),), timeout_s=1.0, grace_s=0.25, p99_s=P99_S)
    assert timed.until(10.0, 11.0) == pytest.approx(10.860)


def test_a_fallback_service_leaves_time_for_what_comes_after_it():
    timed = timing(service("quick"), STATIC)
    # Asked at 130 ms: it may take until 160, for then the static answer is due; alone it has until after the deadline.
    assert timed.until_with((STATIC,), 10.130, 10.2) == pytest.approx(10.165)
    assert timed.until_with((), 10.130, 10.2) == pytest.approx(10.450)


def test_a_request_that_was_held_has_its_time_from_then_on():
    assert timing(service("quick")).until(15.0, 15.2) == pytest.approx(15.130)
    assert timing(service("slow")).until(15.18, 15.2) == pytest.approx(15.190)
