"""The gate's rules, one timeline each. SLOW takes 4 ms and 1.5 ms an item; budgets of 100 ms."""

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.request import Items, Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.admission import AdmissionGate, ConcurrencyLimit, GateSettings, LimitSettings

SLOW = ServiceTime(a_s=0.004, c_s=0.0015, samples=100)
EXACT = GateSettings(share=0.9, margin_sd=0.0, overhead_s=0.0)


def asking(aim=0.1, size=1):
    return Request("r", arrived=0.0, target=aim, deadline=2 * aim, size=size, key="k", inputs=Items([]))


def decide(finish_s, *, gate=None, aim=0.1, size=1, now=0.0, **more):
    fields = {"service_time": SLOW, "in_flight": 1, **more}
    return (gate or AdmissionGate(EXACT)).decide(asking(aim, size), now, finish_s=finish_s, **fields)


def test_what_fits_its_share_of_the_budget_is_taken():
    assert decide(0.0899) is None
    assert decide(0.0901) is not None


def test_time_spent_before_the_decision_counts():
    assert decide(0.08, now=0.009) is None
    assert decide(0.08, now=0.011) is not None


def test_a_late_loop_counts_on_the_way_in_and_out():
    assert decide(0.08, lag_s=0.0049) is None
    assert decide(0.08, lag_s=0.0051) is not None


def test_spread_and_overhead_count():
    gate = AdmissionGate(GateSettings(share=0.9, margin_sd=2.0, overhead_s=0.001))
    spread = ServiceTime(0.004, 0.0015, sd_s=0.002, samples=100)
    assert decide(0.0849, gate=gate, service_time=spread) is None
    assert decide(0.0851, gate=gate, service_time=spread) is not None


def test_with_nobody_before_it_a_request_may_fill_its_whole_budget():
    assert decide(0.0055, aim=0.006, in_flight=0) is None
    assert decide(0.0055, aim=0.006, in_flight=1) is not None


def test_retry_after_is_the_time_until_there_is_room():
    assert decide(0.2).retry_after_s == 1.0
    assert decide(5.3).retry_after_s == 6.0
    assert decide(1e6).retry_after_s == 60.0


def test_a_budget_below_one_call_is_told_so_and_probed():
    refuse = decide(0.0055, aim=0.005, in_flight=0)
    assert "shorter than one call" in refuse.reason
    assert decide(0.0055, aim=0.005, in_flight=0, probe=True) is None


def test_without_any_time_limit_all_are_taken():
    assert decide(1e9, aim=float("inf")) is None


def test_nothing_learned_leaves_it_to_the_limit():
    gate = AdmissionGate(EXACT, ConcurrencyLimit(LimitSettings(initial=8)))
    unknown = ServiceTime(0.0, 0.0)
    assert decide(1e9, gate=gate, service_time=unknown, in_flight=7) is None
    assert "before anything is known" in decide(0.0, gate=gate, service_time=unknown, in_flight=8).reason


def test_memory_is_guarded_in_items_and_bytes():
    gate = AdmissionGate(GateSettings(max_items=3, max_bytes=100))
    assert gate.guard(3, 0) is None
    assert "full" in gate.guard(4, 0).reason
    assert gate.guard(1, 60, 40) is None
    assert "bytes" in gate.guard(1, 60, 41).reason
    assert gate.guard(1, 0, 500) is None, "one alone is taken, whatever its size"


@given(st.floats(0.001, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.05), st.integers(0, 3))
def test_what_fits_the_room_is_taken(budget_s, finish_s, sd_s, in_flight):
    gate, known = AdmissionGate(), ServiceTime(0.001, 0.001, sd_s, 50)
    request = Request("a", 5.0, 5.0 + budget_s, 6.0 + budget_s, 1, "k", Items([]))
    taken = gate.decide(request, 5.0, finish_s=finish_s, service_time=known, in_flight=in_flight) is None
    room_s = gate.room_s(budget_s, known)
    if finish_s <= room_s - 1e-9:
        assert taken
    elif in_flight and finish_s > room_s + 1e-9:
        assert not taken
    assert gate.room_s(budget_s, ServiceTime(0.001, 0.001)) < 0  # nothing is known: `decide` has to say
