import pytest

from plimsoll.control.reports import ReportBook
from plimsoll.core.snapshot import GatewayReport, ServiceReport


def report(gateway: str = "g0", version: int = 1, **service) -> GatewayReport:
    return GatewayReport(
        gateway, version, (ServiceReport(**({"service": "mood", "requests_per_s": 0.0, "outcomes": {}} | service)),)
    )


def test_several_gateways_sum_rates_and_counts_and_take_the_worst_quantiles():
    book = ReportBook()
    book.take(report("g0", requests_per_s=10, outcomes={"ok": 90, "shed": 10}, p50_s=0.01, p99_s=0.2, held=1))
    book.take(report("g1", requests_per_s=5, outcomes={"ok": 100, "invalid": 50}, p50_s=0.02, p99_s=0.1, in_flight=2))
    traffic = book.traffic("mood")
    assert traffic.requests_per_s == 15
    assert traffic.outcomes == {"ok": 190, "shed": 10, "invalid": 50}
    assert (traffic.p50_s, traffic.p95_s, traffic.p99_s) == (0.02, None, 0.2)
    assert (traffic.in_flight, traffic.held) == (2, 1)
    assert traffic.error_rate == pytest.approx(10 / 200)  # what the client got wrong does not count


def test_no_gateway_means_no_error_rate_instead_of_a_perfect_one():
    assert ReportBook().traffic("mood").error_rate is None


def test_failures_count_what_grows_although_the_window_forgets():
    book = ReportBook()
    for errors in (3, 5, 1, 4):  # 3 are from before; +2; the window drops 4; +3
        book.take(report(outcomes={"replica_lost": errors}))
    assert book.failures("mood") == 5


def test_a_gateway_that_reconnects_counts_nothing_twice():
    book = ReportBook()
    book.take(report(outcomes={}))
    book.take(report(outcomes={"shed": 4}))
    book.forget("g0")
    assert book.gateways == ()
    book.take(report(outcomes={"shed": 4}))
    assert book.failures("mood") == 4


def test_the_lowest_version_is_the_slowest_gateways():
    book = ReportBook()
    assert book.lowest_version() is None
    book.take(report("g0", version=7))
    book.take(report("g1", version=5))
    assert book.lowest_version() == 5


def test_what_is_amiss_at_several_gateways_is_one_line():
    book = ReportBook()
    book.take(GatewayReport("g1", 1, notes=("Redis does not answer",)))
    book.take(GatewayReport("g0", 1, notes=("Redis does not answer", "old keys")))
    assert book.notes() == ("g0, g1: Redis does not answer", "g0: old keys")
    book.forget("g0")
    assert book.notes() == ("g1: Redis does not answer",)
