"""What the two metrics APIs answer, as plain objects: discovery, lists of values, refusals.

k8s.io/metrics, pkg/apis/external_metrics/v1beta1 and custom_metrics/v1beta2.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from plimsoll.backends.kubernetes.names import DESIRED_METRIC, SIGNALS
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.signals.book import Value
from plimsoll.backends.kubernetes.signals.quantity import quantity

EXTERNAL_GROUP, EXTERNAL_VERSION = "external.metrics.k8s.io", "v1beta1"
CUSTOM_GROUP, CUSTOM_VERSION = "custom.metrics.k8s.io", "v1beta2"
GROUPS = ((EXTERNAL_GROUP, EXTERNAL_VERSION), (CUSTOM_GROUP, CUSTOM_VERSION))


def api_group(group: str, version: str) -> Obj:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [served], "preferredVersion": served}


def api_groups() -> Obj:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [api_group(*one) for one in GROUPS]}


def api_resources(group: str, version: str) -> Obj:
    names, kind = [f"pods/{signal}" for signal in SIGNALS], "MetricValueList"
    if group == EXTERNAL_GROUP:
        names, kind = [DESIRED_METRIC, *SIGNALS], "ExternalMetricValueList"
    resources = [
        {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]} for name in names
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}",
        "resources": resources,
    }


def external_values(metric: str, values: Iterable[Value], wall: datetime) -> Obj:
    items = [
        {
            "metricName": metric,
            "metricLabels": dict(sorted(one.labels.items())),
            "timestamp": _stamp(one, wall),
            "value": quantity(one.value),
        }
        for one in values
    ]
    return _list("ExternalMetricValueList", f"{EXTERNAL_GROUP}/{EXTERNAL_VERSION}", items)


def pod_values(namespace: str, metric: str, values: Iterable[Value], wall: datetime) -> Obj:
    items = [
        {
            "describedObject": {"kind": "Pod", "namespace": namespace, "name": one.name, "apiVersion": "/v1"},
            "metric": {"name": metric, "selector": None},
            "timestamp": _stamp(one, wall),
            "value": quantity(one.value),
        }
        for one in values
    ]
    return _list("MetricValueList", f"{CUSTOM_GROUP}/{CUSTOM_VERSION}", items)


def status(code: int, reason: str, message: str) -> Obj:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _list(kind: str, version: str, items: Sequence[Obj]) -> Obj:
    return {"kind": kind, "apiVersion": version, "metadata": {}, "items": list(items)}


def _stamp(value: Value, wall: datetime) -> str:
    return (wall - timedelta(seconds=value.age_s)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
