"""KEDA's own cases, run against ours: tests/vectors/keda says from which files of kedacore/keda."""

import pytest
from tests.unit.policy.scaling.vectors import cases

from plimsoll.policy.scaling.keda.executor import Behavior, Fallback, ScaledObject, request_scale, with_fallback


def fallback_of(values):
    return None if values is None else Fallback(**values | {"behavior": Behavior(values.get("behavior", "static"))})


@cases("keda/request_scale.json")
def test_request_scale(case):
    so = ScaledObject(**case["object"] | {"fallback": fallback_of(case["object"].get("fallback"))})
    got = request_scale(
        so,
        current=case["current"],
        active=case["active"],
        error=case["error"],
        last_active=case["last_active"],
        now=10_000.0,
    )
    assert got.replicas == case["want"]
    assert got.last_active == (10_000.0 if case["wakes"] else None)
    assert (got.active, got.ready) == (case["condition"], case["ready"])


@cases("keda/fallback.json")
def test_fallback(case):
    got = with_fallback(
        fallback_of(case["fallback"]), case["value"], case["target"], current=case["current"], failures=case["failures"]
    )
    assert got.value == (None if case["want"] is None else pytest.approx(case["want"]))
    assert (got.fallback_active, got.failures) == (case["fallback_active"], case["failures_after"])
