"""An HPA, of autoscaling/v1 or v2, as `spec.scaling`: the same metrics, targets and bounds, by the same rule."""

from collections.abc import Mapping
from typing import Any

from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.units import parse_quantity

# What tutorials and adapters call it. Ours has one name, and comes from the gateways: no adapter, no Prometheus.
_RATES = ("requests_per_second", "http_requests_per_second", "http_requests", "requests_per_sec", "rps")


GUESSED = {"cpu": "1", "memory": "512Mi"}


def scaling_of(hpa: Mapping[str, Any], requests: Mapping[str, Any], notes: list[str]) -> Obj:
    """`requests`: of the container. Adds to `notes` what didn't fit."""
    spec: Mapping[str, Any] = hpa["spec"]
    least = spec.get("minReplicas", 1)
    if least == 0:
        notes.append("scaling.minReplicas: the autoscaler's 0 is 1 here; to go to zero choose policy Budget or KPA")
    scaling: Obj = {"minReplicas": max(1, least), "maxReplicas": spec["maxReplicas"], "policy": "HPA", "writer": "HPA"}
    chosen = _metrics(spec, requests, notes)
    if chosen is not None:
        scaling["hpa"] = chosen
    else:
        # Something must decide; what the metric was isn't known here.
        notes.append("scaling.hpa: none of the autoscaler's metrics has a counterpart; CPU at 70% stands in")
    _behavior(spec.get("behavior") or {}, scaling, notes)
    return scaling


def _metrics(spec: Mapping[str, Any], requests: Mapping[str, Any], notes: list[str]) -> Obj | None:
    cpu = memory = rate = None
    if spec.get("targetCPUUtilizationPercentage"):  # v1
        cpu = _share(spec["targetCPUUtilizationPercentage"], "cpu", notes)
    for metric in spec.get("metrics") or []:
        kind, body = metric.get("type"), metric.get(str(metric.get("type", "")).lower()) or {}
        body = metric.get("containerResource") or body if kind == "ContainerResource" else body
        if kind in ("Resource", "ContainerResource") and body.get("name") in ("cpu", "memory"):
            found = _resource(body, requests, notes)
            cpu, memory = (found, memory) if body["name"] == "cpu" else (cpu, found)
        elif kind == "Pods" and (body.get("metric") or {}).get("name") in _RATES:
            rate = _number(str((body.get("target") or {}).get("averageValue", "")))
        else:
            name = (body.get("metric") or {}).get("name") or body.get("name") or ""
            notes.append(f"scaling.hpa: the metric {kind} {name}".rstrip() + " has no counterpart and is left out")
    if rate is not None and (cpu or memory):
        notes.append(
            "scaling.hpa: CPU is left out beside requests_per_second; policy Budget looks at more than one thing"
        )
    if rate is not None:
        return {"metric": "RequestsPerSecond", "target": rate}
    if cpu is None and memory is not None:
        notes.append("scaling.hpa.target: the autoscaler looked at memory alone; CPU at 70% counts too")
        return {"metric": "CPU", "target": "70%", "memoryTarget": memory}
    if cpu is None:
        return None
    for resource in ("cpu", *(("memory",) if memory else ())):
        if resource not in requests:
            notes.append(
                f"resources.requests.{resource}: the Deployment has none, so its autoscaler never had a share of it to "
                f"look at; {GUESSED[resource]} is a guess: measure with plimsoll profile"
            )
    return {"metric": "CPU", "target": cpu} | ({"memoryTarget": memory} if memory else {})


def _resource(body: Mapping[str, Any], requests: Mapping[str, Any], notes: list[str]) -> str | None:
    target = body.get("target") or {}
    name = str(body["name"])
    if target.get("averageUtilization"):
        return _share(target["averageUtilization"], name, notes)
    value, request = target.get("averageValue"), requests.get(name)
    if value is None or request is None:
        notes.append(f"scaling.hpa: {name} aims at {value or 'nothing'} without a request to compare with; left out")
        return None
    return _share(round(100 * parse_quantity(str(value)) / parse_quantity(str(request))), name, notes)


def _share(percent: int, name: str, notes: list[str]) -> str:
    if percent > 100:
        notes.append(f"scaling.hpa: {name} aimed at {percent}% of its request; a share ends at 100%: raise the request")
    return f"{min(100, max(1, percent))}%"


def _number(quantity: str) -> str:
    """`10` of "10", `0.5` of "500m"."""
    return f"{parse_quantity(quantity):.6g}"


def _behavior(behavior: Mapping[str, Any], scaling: Obj, notes: list[str]) -> None:
    down, up = behavior.get("scaleDown") or {}, behavior.get("scaleUp") or {}
    if "stabilizationWindowSeconds" in down:
        scaling["scaleDown"] = {"stabilizationWindow": f"{down['stabilizationWindowSeconds']}s"}
    if down.get("policies") or down.get("selectPolicy") or up:
        notes.append("scaling: behavior's policies are left out; Kubernetes' own rates hold")
