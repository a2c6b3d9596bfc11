"""The kinds on an API server: definitions are taken, objects are stored as they were sent, and what the loader refuses
the server refuses too, by CEL rules that name the remedy. (The server in memory has no CEL.)"""

import asyncio
import copy

import pytest
from tests.cluster.contract import refused, run
from tests.kube.errors import ApiError
from tests.unit.backends.kubernetes.crd.test_crd_schema import examples

from plimsoll.backends.kubernetes.crd import CRD_KINDS, crds
from plimsoll.spec import KINDS, SpecErrors

API = "plimsoll.dev/v1alpha1"
DIGEST = "sha256:" + "4b1d6f0c" * 8
LEAST = {
    "ModelService": {"model": {"path": "m.py"}},
    "Tenant": {"auth": {"certificates": [{"subject": "CN=shop"}]}},
    "Platform": {},
}


def obj(kind, namespace="", name="mood", **spec):
    meta = {"name": name} | ({"namespace": namespace} if kind == "ModelService" else {})
    return {"apiVersion": API, "kind": kind, "metadata": meta, "spec": {**LEAST[kind], **spec}}


async def defined(api):
    """Until all four kinds are served."""
    for one in crds():
        await api.apply(one, force=True)
    async with asyncio.timeout(20):
        for one in CRD_KINDS.values():
            while True:
                found = await api.get("CustomResourceDefinition", one.name)
                conditions = found.get("status", {}).get("conditions", ())
                told = {each["type"]: each for each in conditions}
                assert told.get("NonStructuralSchema", {}).get("status") != "True", told
                if told.get("Established", {}).get("status") == "True":
                    break
                await asyncio.sleep(0.05)
        while True:  # a real server serves a path a moment after it says so
            try:
                served = await api.request("GET", f"/apis/{API}")
                if {one.plural for one in CRD_KINDS.values()} <= {one["name"] for one in served["resources"]}:
                    return
            except ApiError as error:
                if error.code != 404:
                    raise
            await asyncio.sleep(0.05)


def test_an_object_is_stored_as_it_was_sent(cluster, namespace):
    async def body(api):
        await defined(api)
        for document in examples():
            sent = copy.deepcopy(document)
            if sent["kind"] == "ModelService":
                sent["metadata"]["namespace"] = namespace
            stored = await api.create(sent, dryRun="All", fieldValidation="Strict")
            assert stored["spec"] == sent["spec"], "nothing is pruned, no default is written"

    run(cluster, namespace, body)


def test_a_key_that_is_unknown_is_refused_by_strict_clients(cluster, namespace):
    async def body(api):
        await defined(api)
        wrong = obj("ModelService", namespace, scaling={"maxReplica": 3})
        code, _, message = await refused(api.create(wrong, fieldValidation="Strict"))
        assert (code, "spec.scaling.maxReplica" in message) == (400, True)
        stored = await api.create(wrong, dryRun="All")
        assert stored["spec"]["scaling"] == {}

    run(cluster, namespace, body)


def test_scale_and_status_are_subresources(cluster, namespace):
    async def body(api):
        await defined(api)
        await api.create(obj("ModelService", namespace))
        path = f"/apis/{API}/namespaces/{namespace}/modelservices/mood"
        patch = {"status": {"replicas": 2, "selector": "a=b", "ready": "2/3", "p99": "18ms", "budget": "100ms"}}
        merge = "application/merge-patch+json"
        await api.request("PATCH", f"{path}/status", patch | {"spec": {"replicas": 9}}, content_type=merge)
        found = await api.request("GET", path)
        assert (found["status"]["ready"], "replicas" in found["spec"]) == ("2/3", False)
        await api.request("PATCH", f"{path}/scale", {"spec": {"replicas": 3}}, content_type=merge)
        assert (await api.request("GET", path))["spec"]["replicas"] == 3
        scale = await api.request("GET", f"{path}/scale")
        assert (scale["spec"]["replicas"], scale["status"]) == (3, {"replicas": 2, "selector": "a=b"})

    run(cluster, namespace, body)


