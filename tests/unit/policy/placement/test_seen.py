from plimsoll.core.scaling import Bounds, LeadTime, Observation
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.placement import share, want_of

ONE_BY_ONE = ServiceTime(0.0, 0.154, 0.046, 1000)


class Expects:
    """Rates from 20% below `rate` to 20% above."""

    def __init__(self, rate):
        self.mean, self.asked = rate, 0

    def rate(self, ahead_s, quantile):
        self.asked += 1
        return self.mean * (0.8 + 0.4 * quantile)

    def burstiness(self):
        return 1.0


def seen(rate, *, has=1, waiting=0, forecast=None, learned=ONE_BY_ONE):
    return Observation(
        now=0.0, arrived=round(rate), over_s=1.0, replicas=(), wanted=has, service_time=learned,
        lead=LeadTime(8.0, 9.0), forecast=forecast or Expects(rate), waiting=waiting,
    )  # fmt: skip


BOUNDS = Bounds(1, 40, p99_s=0.72, max_batch=1)


def test_replicas_go_by_what_is_coming():
    wants = [want_of(f"job-{rate}", seen(rate), 10, BOUNDS) for rate in (6, 12, 24, 36)]
    granted = share(wants, 14)
    assert sum(granted.values()) == 14
    assert [granted[f"job-{rate}"] for rate in (6, 12, 24, 36)] == sorted(granted.values())
    # 24/s keep 3.7 replicas busy, 36/s 5.5.
    assert granted["job-24"] >= 4
    assert granted["job-36"] >= 5


def test_those_that_wait_count():
    wants = [want_of("quiet", seen(6), 6, BOUNDS), want_of("behind", seen(6, waiting=200), 6, BOUNDS)]
    granted = share(wants, 6)
    assert granted["behind"] > granted["quiet"] >= 1


def test_batches_make_replicas_worth_more():
    batched = ServiceTime(0.004, 0.0015, 0.001, 1000)
    bounds = Bounds(1, 40, p99_s=0.1)
    want = want_of("batched", seen(3000, learned=batched), 10, bounds)
    # 30 of them in 49 ms: about 610 a second each.
    assert want.miss(3) > 0.3
    assert want.miss(6) < 0.02


def test_nothing_is_predicted_where_there_is_room():
    forecast = Expects(30.0)
    want = want_of("job", seen(30.0, forecast=forecast), 5, BOUNDS)
    asked = forecast.asked
    assert share([want], 5) == {"job": 5}
    assert forecast.asked == asked


def test_without_a_forecast_what_came_counts():
    want = want_of("job", seen(30.0, forecast=Expects(0.0)), 5, BOUNDS)
    assert want.rate == 30.0
    assert want.miss(1) > 0.5


def test_without_a_budget_the_timeout_is_what_must_be_kept():
    assert want_of("job", seen(30.0), 5, Bounds(1, 10)).allowed == 0.0
