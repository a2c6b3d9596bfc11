"""The HPA controller: metrics from the aggregated APIs (external and custom), the algorithm of policy.scaling.hpa."""

import asyncio
import logging
import time

from tests.kube import selectors
from tests.kube.access import service_account
from tests.kube.api import Write, timestamp
from tests.kube.controllers import pods
from tests.kube.errors import ApiError

from plimsoll.policy.scaling.hpa import objects as hpa
from plimsoll.policy.scaling.hpa.arithmetic import milli
from plimsoll.policy.scaling.hpa.autoscaler import ABLE, ACTIVE, ControllerSettings, HorizontalPodAutoscaler

log = logging.getLogger("tests.kube")
STORE = ("autoscaling", "horizontalpodautoscalers")
EXTERNAL, CUSTOM = "/apis/external.metrics.k8s.io/v1beta1", "/apis/custom.metrics.k8s.io/v1beta2"
_USER = service_account("kube-system", "horizontal-pod-autoscaler")


class Autoscaler:
    """`sync_s`: 15 s on a cluster. CPU and memory are unknown: nothing here plays metrics-server."""

    sync_s = 1.0

    def __init__(self, api, aggregation):
        self.api, self._aggregation = api, aggregation
        self._known = {}  # uid -> (spec, HorizontalPodAutoscaler)

    async def run(self):
        while True:
            for record in self.api.store.list(STORE):
                try:
                    await self._sync(record)
                except ApiError as error:
                    log.info("autoscaler: %s: %s", record.name, error)
                except Exception:
                    log.exception("autoscaler: %s", record.name)
            await asyncio.sleep(self.sync_s)

    async def _sync(self, record):
        obj, namespace = record.obj, record.namespace
        reference = obj["spec"]["scaleTargetRef"]
        kind = self.api.kind(reference["apiVersion"], reference["kind"])
        target = self.api.store.get(kind.store, namespace, reference["name"])
        if target is None:
            self._write(record, {}, {ABLE: (False, "FailedGetScale", f"{reference['name']} not found")})
            return
        scale = self.api.scale(kind, target.obj)
        now = hpa.Scale(scale["spec"]["replicas"], scale["status"]["replicas"])
        found = self._autoscaler(obj)
        pod_objects = self._pods(scale, namespace)
        metrics, problem = await self._metrics(obj, namespace, scale)
        result = found.reconcile(now, [_pod(one) for one in pod_objects], metrics, now=time.monotonic())
        if result.rescale:
            write = Write("kube-controller-manager")
            wanted = {"spec": {"replicas": result.replicas}}
            with self.api.store.lock:
                self.api.commit(self.api.plan_scale(kind, namespace, reference["name"], wanted, write))
        conditions = {kind: (one.status, one.reason, "") for kind, one in found.conditions.items()}
        if problem and ACTIVE in conditions and not conditions[ACTIVE][0]:
            conditions[ACTIVE] = (False, conditions[ACTIVE][1], problem)
        counts = {"currentReplicas": now.status_replicas, "desiredReplicas": result.replicas}
        self._write(record, counts, conditions, scaled=result.rescale)

    def _autoscaler(self, obj):
        uid, spec = obj["metadata"]["uid"], _spec(obj["spec"])
        old = self._known.get(uid)
        if old is None or old[0] != spec:
            made = HorizontalPodAutoscaler(spec, ControllerSettings(zero_needs_condition=True))
            if old is not None:
                made.recommendations = old[1].recommendations
                made.up_events, made.down_events = old[1].up_events, old[1].down_events
            self._known[uid] = spec, made
        return self._known[uid][1]

    def _pods(self, scale, namespace):
        takes = selectors.labels(scale["status"].get("selector", ""))
        return [pod.obj for pod in self.api.store.list(pods.PODS, namespace) if takes(pod.labels)]

    async def _metrics(self, obj, namespace, scale):
        """(what the metrics APIs say, why something is missing)"""
        external, by_pod, problem = {}, {}, ""
        for metric in obj["spec"].get("metrics") or ():
            try:
                if metric["type"] == "External":
                    name = metric["external"]["metric"]["name"]
                    selector = _text(metric["external"]["metric"].get("selector"))
                    path = f"{EXTERNAL}/namespaces/{namespace}/{name}"
                    answer = await self._aggregation.get(path, _USER, labelSelector=selector)
                    external[name] = [milli(item["value"]) for item in answer["items"]]
                elif metric["type"] == "Pods":
                    name = metric["pods"]["metric"]["name"]
                    path = f"{CUSTOM}/namespaces/{namespace}/pods/*/{name}"
                    query = {"labelSelector": scale["status"].get("selector", "")}
                    answer = await self._aggregation.get(path, _USER, **query)
                    by_pod[name] = {
                        item["describedObject"]["name"]: hpa.PodMetric(milli(item["value"]), time.monotonic(), 60.0)
                        for item in answer["items"]
                    }
                else:
                    problem = f"no metrics of type {metric['type']} here"
            except ApiError as error:
                problem = f"unable to get {metric['type'].lower()} metric: {error.message}"
        return hpa.SeenMetrics(pods=by_pod, external=external), problem

    def _write(self, record, counts, conditions, scaled=False):
        before = record.obj.get("status") or {}
        found = before.get("conditions") or []
        for kind, (status, reason, message) in conditions.items():
            found = pods.set_condition(found, str(kind), "True" if status else "False", reason, message)
        for one in found:
            one.pop("lastUpdateTime", None)
        status = {**before, **counts, "conditions": found, "observedGeneration": record.obj["metadata"]["generation"]}
        if scaled:
            status["lastScaleTime"] = timestamp()
        if status != before:
            kind = self.api.kind("autoscaling/v2", "HorizontalPodAutoscaler")
            self.api.change_now(kind, record.namespace, record.name, lambda obj: obj.update(status=status), "status")