# Of each rule one object that breaks it, and a word of its message. The loader refuses it too.
WRONG = [
    ("ModelService", {"model": {}}, "exactly one of path"),
    ("ModelService", {"model": {"path": "m.py", "uri": "s3://a/m.py"}}, "exactly one of path"),
    ("ModelService", {"model": {"path": "m.py", "digest": DIGEST}}, "belongs to uri"),
    ("ModelService", {"model": {"path": "m.py", "secretRef": {"name": "a"}}}, "belongs to uri"),
    ("ModelService", {"model": {"uri": "http://a.example.com/m.py"}}, "expected digest"),
    ("ModelService", {"timeout": "10ms", "budget": {"latency": {"p99": "20ms"}}}, "below the p99"),
    ("ModelService", {"batching": {"linger": "1s"}, "budget": {"latency": {"p99": "1000ms"}}}, "uses up the p99"),
    ("ModelService", {"budget": {"latency": {"p50": "2s", "p95": "1500ms"}}}, "must not be below p50"),
    ("ModelService", {"budget": {"latency": {"p50": "1m", "p99": "59s"}}}, "must not be below p50"),
    ("ModelService", {"budget": {"latency": {"p95": "1h", "p99": "59m"}}}, "must not be below p95"),
    ("ModelService", {"budget": {"cost": {"whenExceeded": "Warn"}}}, "expected perMillionRequests"),
    ("ModelService", {"hedging": "Slow", "retry": "Never"}, "asks two replicas"),
    ("ModelService", {"volumeClaims": [{"name": "a", "size": "1Gi", "mountPath": "/a"}]}, "only a StatefulSet"),
    ("ModelService", {"fallback": [{"type": "StaleCache", "maxAge": "1h"}]}, "needs a cache"),
    ("ModelService", {"fallback": [{"type": "StaleCache"}], "cache": {"ttl": "1m"}}, "fallback needs maxAge"),
    ("ModelService", {"fallback": [{"type": "Static"}]}, "fallback needs body"),
    ("ModelService", {"fallback": [{"type": "Service"}]}, "fallback needs service"),
    ("ModelService", {"fallback": [{"type": "Static", "body": "{}", "maxAge": "1h"}]}, "belongs to type: StaleCache"),
    ("ModelService", {"fallback": [{"type": "Static", "body": "{}", "service": {"name": "a"}}]}, "type: Service"),
    (
        "ModelService",
        {"fallback": [{"type": "Service", "service": {"name": "a"}, "body": "a", "contentType": "text/plain"}]},
        "belongs to type: Static",
    ),
    ("ModelService", {"scaling": {"maxReplicas": 2, "minReplicas": 3}}, "below minReplicas"),
    ("ModelService", {"scaling": {"writer": "HPA", "policy": "Fixed"}}, "HPA can't write what policy Fixed"),
    ("ModelService", {"scaling": {"writer": "KEDA", "policy": "HPA"}}, "KEDA"),
    ("ModelService", {"scaling": {"policy": "HPA", "minReplicas": 0}}, "don't go to zero"),
    ("ModelService", {"scaling": {"policy": "Fixed", "minReplicas": 2, "maxReplicas": 3}}, "Fixed runs minReplicas"),
    ("ModelService", {"scaling": {"scaleToZeroAfter": "5m"}}, "nothing goes to zero"),
    ("ModelService", {"scaling": {"hpa": {"metric": "CPU"}}}, "belongs to policy: HPA"),
    ("ModelService", {"scaling": {"kpa": {"target": 3}}}, "belongs to policy: KPA"),
    ("ModelService", {"scaling": {"policy": "Schedule"}}, "needs schedule"),
    (
        "ModelService",
        {"scaling": {"schedule": {"entries": [{"cron": "0 8 * * *", "replicas": 1}]}}},
        "belongs to policy: Schedule",
    ),
    ("ModelService", {"scaling": {"policy": "HPA", "hpa": {"memoryTarget": "60%"}}}, "measures memory"),
    ("ModelService", {"scaling": {"policy": "HPA", "hpa": {"metric": "RequestsPerSecond"}}}, "needs a number"),
    (
        "ModelService",
        {"scaling": {"policy": "HPA", "hpa": {"metric": "RequestsPerSecond", "target": "7%"}}},
        "needs a number",
    ),
    ("ModelService", {"scaling": {"policy": "HPA", "hpa": {"target": 70}}}, "expects a share"),
    ("ModelService", {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}}, "below requests.cpu"),
    ("ModelService", {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}}, "requests.memory"),
    ("ModelService", {"cache": {"ttl": "1m", "backend": {"type": "Redis"}}}, "need the secret"),
    (
        "ModelService",
        {"cache": {"ttl": "1m", "backend": {"type": "Memory", "secretRef": {"name": "a", "key": "b"}}}},
        "has no URL",
    ),
    ("ModelService", {"runtime": {"env": [{"name": "A"}]}}, "exactly one of value"),
    ("ModelService", {"runtime": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}, "Duplicate"),
    ("Tenant", {"auth": {}}, "nothing tells this tenant"),
    ("Tenant", {"auth": {"apiKeys": [], "certificates": []}}, "nothing tells this tenant"),
    ("Platform", {"gateway": {"hostnameTemplate": "infer.example.com"}}, "expected {name}"),
    ("Platform", {"gateway": {"hostnameTemplate": "{name}.{team}.example.com"}}, "is no host name"),
    ("Platform", {"gateway": {"tls": {}}}, "secretName or issuerRef"),
    ("Platform", {"nodeClasses": [{"name": "a", "pricePerHour": "1", "minNodes": 3, "maxNodes": 2}]}, "minNodes"),
    ("Platform", {"nodeClasses": [{"name": "a", "pricePerHour": "1", "idleWatts": 3, "maxWatts": 2}]}, "idleWatts"),
    ("Platform", {"acceleratorClasses": [{"name": "a"}]}, "exactly one of resourceName"),
    (
        "Platform",
        {"acceleratorClasses": [{"name": "a", "resourceName": "x.y/gpu", "nodeClass": "b"}]},
        "missing in nodeClasses",
    ),
    ("Platform", {"modelCache": {"type": "PVC"}}, "needs size"),
    ("Platform", {"modelCache": {"path": "/a/b"}}, "belongs to type: HostPath"),
    ("Platform", {"modelCache": {"size": "1Gi"}}, "belongs to type: HostPath or PVC"),
    ("Platform", {"modelCache": {"type": "HostPath", "storageClassName": "a"}}, "belongs to type: PVC"),
    ("Platform", {"disruption": {"noCapacity": ["Wait", "Wait"]}}, "Duplicate"),
]

