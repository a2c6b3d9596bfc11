"""Event-loop lag over a window."""

from plimsoll.telemetry.lag import LagMeter


def test_the_window_forgets():
    meter = LagMeter(interval_s=0.1, window_s=10.0)
    assert meter.p99() == meter.worst() == 0.0
    meter.observe(0.5)
    for _ in range(99):
        meter.observe(0.001)
    assert meter.worst() == 0.5
    assert meter.p99() == 0.001  # one in a hundred is beyond the p99
    meter.observe(0.4)
    assert meter.worst() == 0.4
    for _ in range(99):
        meter.observe(-0.01)
    assert meter.quantile(0.5) == 0.0
    meter.observe(0.0)
    assert meter.worst() == 0.0


def test_two_of_a_hundred_show_in_the_p99():
    meter = LagMeter()
    for lag in [0.002] * 98 + [0.03, 0.04]:
        meter.observe(lag)
    assert meter.p99() == 0.03
