"""A dead store, as a timeline: one wait, then a second of peace, then twice as long, up to half a minute."""

from plimsoll.policy.caching import Breaker, Use


def test_it_is_used_while_it_works():
    breaker = Breaker()
    assert breaker.closed
    assert [breaker.ask(now) for now in (0, 1, 1e9)] == [Use.YES] * 3
    assert not breaker.worked()


def test_after_a_failure_nobody_uses_it_for_a_second_and_then_one_probe_decides():
    breaker = Breaker()
    assert breaker.failed(now=10)  # news
    assert not breaker.closed
    assert [breaker.ask(now) for now in (10, 10.5, 10.99)] == [Use.NO] * 3
    assert [breaker.ask(now) for now in (11, 11, 12, 50)] == [Use.PROBE, Use.NO, Use.NO, Use.NO]
    assert breaker.worked()  # news
    assert breaker.ask(50) is Use.YES


def test_the_peace_doubles_up_to_half_a_minute_and_an_outage_is_news_once():
    breaker, now, pauses = Breaker(), 0.0, []
    assert breaker.failed(now)
    for _ in range(8):
        began = now
        while breaker.ask(now) is not Use.PROBE:
            now += 0.25
        pauses.append(now - began)
        assert not breaker.failed(now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    breaker.ask(now + 30)
    assert breaker.worked()
    assert breaker.failed(now + 31)  # the next outage begins with a second again
    assert breaker.ask(now + 32) is Use.PROBE


def test_what_was_in_flight_when_it_failed_does_not_count_again():
    breaker = Breaker()
    assert breaker.failed(now=0)
    assert [breaker.failed(now=0.02) for _ in range(50)] == [False] * 50
    assert breaker.failures == 1
    assert breaker.ask(1.0) is Use.PROBE
