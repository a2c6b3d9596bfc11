"""Services whose replicas are stand-ins that only say that they are ready; what is waited for, and what they became."""

import asyncio

from tests.cluster.system import STAND_IN, said

# the operator, and nobody who scales or serves
OPERATOR_ALONE = {
    "operator": {"replicas": 1},
    "controller": {"replicas": 0},
    "gateway": {"replicas": 0, "autoscaling": {"enabled": False}},
}
# stand-ins have nothing to drain
QUICK_END = {
    "terminationGracePeriodSeconds": 3,
    "containers": [{"name": "model", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}],
}


def service(namespace, name="mood", image=STAND_IN, **spec):
    """`spec` beside what every one has; a `runtime` given replaces its image."""
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"path": "mood:Mood"},
            "runtime": {"image": image},
            "budget": {"latency": {"p99": "100ms"}},
            "scaling": {"minReplicas": 1, "maxReplicas": 4},
            "resources": {"requests": {"cpu": "100m"}},
            "podTemplate": {"spec": QUICK_END},
        }
        | spec,
    }


async def until_said(api, namespace, name, kind, status, reason=None, *, after=0, within_s=60):
    try:
        return await api.until("ModelService", name, namespace, test=said(kind, status, reason, after=after),
                               within_s=within_s)  # fmt: skip
    except TimeoutError:
        found = await api.find("ModelService", name, namespace)
        raise AssertionError(f"{name}: {(found or {}).get('status')}") from None


async def workloads(api, namespace, name="mood"):
    found = await api.list("Deployment", namespace, api_version="apps/v1", labelSelector=f"plimsoll.dev/service={name}")
    return {one["metadata"]["name"]: one for one in found["items"]}


async def gone(api, kind, namespace, label, api_version="v1"):
    async with asyncio.timeout(40):
        while (await api.list(kind, namespace, api_version=api_version, labelSelector=label))["items"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def owners(obj, *path):
    """Who owns a field, by server-side apply."""
    found = set()
    for entry in obj["metadata"].get("managedFields") or ():
        fields = entry["fieldsV1"]
        for name in path:
            fields = fields.get(f"f:{name}") if fields is not None else None
        if fields is not None:
            found.add(entry["manager"])
    return found
