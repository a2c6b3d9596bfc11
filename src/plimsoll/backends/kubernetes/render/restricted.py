"""Whether a pod passes the `restricted` Pod Security level, and if not, why.

After https://kubernetes.io/docs/concepts/security/pod-security-standards/: its lists for Linux pods.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    }
)


def violations(spec: Mapping[str, Any]) -> list[str]:
    """What of a pod's spec the level forbids, each as `where: what`; empty where it passes."""
    return [*_of_pod(spec), *(line for container in _containers(spec) for line in _of_container(container, spec))]


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for field in _HOST_FIELDS:
        if spec.get(field):
            yield f"{field}: true"
    for volume in spec.get("volumes", []):
        for source in volume:
            if source != "name" and source not in _VOLUMES:
                yield f"volumes: {volume.get('name')} is a {source}"
    security = spec.get("securityContext", {})
    for sysctl in security.get("sysctls", []):
        if sysctl.get("name") not in _SYSCTLS:
            yield f"securityContext.sysctls: {sysctl.get('name')}"
    if security.get("runAsUser") == 0:
        yield "securityContext.runAsUser: 0"


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key, [])


def _of_container(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    name, own, pod = container.get("name"), container.get("securityContext", {}), spec.get("securityContext", {})
    where = f"container {name}"
    if own.get("privileged"):
        yield f"{where}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: allowPrivilegeEscalation is not false"
    if not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield f"{where}: runAsNonRoot is not true"
    if own.get("runAsUser") == 0:
        yield f"{where}: runAsUser: 0"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{where}: capabilities are not dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{where}: adds capabilities {', '.join(capabilities['add'])}"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in _SECCOMP:
        yield f"{where}: seccompProfile is not RuntimeDefault"
    if own.get("procMount", "Default") != "Default":
        yield f"{where}: procMount {own['procMount']}"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{where}: hostPort"
