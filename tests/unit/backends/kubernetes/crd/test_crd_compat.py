"""What of a changed definition breaks stored objects or people who use its names."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from plimsoll.backends.kubernetes.crd import crd
from plimsoll.backends.kubernetes.crd.compat import breaking_crd_changes

Obj = dict[str, Any]


def changed(change: Callable[[Obj], object], kind: str = "ModelService") -> list[str]:
    new = copy.deepcopy(crd(kind))
    change(new["spec"])
    return breaking_crd_changes(crd(kind), new)


def spec(one: Obj) -> Obj:
    return one["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]  # type: ignore[no-any-return]


def status(one: Obj) -> Obj:
    return one["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: None,
        lambda one: spec(one)["properties"].update(extra={"type": "string"}),
        lambda one: spec(one)["properties"]["retry"]["enum"].append("Twice"),
        lambda one: spec(one)["properties"]["model"].update(description="Other words."),
        lambda one: spec(one).pop("x-kubernetes-validations"),
        lambda one: status(one)["properties"].pop("url"),
        lambda one: one["names"]["shortNames"].append("ms"),
        lambda one: one["versions"].append(one["versions"][0] | {"name": "v1beta1"}),
        lambda one: one["versions"][0]["additionalPrinterColumns"].pop(),
    ],
)
def test_what_breaks_nothing(change: Callable[[Obj], object]) -> None:
    assert changed(change) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda one: spec(one)["properties"].pop("retry"), "spec.retry: removed"),
        (lambda one: spec(one)["properties"]["retry"]["enum"].remove("Never"), "spec.retry: no longer takes Never"),
        (lambda one: spec(one).update(required=["model", "budget"]), "spec.budget: now required"),
        (
            lambda one: spec(one)["properties"]["routes"].update(maxItems=3),
            "spec.routes: maxItems lowered from 256 to 3",
        ),
        (
            lambda one: spec(one)["x-kubernetes-validations"].append({"rule": "has(self.timeout)", "message": "why"}),
            "spec: a new rule: why",
        ),
        (lambda one: one.update(scope="Cluster"), "scope: changed from Namespaced to Cluster"),
        (lambda one: one["names"].update(plural="services"), "names.plural: changed from modelservices to services"),
        (lambda one: one["names"].update(shortNames=[]), "names.shortNames: no longer msvc"),
        (lambda one: one["versions"][0].update(served=False), "versions: v1alpha1 is no longer served"),
    ],
)
def test_what_breaks(change: Callable[[Obj], object], expected: str) -> None:
    assert changed(change) == [expected]