# What a rule must let through: values that are only written otherwise.
RIGHT = [
    ("ModelService", {"budget": {"latency": {"p50": "1000us", "p95": "1ms", "p99": "0.5s"}}, "timeout": "500ms"}),
    ("ModelService", {"budget": {"latency": {"p99": "1h30m"}}, "timeout": "90m", "batching": {"linger": "0"}}),
    ("ModelService", {"resources": {"requests": {"cpu": 1, "memory": "1G"}, "limits": {"cpu": "1000m"}}}),
    ("ModelService", {"resources": {"requests": {"memory": "1G"}, "limits": {"memory": "1Gi"}}}),
    ("ModelService", {"scaling": {"minReplicas": 0, "scaleToZeroAfter": "5m", "maxReplicas": 1}}),
    ("ModelService", {"scaling": {"policy": "HPA", "writer": "HPA", "hpa": {"memoryTarget": "60%", "target": "7%"}}}),
    ("ModelService", {"scaling": {"policy": "HPA", "hpa": {"metric": "RequestsPerSecond", "target": 400}}}),
    ("ModelService", {"scaling": {"writer": "KEDA"}}),
    ("ModelService", {"scaling": {"policy": "Fixed", "minReplicas": 3}}),
    ("ModelService", {"model": {"uri": "http://a.example.com/m.py", "digest": DIGEST}}),
    ("ModelService", {"podTemplate": {"spec": {"containers": [{"name": "model", "stdin": True}], "hostPID": False}}}),
    ("Tenant", {"weight": 0.5, "quota": {"concurrentRequests": 4}}),
    ("Platform", {"gateway": {"hostnameTemplate": "{name}-{namespace}.example.com"}}),
]


