"""The objects that a node is seen by, and which pods wait for one."""

from datetime import UTC, datetime

LEASES = "kube-node-lease"


def is_new(node):
    return any(one["key"] == "node.kubernetes.io/not-ready" for one in node["spec"].get("taints") or ())


def is_unbound(pod):
    spec, status = pod["spec"], pod.get("status") or {}
    return (
        not spec.get("nodeName")
        and "deletionTimestamp" not in pod["metadata"]
        and status.get("phase") not in ("Succeeded", "Failed")
        and spec.get("schedulerName", "default-scheduler") == "default-scheduler"
        and not spec.get("schedulingGates")
    )


def lease_of(name):
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": LEASES},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}}  # fmt: skip


NODE_INFO = dict.fromkeys(
    ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
     "kubeProxyVersion", "operatingSystem", "architecture"), "process"
) | {"kubeletVersion": "v1.36.0", "operatingSystem": "linux", "architecture": "amd64"}  # fmt: skip
