"""Requests by tenant: counted under names that the snapshot knows, and never without bound."""

from plimsoll.core.outcome import Outcome
from plimsoll.telemetry.serving import GatewayMetrics


def series(metrics):
    lines = metrics.render()[1].decode().splitlines()
    return [line for line in lines if line.startswith("plimsoll_tenant_requests_total{")]


def test_a_tenants_requests_are_counted_by_outcome_until_it_is_gone():
    metrics = GatewayMetrics()
    metrics.tenant("shop")[Outcome.OK].value += 2
    metrics.tenant("shop")[Outcome.THROTTLED].value += 1
    assert 'plimsoll_tenant_requests_total{outcome="ok",tenant="shop"} 2.0' in series(metrics)
    assert 'plimsoll_tenant_requests_total{outcome="throttled",tenant="shop"} 1.0' in series(metrics)
    metrics.forget_tenant("shop")
    assert series(metrics) == []
    metrics.forget_tenant("never-seen")


def test_ten_thousand_tenants_do_not_make_ten_thousand_series():
    metrics = GatewayMetrics()
    for number in range(10_000):
        metrics.tenant(f"tenant-{number}")[Outcome.OK].value += 1
    assert len({line.split('tenant="')[1] for line in series(metrics) if 'outcome="ok"' in line}) == 501
    assert 'plimsoll_tenant_requests_total{outcome="ok",tenant="(others)"} 9500.0' in series(metrics)
