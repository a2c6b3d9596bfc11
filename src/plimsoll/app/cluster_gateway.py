"""The entry point of a gateway in a pod: `python -m plimsoll.app.cluster_gateway`.

What services there are, it hears from the controllers; where their replicas are, it sees for itself in EndpointSlices.
From the environment (`backends.kubernetes.names` has the variables): POD_NAME, POD_NAMESPACE, POD_IP and

    PLIMSOLL_CERTIFICATES    folder of ca.crt: who signs the controllers' certificates
    PLIMSOLL_TOKEN_FILE      our own token for them
    PLIMSOLL_CONTROL         their address, where it is not the Service's
    PLIMSOLL_TLS             folder of tls.crt and tls.key: HTTPS on 8443 from the moment they are there
    PLIMSOLL_CLIENT_CA       who may sign tenants' certificates: a client may show one once the file is there
    PLIMSOLL_REPLICA_TLS     folder of tls.crt, tls.key and ca.crt for replicas that speak TLS
    PLIMSOLL_AUDIT           folder for the audit log
    PLIMSOLL_DRAIN_LINGER    seconds between not being ready and closing (5)
    PLIMSOLL_GRACE           the pod's grace period, such as 75s, and PLIMSOLL_PRE_STOP, what is over at SIGTERM: what
                             is left but 5 s is for requests under way
    PLIMSOLL_DRAIN           seconds that those have, instead (60)

Exit status: 0 after SIGTERM and draining, 2 for an environment that can't be used, 3 where a port was taken.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from plimsoll.app.child_host import on_signals
from plimsoll.app.pod_process import run_in_pod
from plimsoll.app.pod_replica import pod_address
from plimsoll.backends.kubernetes.names import (
    AUDIT_VARIABLE,
    CERTIFICATES_DIR,
    CERTIFICATES_VARIABLE,
    CLIENT_CA_VARIABLE,
    CONTROL_PORT,
    CONTROL_VARIABLE,
    CONTROLLER,
    GRACE_VARIABLE,
    METRICS_PORT,
    PRE_STOP_VARIABLE,
    REPLICA_TLS_VARIABLE,
    SERVING_PORT,
    SERVING_TLS_PORT,
    SYSTEM_NAMESPACE,
    TLS_VARIABLE,
    TOKEN_FILE,
    TOKEN_VARIABLE,
)
from plimsoll.core.errors import UserError
from plimsoll.core.units import parse_duration
from plimsoll.gateway import Gateway, GatewaySettings
from plimsoll.wire.http1 import ClientTlsSettings, TlsSettings

_SPARE_S = 5.0  # to end in, beyond the last request


def main() -> None:
    run_in_pod(_run, gateway=_name(os.environ))


def gateway_settings(environment: Mapping[str, str]) -> GatewaySettings:
    """Raises UserError, naming the variable."""
    tls_dir, replica_dir = environment.get(TLS_VARIABLE, ""), environment.get(REPLICA_TLS_VARIABLE, "")
    namespace = environment.get("POD_NAMESPACE") or SYSTEM_NAMESPACE
    audit = environment.get(AUDIT_VARIABLE, "")
    linger_s = _seconds(environment, "PLIMSOLL_DRAIN_LINGER", 5.0)
    return GatewaySettings(
        name=_name(environment),
        listen=(pod_address(environment, SERVING_PORT),),
        control=environment.get(CONTROL_VARIABLE) or f"tls:{CONTROLLER}.{namespace}.svc:{CONTROL_PORT}",
        metrics=pod_address(environment, METRICS_PORT),
        metrics_on_door=False,
        drain_linger_s=linger_s,
        drain_s=_seconds(environment, "PLIMSOLL_DRAIN", _drain_s(environment, linger_s)),
        audit=os.path.join(audit, f"{_name(environment)}.jsonl") if audit else None,
        control_ca=os.path.join(environment.get(CERTIFICATES_VARIABLE) or CERTIFICATES_DIR, "ca.crt"),
        control_token=environment.get(TOKEN_VARIABLE) or TOKEN_FILE,
        watched=True,
        tls_listen=(pod_address(environment, SERVING_TLS_PORT),) if tls_dir else (),
        tls=_door_tls(tls_dir, environment.get(CLIENT_CA_VARIABLE, "")) if tls_dir else None,
        replica_tls=replica_tls(replica_dir) if replica_dir else None,
    )


def _door_tls(folder: str, client_ca: str) -> TlsSettings:
    """The Secret's own ca.crt says who signed the door's certificate, never who may sign a client's."""
    cert, key = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
    return TlsSettings(cert, key, client_ca or None, require_client_cert=False, client_ca_may_come=True)


def replica_tls(folder: str) -> ClientTlsSettings:
    authority, cert, key = (os.path.join(folder, name) for name in ("ca.crt", "tls.crt", "tls.key"))
    return ClientTlsSettings(authority, cert, key)


def _drain_s(environment: Mapping[str, str], linger_s: float) -> float:
    """So long that the kubelet's patience outlasts it. Raises UserError."""
    grace_s = _duration(environment, GRACE_VARIABLE)
    if not grace_s:
        return 60.0
    return max(1.0, grace_s - _duration(environment, PRE_STOP_VARIABLE) - linger_s - _SPARE_S)


def _duration(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name) or "0s"
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"{name}={text}: {error}") from None


def _name(environment: Mapping[str, str]) -> str:
    return environment.get("POD_NAME") or socket.gethostname()


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UserError(f"{name}={text} is no number of seconds; expected such as 5")
    return seconds


async def _run(environment: Mapping[str, str]) -> int:
    api, watch_slices = _cluster()
    stop = asyncio.Event()
    on_signals(stop.set)
    gateway = Gateway(gateway_settings(environment))
    slices = watch_slices(gateway.replicas)
    gateway.troubles = lambda: (slices.problem,) if slices.problem else ()
    tasks = [asyncio.create_task(slices.run()), asyncio.create_task(_tell_when_known(slices.synced, gateway))]
    try:
        await gateway.start()
        await stop.wait()
        await gateway.drain()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await api.close()
    return 0


async def _tell_when_known(synced: asyncio.Event, gateway: Gateway) -> None:
    await synced.wait()
    gateway.replicas_known()


def _cluster() -> tuple[Any, Callable[[Any], Any]]:
    """The API server, and what makes a watch of it. Raises HostError; UserError without the extra."""
    try:
        from plimsoll.backends.kubernetes.api import Api
        from plimsoll.backends.kubernetes.endpoints import SliceWatch
    except ImportError as error:
        raise UserError(f"{error.name} is missing; install it with: pip install 'plimsoll-serve[k8s]'") from None
    api = Api.connect()
    return api, lambda tell: SliceWatch(api, tell)


if __name__ == "__main__":
    main()
