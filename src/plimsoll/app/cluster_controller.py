"""The entry point of the controller on a cluster: `python -m plimsoll.app.cluster_controller`.

It talks to the cluster that it runs in, else to that of KUBECONFIG. From the environment (`backends.kubernetes.names`
has the variables), POD_NAME, POD_NAMESPACE, POD_IP and

    PLIMSOLL_CERTIFICATES     folder of tls.crt and tls.key, as the operator keeps them
    PLIMSOLL_NAMESPACES       the namespaces whose services are scaled, with commas between them; all without it
    PLIMSOLL_LEASE_SECONDS    after so long without a word from the controller that leads, another does (15)
    PLIMSOLL_PROMETHEUS       http://HOST:PORT: figures from queries beside our own
    PLIMSOLL_PROMETHEUS_SECRET    folder of token and ca.crt, where it asks for one or shows a certificate of its own
    PLIMSOLL_QUERY_FIGURE     a query for each figure: PLIMSOLL_QUERY_GPU_UTILIZATION; that one has a default
    PLIMSOLL_METRICS_PORT, PLIMSOLL_CONTROL_PORT, PLIMSOLL_METRICS_API_PORT, PLIMSOLL_SCALER_PORT    0: not served
    PLIMSOLL_LOG_LEVEL        info

Without POD_IP, outside of a pod, all ports are on loopback. Exit status: 0 after SIGTERM, 2 for an environment that
can't be used, 3 where there is no cluster, no certificate, or a port was taken.
"""

import asyncio
import signal
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from plimsoll.app.child_host import on_signals
from plimsoll.app.pod_process import run_in_pod
from plimsoll.backends.kubernetes.names import (
    CERTIFICATES_DIR,
    CERTIFICATES_VARIABLE,
    CONTROL_PORT,
    CONTROLLER,
    GPU_QUERY,
    METRICS_API_PORT,
    METRICS_PORT,
    PROMETHEUS_SECRET_VARIABLE,
    PROMETHEUS_VARIABLE,
    QUERY_VARIABLE,
    SCALER_PORT,
    SIGNALS,
    SYSTEM_NAMESPACE,
)
from plimsoll.core.errors import UserError

_MOST_PORT = 65535
_LEAST_LEASE_S = 2


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """`host`: where all ports listen. A port of 0 isn't served. `queries`: by the figure's name; with `prometheus`."""

    identity: str
    namespace: str = SYSTEM_NAMESPACE
    namespaces: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    certificates: str = CERTIFICATES_DIR
    metrics_port: int = METRICS_PORT
    control_port: int = CONTROL_PORT
    api_port: int = METRICS_API_PORT
    scaler_port: int = SCALER_PORT
    lease_s: float = 15.0
    prometheus: str = ""
    prometheus_secret: str = ""
    queries: Mapping[str, str] = field(default_factory=dict)


def main() -> None:
    run_in_pod(_run)


def controller_settings(environment: Mapping[str, str]) -> ControllerSettings:
    """Raises UserError, naming the variable."""
    name = environment.get("POD_NAME") or f"{CONTROLLER}-{socket.gethostname()}"
    namespaces = environment.get("PLIMSOLL_NAMESPACES", "")
    return ControllerSettings(
        identity=f"{name}_{uuid.uuid4().hex[:8]}",  # a container that was restarted is another holder
        namespace=environment.get("POD_NAMESPACE") or SYSTEM_NAMESPACE,
        namespaces=tuple(part.strip() for part in namespaces.split(",") if part.strip()),
        host=environment.get("POD_IP") or "127.0.0.1",
        certificates=environment.get(CERTIFICATES_VARIABLE) or CERTIFICATES_DIR,
        metrics_port=_port(environment, "PLIMSOLL_METRICS_PORT", METRICS_PORT),
        control_port=_port(environment, "PLIMSOLL_CONTROL_PORT", CONTROL_PORT),
        api_port=_port(environment, "PLIMSOLL_METRICS_API_PORT", METRICS_API_PORT),
        scaler_port=_port(environment, "PLIMSOLL_SCALER_PORT", SCALER_PORT),
        lease_s=_lease_s(environment.get("PLIMSOLL_LEASE_SECONDS", "")),
        prometheus=environment.get(PROMETHEUS_VARIABLE, ""),
        prometheus_secret=environment.get(PROMETHEUS_SECRET_VARIABLE, ""),
        queries=_queries(environment),
    )


async def _run(environment: Mapping[str, str]) -> int:
    settings = controller_settings(environment)
    try:
        from plimsoll.app.controller_host import ControllerHost
        from plimsoll.backends.kubernetes.api import Api
    except ImportError as error:
        raise UserError(f"{error.name} is missing; install it with: pip install 'plimsoll-serve[k8s]'") from None
    stop = asyncio.Event()
    on_signals(stop.set, signal.SIGTERM, signal.SIGINT)
    api = Api.connect()
    host = ControllerHost(api, settings)
    try:
        await host.run(stop)
    finally:
        await host.close()
        await api.close()
    return 0


def _port(environment: Mapping[str, str], name: str, usual: int) -> int:
    text = environment.get(name, "")
    if not text:
        return usual
    if not text.isdecimal() or int(text) > _MOST_PORT:
        raise UserError(f"{name} is {text!r}; expected a port, or 0 for none")
    return int(text)


def _lease_s(text: str) -> float:
    if text and (not text.isdecimal() or int(text) < _LEAST_LEASE_S):
        raise UserError(f"PLIMSOLL_LEASE_SECONDS is {text!r}; expected {_LEAST_LEASE_S} or more, such as 15")
    return float(text or 15)


def _queries(environment: Mapping[str, str]) -> Mapping[str, str]:
    """By figure; an empty one is not asked. Raises UserError for a figure that there is none of."""
    found = {"gpu_utilization": GPU_QUERY} | {
        name.removeprefix(QUERY_VARIABLE).lower(): query
        for name, query in environment.items()
        if name.startswith(QUERY_VARIABLE)
    }
    unknown = sorted(found.keys() - set(SIGNALS))
    if unknown:
        variable = f"{QUERY_VARIABLE}{unknown[0].upper()}"
        raise UserError(f"{variable}: {unknown[0]} is no figure; there are {', '.join(SIGNALS)}")
    return {figure: query for figure, query in found.items() if query}


if __name__ == "__main__":
    main()
