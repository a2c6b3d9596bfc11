"""Adding is fine; taking away or narrowing breaks a file that was valid."""

import copy
from collections.abc import Callable

import pytest

from plimsoll.spec import json_schema
from plimsoll.spec.compat import breaking_changes


def spec_of(schema: dict) -> dict:
    return schema["properties"]["spec"]["properties"]


def changed(change: Callable[[dict], object]) -> list[str]:
    new = copy.deepcopy(json_schema())
    change(new)
    return breaking_changes(json_schema(), new)


def test_nothing_changed_breaks_nothing() -> None:
    assert breaking_changes(json_schema(), json_schema()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: spec_of(s).pop("retry"), ["spec.retry: removed"]),
        (lambda s: spec_of(s)["retry"]["enum"].remove("Never"), ["spec.retry: no longer takes Never"]),
        (
            lambda s: spec_of(s)["replicas"].update(type="string"),
            ["spec.replicas: type narrowed from integer to string"],
        ),
        (
            lambda s: spec_of(s)["model"].update(required=["format"]),
            ["spec.model.format: now required"],
        ),
        (
            lambda s: s["required"].append("status"),
            ["status: now required"],
        ),
        (lambda s: spec_of(s)["replicas"].update(minimum=1), ["spec.replicas: minimum raised from 0 to 1"]),
        (lambda s: spec_of(s)["replicas"].update(maximum=9), ["spec.replicas: maximum lowered from none to 9"]),
        (
            lambda s: spec_of(s)["timeout"].update(pattern="^x$"),
            [r"spec.timeout: pattern changed from ^(0|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)$ to ^x$"],
        ),
        (lambda s: spec_of(s)["model"]["properties"]["path"].update(enum=["a"]), ["spec.model.path: now only a"]),
        (
            lambda s: spec_of(s)["routes"]["items"]["properties"].pop("host"),
            ["spec.routes[].host: removed"],
        ),
        (lambda s: spec_of(s)["routes"].update(uniqueItems=True), ["spec.routes: items must now be unique"]),
        (
            lambda s: s["properties"]["metadata"]["properties"]["labels"].update(additionalProperties=False),
            ["metadata.labels: no longer takes other keys"],
        ),
        (
            lambda s: s["properties"]["metadata"]["properties"]["labels"]["additionalProperties"].update(maxLength=9),
            ["metadata.labels.*: maxLength lowered from none to 9"],
        ),
        (
            lambda s: spec_of(s)["resources"]["properties"]["limits"]["properties"]["cpu"].update(
                anyOf=[{"type": "string"}]
            ),
            ["spec.resources.limits.cpu: type narrowed from integer or string to string"],
        ),
        (
            lambda s: s["properties"]["kind"].update(const="Other"),
            ["kind: no longer takes ModelService"],
        ),
    ],
)
def test_what_breaks(change: Callable[[dict], object], expected: list[str]) -> None:
    assert changed(change) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda s: spec_of(s).update(cache={"type": "object"}),
        lambda s: spec_of(s)["retry"]["enum"].append("Twice"),
        lambda s: spec_of(s)["retry"].pop("enum"),
        lambda s: spec_of(s)["retry"].update(description="other words"),
        lambda s: spec_of(s)["replicas"].update(type="number"),
        lambda s: spec_of(s)["replicas"].update(type=["integer", "string"]),
        lambda s: spec_of(s)["replicas"].pop("type"),
        lambda s: spec_of(s)["replicas"].pop("minimum"),
        lambda s: spec_of(s)["timeout"].pop("pattern"),
        lambda s: spec_of(s).pop("required", None),
        lambda s: spec_of(s)["scaling"].update(additionalProperties=True),
    ],
)
def test_what_does_not_break(change: Callable[[dict], object]) -> None:
    assert changed(change) == []


def test_another_api_version_may_break_everything() -> None:
    new = {"properties": {"apiVersion": {"const": "plimsoll.dev/v1"}}, "additionalProperties": False}
    assert breaking_changes(json_schema(), new) == []
    new["properties"]["apiVersion"]["const"] = "plimsoll.dev/v1alpha1"
    assert breaking_changes(json_schema(), new) == ["kind: removed", "metadata: removed", "spec: removed"]
