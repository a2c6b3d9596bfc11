"""Several Prometheus texts as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parse

from plimsoll.core.outcome import Outcome
from plimsoll.telemetry.merge import merge
from plimsoll.telemetry.metrics import Metrics
from plimsoll.telemetry.serving import GatewayMetrics, ReplicaMetrics


def test_families_are_grouped_once_with_one_help_and_type():
    replicas = [ReplicaMetrics("digits", "digits-1") for _ in range(2)]
    for count, replica in enumerate(replicas, 1):
        for _ in range(count):
            replica.ended(Outcome.OK, 0.01, 0.001, 0.005)
    gateway = GatewayMetrics()
    gateway.service("digits", "digits-1").ended(Outcome.OK, 0.01)
    sources = [({"replica": f"r{i}"}, replica.render()[1].decode()) for i, replica in enumerate(replicas)]
    text = merge([*sources, ({"gateway": "g0"}, gateway.render()[1].decode())])
    lines = text.splitlines()
    heads = [line for line in lines if line.startswith("# TYPE")]
    assert len(heads) == len({line.split()[2] for line in heads})
    families = {family.name: family for family in parse(text)}
    assert families["plimsoll_request_seconds"].type == "histogram"
    ok = {
        next(value for key, value in sample.labels.items() if key in {"replica", "gateway"}): sample.value
        for sample in families["plimsoll_requests"].samples
        if sample.labels["outcome"] == "ok"
    }
    assert ok == {"r0": 1, "r1": 2, "g0": 1}
    # every sample stands in its own family's block
    blocks = [line.split()[2] if line.startswith("#") else line.partition("{")[0] for line in lines]
    current = ""
    for line, name in zip(lines, blocks, strict=True):
        if line.startswith("# HELP"):
            current = name
        assert name.startswith(current)


@pytest.mark.parametrize(
    ("line", "merged"),
    [
        ("up 1", 'up{replica="r"} 1'),
        ("up 1 1700000000000", 'up{replica="r"} 1 1700000000000'),
        ("up{} 1", 'up{replica="r"} 1'),
        ('up{a="b",} 1', 'up{replica="r",a="b"} 1'),
        ('up{replica="own"} 1', 'up{replica="own"} 1'),
        ('up{a="replica=}"} NaN', 'up{replica="r",a="replica=}"} NaN'),
        ('up{a="\\"} 1"} 2', 'up{replica="r",a="\\"} 1"} 2'),
        ("# EOF", None),
        ("# just a remark", None),
        ("broken", None),
        ('broken{a="', None),
        ("", None),
    ],
)
def test_single_lines(line, merged):
    assert merge([({"replica": "r"}, line + "\n")]) == (merged + "\n" if merged else "")


def test_label_values_are_escaped():
    assert merge([({"replica": 'a"\\\n'}, "up 1")]) == 'up{replica="a\\"\\\\\\n"} 1\n'
    assert merge([({}, 'up{a="b"} 1')]) == 'up{a="b"} 1\n'


LABEL_VALUES = st.text(st.characters(exclude_categories=["Cs"]))


@given(values=st.lists(LABEL_VALUES, max_size=5, unique=True), added=LABEL_VALUES)
def test_whatever_the_label_values_nothing_is_lost(values, added):
    metrics = Metrics()
    family = metrics.counter("plimsoll_a_total", "A.", ("x",))
    for value in values:
        family.labels(value).value += 1
    text = merge([({"replica": added}, metrics.render()[1].decode())])
    found = [sample.labels for parsed in parse(text) for sample in parsed.samples]
    assert sorted(labels["x"] for labels in found) == sorted(values)
    assert {labels["replica"] for labels in found} <= {added}


@given(st.text())
def test_any_text_is_survived(text):
    merge([({"replica": "r"}, text)])
