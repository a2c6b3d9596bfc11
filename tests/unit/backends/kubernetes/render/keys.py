"""Which case shows what a key does on a cluster: `KEYS`, read by the test below and by `tests/e2e/test_every_key.py`.

`test_keys.py` takes each key out of its case, or gives it another value where it is required or has a default: what is
rendered must then differ.
"""

from collections.abc import Callable
from typing import Any

# Key to the case (`cases.CASES`, `golden/CASE.yaml`).
KEYS = {
    "spec.model.uri": "dra",
    "spec.model.digest": "dra",
    "spec.model.secretRef.name": "dra",
    "spec.runtime.image": "mig",
    "spec.runtime.env.name": "mig",
    "spec.runtime.env.value": "mig",
    "spec.runtime.env.secretRef.name": "mig",
    "spec.runtime.env.secretRef.key": "mig",
    "spec.scaling.writer": "dra",
    "spec.scaling.hpa.metric": "mig",
    "spec.scaling.hpa.target": "plain",
    "spec.scaling.hpa.memoryTarget": "plain",
    "spec.scaling.scaleDown.stabilizationWindow": "plain",
    "spec.scaling.schedule.timeZone": "clock",
    "spec.scaling.schedule.entries.cron": "clock",
    "spec.replicas": "mig",
    "spec.accelerator.class": "mig",
    "spec.accelerator.count": "dra",
    "spec.workload=StatefulSet": "stateful",
    "spec.workload=Deployment": "older",
    "spec.volumeClaims.name": "stateful",
    "spec.volumeClaims.size": "stateful",
    "spec.volumeClaims.mountPath": "stateful",
    "spec.volumeClaims.storageClassName": "stateful",
    "spec.podTemplate.metadata.labels": "mig",
    "spec.podTemplate.metadata.annotations": "mig",
    "spec.podTemplate.spec": "mig",
    "spec.gateway.parentRefs.name": "dra",
    "spec.gateway.parentRefs.namespace": "dra",
    "spec.gateway.parentRefs.sectionName": "dra",
    "spec.gateway.hostnameTemplate": "dra",
    "spec.gateway.ingressClassName": "mig",
    "spec.gateway.tls.secretName": "stateful",
    "spec.gateway.tls.issuerRef.name": "mig",
    "spec.gateway.tls.issuerRef.kind=Issuer": "mig",
    "spec.gateway.tls.issuerRef.kind=ClusterIssuer": "older",
    "spec.gateway.replicaTls=Required": "dra",
    "spec.nodeClasses.selector": "mig",
    "spec.acceleratorClasses.name": "mig",
    "spec.acceleratorClasses.resourceName": "mig",
    "spec.acceleratorClasses.deviceClassName": "dra",
    "spec.acceleratorClasses.nodeClass": "mig",
    "spec.acceleratorClasses.nodeSelector": "mig",
    "spec.acceleratorClasses.tolerations.key": "mig",
    "spec.acceleratorClasses.tolerations.value": "mig",
    "spec.acceleratorClasses.tolerations.operator=Exists": "mig",
    "spec.acceleratorClasses.tolerations.operator=Equal": "mig",
    "spec.acceleratorClasses.tolerations.effect=NoExecute": "mig",
    "spec.acceleratorClasses.tolerations.effect=NoSchedule": "mig",
    "spec.acceleratorClasses.tolerations.effect=PreferNoSchedule": "mig",
    "spec.modelCache.type=HostPath": "mig",
    "spec.modelCache.type=PVC": "dra",
    "spec.modelCache.path": "mig",
    "spec.modelCache.size": "dra",
    "spec.modelCache.storageClassName": "dra",
    "spec.networkPolicy=Disabled": "clock",
    "spec.disruption.noCapacity=PreemptLower": "dra",
    "spec.monitoring=PodMonitor": "dra",
    "spec.monitoring=ServiceMonitor": "stateful",
}

# Values that are the default: leaving them out says the same. The other values above are their opposite.
DEFAULTS = (
    "spec.gateway.replicaTls=Disabled",
    "spec.modelCache.type=None",
    "spec.networkPolicy=Enabled",
    "spec.monitoring=None",
)

# Keys of a cluster that change no rendered object: what they are for instead.
ELSEWHERE = {
    "spec.nodeClasses.capacity.accelerators": "prices: tests/unit/spec/test_spec_cluster.py",
    "spec.acceleratorClasses.memory": "for people and plans: tests/unit/spec/test_spec_cluster.py",
    "spec.acceleratorClasses.share": "prices: tests/unit/spec/test_spec_cluster.py",
    "spec.disruption.noCapacity=Wait": "whether requests are held: tests/unit/control/cluster/test_places.py",
    "spec.disruption.noCapacity=Fallback": "whether requests are held: tests/unit/control/cluster/test_places.py",
}


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    """Takes out what can't stand alone, together."""

    def take(mapping: dict[str, Any]) -> None:
        for key in keys:
            mapping.pop(key, None)

    return take


# What a key says instead, where a document isn't valid without it, or where leaving it out says the same; or what is
# done to the mapping that it stands in. None: there is no other, the key is required.
ANOTHER: dict[str, Any] = {
    "spec.model.uri": "oci://registry.example.com/fraud:8",
    "spec.model.secretRef.name": "other",
    "spec.runtime.env.name": "OTHER",
    "spec.runtime.env.value": "other",
    "spec.runtime.env.secretRef.name": "other",
    "spec.runtime.env.secretRef.key": "other",
    "spec.scaling.hpa.metric": None,
    "spec.scaling.schedule.entries.cron": None,
    "spec.accelerator.class": None,
    "spec.volumeClaims.name": "other",
    "spec.volumeClaims.size": "11Gi",
    "spec.volumeClaims.mountPath": "/other",
    "spec.workload=Deployment": "StatefulSet",
    "spec.workload=StatefulSet": without("workload", "volumeClaims"),
    "spec.gateway.parentRefs.name": "other",
    "spec.gateway.hostnameTemplate": "{name}.other.example.com",
    "spec.gateway.tls.secretName": "other",
    "spec.gateway.tls.issuerRef.name": "other",
    "spec.gateway.tls.issuerRef.kind=Issuer": "ClusterIssuer",
    "spec.gateway.tls.issuerRef.kind=ClusterIssuer": "Issuer",
    "spec.acceleratorClasses.tolerations.operator=Equal": without("operator", "value"),
    "spec.modelCache.type=HostPath": without("type", "path"),
    "spec.modelCache.type=PVC": without("type", "size", "storageClassName"),
    "spec.acceleratorClasses.name": None,
    "spec.acceleratorClasses.resourceName": "amd.com/gpu",
    "spec.acceleratorClasses.deviceClassName": "other.example.com",
    "spec.modelCache.size": "200Gi",
    "spec.disruption.noCapacity": ["Wait"],
}
