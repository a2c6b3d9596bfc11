"""`hpa-cpu:70,down=60` and what is wrong with others."""

import pytest

from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.scaling.hpa.objects import Behavior, RatePolicy, RatePolicyType, ScalingRules, SelectPolicy
from plimsoll.policy.scaling.hpa.settings import HpaSettings, default_target_rps, parse_settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hpa-cpu", HpaSettings()),
        ("hpa-cpu:70", HpaSettings(target_cpu=70)),
        (" hpa-cpu : 120% , down = 60 ", HpaSettings(target_cpu=120, down_s=60.0)),
        ("hpa-rps", HpaSettings("hpa-rps")),
        ("hpa-rps:400", HpaSettings("hpa-rps", target_rps=400.0)),
        ("hpa-rps:target=2.5/s,window=2m,sync=30s", HpaSettings("hpa-rps", target_rps=2.5, window_s=120, sync_s=30)),
        ("hpa-cpu:tolerance=0,init=0,delay=5", HpaSettings(tolerance=0, cpu_initialization_s=0, readiness_delay_s=5)),
    ],
)
def test_parsed(text: str, expected: HpaSettings) -> None:
    assert parse_settings(text) == expected


def test_behavior_is_there_where_one_of_its_keys_is() -> None:
    found = parse_settings(
        "hpa-cpu:down=120,up=30,up_pods=4/60s,up_percent=50%/60,down_select=disabled,down_tolerance=0.2"
    )
    assert found.down_s == 120
    assert found.behavior == Behavior(
        ScalingRules(30, None, (RatePolicy(RatePolicyType.PODS, 4, 60), RatePolicy(RatePolicyType.PERCENT, 50, 60))),
        ScalingRules(None, SelectPolicy.DISABLED, None, 0.2),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hpa", "there are hpa-cpu, hpa-rps"),
        ("hpa-cup", "did you mean hpa-cpu"),
        ("hpa-cpu:0", "whole percentage"),
        ("hpa-cpu:0.7", "whole percentage"),
        ("hpa-cpu:target", "whole percentage"),
        ("hpa-cpu:window=60", "unknown setting 'window'"),
        ("hpa-rps:tolerence=1", "did you mean tolerance"),
        ("hpa-rps:target=0", "expected a number"),
        ("hpa-rps:down=2h", "at most 3600"),
        ("hpa-rps:sync=0", "expected 1 s"),
        ("hpa-rps:up_pods=4", "such as 4/15s"),
        ("hpa-rps:up_pods=4/soon", "such as 4/15s"),
        ("hpa-rps:up_pods=0/15", "such as 4/15s"),
        ("hpa-rps:up_pods=4/1801", "1800 at most"),
        ("hpa-rps:up_select=most", "Max, Min or Disabled"),
        ("hpa-cpu:70,80", "unknown setting '80'"),
        ("hpa-cpu:70,target=80", "twice"),
        ("hpa-cpu:tolerance=-1", "expected a number"),
        ("hpa-cpu:tolerance=nan", "expected a number"),
    ],
)
def test_wrong_ones_say_what_is_expected(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_settings(text)


def test_the_default_rate_leaves_time_for_two_batches() -> None:
    learned = ServiceTime(0.004, 0.0015)
    # 100 ms: two batches of 30 (49 ms each), 612/s.
    assert default_target_rps(learned, 0.1, None) == pytest.approx(0.7 * 30 / 0.049)
    assert default_target_rps(learned, 0.1, 8) == pytest.approx(0.7 * 8 / 0.016)
    assert default_target_rps(learned, None, None) == pytest.approx(0.7 * 64 / 0.1)
    assert default_target_rps(learned, 0.001, None) == pytest.approx(0.7 / 0.0055)  # even one by one is too slow
    assert default_target_rps(ServiceTime(0.0, 0.0), 0.1, None) == 1e9
