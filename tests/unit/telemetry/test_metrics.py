"""The registry, its Prometheus text, and the product's own families."""

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from plimsoll.core.outcome import Outcome
from plimsoll.telemetry.metrics import OPENMETRICS, TEXT, Metrics, wants_openmetrics
from plimsoll.telemetry.serving import ControllerMetrics, GatewayMetrics, ReplicaMetrics

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


def samples(rendered):
    text = rendered[1].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def test_cells_are_made_once_and_rendered():
    metrics = Metrics()
    counter = metrics.counter("plimsoll_things_total", 'Things, "quoted" \\ and\nbroken.', ("kind",))
    counter.labels('a"\\\n').value += 2
    assert counter.labels("b") is counter.labels("b")
    metrics.gauge("plimsoll_level", "A level.", read=lambda: 7.5)
    metrics.gauge("plimsoll_set", "A level.", ("k",)).labels("x").value = 3
    metrics.histogram("plimsoll_wait_seconds", "Waits.", bounds=[1, 2]).labels().observe(1.5)
    content_type, _ = metrics.render()
    assert content_type == TEXT
    got = samples(metrics.render())
    assert got["plimsoll_things_total", (("kind", 'a"\\\n'),)] == 2
    assert got["plimsoll_things_total", (("kind", "b"),)] == 0
    assert got["plimsoll_level", ()] == 7.5
    assert got["plimsoll_set", (("k", "x"),)] == 3
    assert got["plimsoll_wait_seconds_bucket", (("le", "2.0"),)] == 1
    assert got["plimsoll_wait_seconds_bucket", (("le", "+Inf"),)] == 1
    assert got["plimsoll_wait_seconds_count", ()] == 1
    assert got["plimsoll_wait_seconds_sum", ()] == 1.5


def test_mistakes_in_families_are_told_at_once():
    metrics = Metrics()
    family = metrics.counter("plimsoll_a_total", "A.", ("x",))
    with pytest.raises(ValueError, match="labels"):
        family.labels()
    with pytest.raises(ValueError, match="already"):
        metrics.gauge("plimsoll_a_total", "A.")
    with pytest.raises(ValueError, match="_total"):
        metrics.counter("plimsoll_b", "B.")


def test_forgetting_a_service_ends_its_series_only():
    metrics = Metrics()
    family = metrics.counter("plimsoll_a_total", "A.", ("service", "outcome"))
    for service in ("one", "two"):
        family.labels(service, "ok").value += 1
    family.forget("one")
    assert [values for values, _ in family] == [("two", "ok")]


def test_who_gets_openmetrics():
    assert wants_openmetrics(b"application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert not wants_openmetrics(b"text/plain")
    assert not wants_openmetrics(None)


def test_a_replica_counts_outcomes_and_times():
    replica = ReplicaMetrics("digits", "digits-1")
    replica.ended(Outcome.OK, 0.004, 0.001, 0.002)
    replica.ended(Outcome.EXPIRED, 0.3, 0.3, 0.0)
    replica.ended(Outcome.INVALID, 0.0001, 0.0, 0.0)
    replica.batch(3)
    got = samples(replica.render())
    both = (("revision", "digits-1"), ("service", "digits"))
    assert got["plimsoll_requests_total", (("outcome", "ok"), *both)] == 1
    assert {dict(labels)["outcome"] for name, labels in got if name == "plimsoll_requests_total"} == set(Outcome)
    assert got["plimsoll_request_seconds_count", both] == 1  # the answered one
    assert got["plimsoll_queue_seconds_count", both] == 2
    assert got["plimsoll_compute_seconds_sum", both] == 0.002
    assert got["plimsoll_batch_size_sum", both] == 3
    assert replica.requests() == 3


def test_a_gateway_counts_each_service_and_forgets_the_gone():
    gateway = GatewayMetrics()
    digits = gateway.service("digits", "digits-1")
    assert gateway.service("digits", "digits-1") is digits
    digits.ended(Outcome.OK, 0.01)
    digits.retries.value += 1
    gateway.service("", "").ended(Outcome.NOT_FOUND, 0.0001)
    gateway.endpoints("digits", lambda: 2)
    got = samples(gateway.render())
    assert got["plimsoll_retries_total", (("service", "digits"),)] == 1
    assert got["plimsoll_endpoints", (("service", "digits"),)] == 2
    gateway.forget("digits")
    assert {dict(labels).get("service") for _, labels in samples(gateway.render())} == {"", None}


@pytest.mark.parametrize(
    "bundle", [ReplicaMetrics("s", "r"), GatewayMetrics(), ControllerMetrics()], ids=lambda b: type(b).__name__
)
def test_both_formats_parse_and_hold_the_same_numbers(bundle):
    content_type, body = bundle.render(openmetrics=True)
    assert content_type == OPENMETRICS
    assert body.endswith(b"# EOF\n")
    families = list(parse_openmetrics(body.decode()))
    assert sum(len(family.samples) for family in families) == len(samples(bundle.render()))
    assert {family.name for family in families} == {family.name for family in parse(bundle.render()[1].decode())}


def test_the_document_lists_every_family_as_it_is():
    rows = {}
    for line in DOCUMENT.read_text().splitlines():
        match = re.match(r"\| `(plimsoll_\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", line)
        if match:
            name, kind, labels, unit, where, meaning = match.groups()
            rows[name] = (kind, labels, unit, where, meaning)
    seen = {}
    for where, bundle in (
        ("replica", ReplicaMetrics("s", "r")),
        ("gateway", GatewayMetrics()),
        ("controller", ControllerMetrics()),
    ):
        for family in bundle.metrics.families.values():
            hosts = [*seen.get(family.name, ("", "", "", "", ""))[3].split(", "), where]
            labels = ", ".join(f"`{label}`" for label in family.labelnames)
            seen[family.name] = (family.kind, labels, family.unit, ", ".join(filter(None, hosts)), family.meaning)
    assert rows == seen