def test_each_rule_is_the_loader_s(real_cluster, namespace):
    async def body(api):
        await defined(api)
        for kind, spec, word in WRONG:
            wrong = obj(kind, namespace, **spec)
            code, reason, message = await refused(api.create(wrong, dryRun="All", fieldValidation="Strict"))
            assert (code, reason) == (422, "Invalid"), (spec, message)
            assert word in message, (spec, message)
            with pytest.raises(SpecErrors):
                KINDS[kind].parse(wrong)
        for kind, spec in RIGHT:
            right = obj(kind, namespace, **spec)
            assert (await api.create(right, dryRun="All", fieldValidation="Strict"))["spec"] == right["spec"]
            KINDS[kind].parse(right)

    run(real_cluster, namespace, body)


def test_every_rule_is_broken_above():
    from plimsoll.backends.kubernetes.crd import rules

    for kind, places in (("ModelService", rules.MODEL_SERVICE), ("Tenant", rules.TENANT), ("Platform", rules.PLATFORM)):
        words = [word for one, _, word in WRONG if one == kind]
        for place, found in places.items():
            for rule in found:
                told = f"limits.{rule.message}" if place == "spec.resources" else rule.message
                assert any(word in told for word in words), (place, rule.message)


def test_an_error_names_its_key(real_cluster, namespace):
    async def body(api):
        await defined(api)
        wrong = obj("ModelService", namespace, scaling={"minReplicas": 3, "maxReplicas": 2})
        _, _, message = await refused(api.create(wrong))
        assert "spec.scaling.maxReplicas: Invalid value" in message
        assert "must not be below minReplicas" in message

    run(real_cluster, namespace, body)


def test_a_revision_never_changes(real_cluster, namespace):
    async def body(api):
        await defined(api)
        spec = {"service": "mood", "number": 1, "digest": "ab12", "config": {"a": {"b": 1}}}
        made = await api.create(
            {
                "apiVersion": API,
                "kind": "Revision",
                "metadata": {"name": "mood-1", "namespace": namespace},
                "spec": spec,
            }
        )
        assert made["spec"] == spec, "a free part is kept whole"
        for key, value in (("service", "other"), ("number", 2), ("digest", "cd34")):
            other = copy.deepcopy(made)
            other["spec"][key] = value
            code, _, message = await refused(api.replace(other))
            assert (code, "a revision never changes" in message) == (422, True)

    run(real_cluster, namespace, body)


def test_kubectl_explains_each_key(real_cluster, namespace):
    async def body(api):
        await defined(api)
        async with asyncio.timeout(30):
            while True:
                try:
                    told = await api.request("GET", f"/openapi/v3/apis/{API}")
                    break
                except ApiError:
                    await asyncio.sleep(0.2)
        schemas = told["components"]["schemas"]
        whole = next(one for name, one in schemas.items() if name.endswith(".ModelService"))
        budget = whole["properties"]["spec"]["properties"]["budget"]
        assert budget["description"] == "What the service allows itself."
        assert budget["properties"]["latency"]["properties"]["p99"]["description"].startswith("99% of the answers")

    run(real_cluster, namespace, body)