def _text(selector):
    if not selector:
        return ""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        word, values = one["operator"], ",".join(one.get("values") or ())
        parts.append({"In": f"{one['key']} in ({values})", "NotIn": f"{one['key']} notin ({values})",
                      "Exists": one["key"], "DoesNotExist": f"!{one['key']}"}[word])  # fmt: skip
    return ",".join(parts)


def _spec(spec):
    metrics = tuple(_metric(one) for one in spec.get("metrics") or ())
    behavior = spec.get("behavior")
    rules = None
    if behavior:
        rules = hpa.Behavior(_rules(behavior.get("scaleUp")), _rules(behavior.get("scaleDown")))
    return hpa.Spec(spec["maxReplicas"], spec.get("minReplicas", 1), metrics, rules)


def _metric(one):
    key = {"External": "external", "Pods": "pods", "Resource": "resource", "Object": "object",
           "ContainerResource": "containerResource"}[one["type"]]  # fmt: skip
    found = one[key]
    target = found["target"]
    value = {
        "Utilization": lambda: int(target["averageUtilization"]),
        "AverageValue": lambda: milli(target["averageValue"]),
        "Value": lambda: milli(target["value"]),
    }[target["type"]]()
    name = found.get("name") or found["metric"]["name"]
    return hpa.MetricSpec(one["type"], name, hpa.Target(hpa.TargetType(target["type"]), value))


def _rules(found):
    if not found:
        return None
    policies = None
    if "policies" in found:
        policies = tuple(hpa.RatePolicy(hpa.RatePolicyType(one["type"]), one["value"], one["periodSeconds"])
                         for one in found["policies"])  # fmt: skip
    select = hpa.SelectPolicy(found["selectPolicy"]) if "selectPolicy" in found else None
    tolerance = milli(found["tolerance"]) / 1000 if "tolerance" in found else None
    return hpa.ScalingRules(found.get("stabilizationWindowSeconds"), select, policies, tolerance)


def _pod(pod):
    ready = pods.is_ready(pod)
    status = pod.get("status") or {}
    return hpa.Pod(
        pod["metadata"]["name"],
        phase=hpa.Phase(status.get("phase", "Pending")),
        deleted="deletionTimestamp" in pod["metadata"],
        start_time=0.0,
        ready=hpa.ReadyCondition(hpa.Status.TRUE if ready else hpa.Status.FALSE, 0.0),
    )
