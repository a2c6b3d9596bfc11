"""The entry point of a replica in a pod: `python -m plimsoll.app.pod_replica`.

The service comes from a mounted file, the model from a mounted folder, the rest from the environment:

    PLIMSOLL_CONFIG_DIR         folder of service.json, canonical JSON of the ModelService (/etc/plimsoll)
    PLIMSOLL_MODEL_PATH         the model, or the folder that it lies in (/model)
    PLIMSOLL_REVISION           the revision's name; POD_NAME: the replica's
    POD_IP                      the address to listen on; without it every one of the pod's
    PLIMSOLL_REPLICA_TLS        folder of tls.crt, tls.key and ca.crt: the serving port speaks TLS with whoever shows a
                                certificate of that CA, and trusts the one named PLIMSOLL_GATEWAY_NAME
    PLIMSOLL_TERMINATION_LOG    where the last error is left for the kubelet (/dev/termination-log)

On the metrics port are health, metrics and its state (`server.status_port`), on the other the model. Exit status:
0 after SIGTERM and draining, 2 for a service or folder that can't be used, 3 where the model did not load or a port was
taken, 4 where a predict hung.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from plimsoll.app.pod_model import find_model
from plimsoll.app.replica_args import settings_values
from plimsoll.backends.kubernetes.names import (
    CONFIG_DIR,
    GATEWAY_NAME,
    GATEWAY_NAME_VARIABLE,
    METRICS_PORT,
    MODEL_DIR,
    REPLICA_TLS_VARIABLE,
    SERVICE_FILE,
    SERVING_PORT,
)
from plimsoll.backends.local.child import finish, thread_environment
from plimsoll.core.errors import PlimsollError, UserError
from plimsoll.spec import ModelService
from plimsoll.telemetry.logs import configure
from plimsoll.wire.http1 import TcpAddress, format_address

EXIT_MISUSED = 2
_TERMINATION_LOG = "/dev/termination-log"
_TERMINATION_BYTES = 4096  # what the kubelet reads of it
_ANSWERING_S = 1.0  # beyond the last deadline, to hand an answer over


def main() -> None:
    environment = os.environ
    try:
        values = pod_settings(environment)
    except PlimsollError as error:
        print(json.dumps({"level": "error", "message": str(error)}), flush=True)  # noqa: T201 - before there is a log
        leave_word(environment, str(error))
        finish(EXIT_MISUSED)
    # Before numpy is imported: BLAS reads it once.
    os.environ.update(thread_environment(int(values["source"]["threads"])))
    finish(_serve(values, environment))


def pod_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """The fields of `server.ReplicaSettings`. Raises UserError or SpecErrors, naming the file and what is amiss."""
    file = os.path.join(environment.get("PLIMSOLL_CONFIG_DIR", CONFIG_DIR), os.path.basename(SERVICE_FILE))
    service = read_service(file)
    path = find_model(service, environment.get("PLIMSOLL_MODEL_PATH") or MODEL_DIR)
    folder = os.path.dirname(path) if os.path.isfile(path) else path if os.path.isdir(path) else MODEL_DIR
    revision = environment.get("PLIMSOLL_REVISION") or service.name
    values = settings_values(
        {
            "service": service.dump(),
            "model_path": path,
            "directory": folder,
            "revision": revision,
            "replica": environment.get("POD_NAME") or revision,
            "listen": pod_address(environment, SERVING_PORT),
        },
        trusted=False,  # anybody whom the network lets through; a gateway proves itself by its certificate
    )
    values["status"] = pod_address(environment, METRICS_PORT)
    # Every request ends by its deadline, and no deadline is later than the service's timeout.
    values["drain_s"] = service.timeout_s + _ANSWERING_S
    values["source"]["origin"] = ""
    folder = environment.get(REPLICA_TLS_VARIABLE, "")
    if folder:
        cert, key, authority = (os.path.join(folder, name) for name in ("tls.crt", "tls.key", "ca.crt"))
        values["http"] = {"tls": {"cert_file": cert, "key_file": key, "client_ca_file": authority}}
        values["trusted_peers"] = [f"DNS:{environment.get(GATEWAY_NAME_VARIABLE) or GATEWAY_NAME}"]
    return values


def read_service(file: str) -> ModelService:
    try:
        with open(file, encoding="utf-8") as opened:
            data = json.load(opened)
    except OSError as error:
        raise UserError(f"{file} can't be read: {error.strerror}; mount the revision's ConfigMap there") from None
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}; expected a ModelService") from None
    return ModelService.parse(data)


def pod_address(environment: Mapping[str, str], port: int) -> str:
    """On the pod's own address where it is known."""
    return format_address(TcpAddress(environment.get("POD_IP") or "0.0.0.0", port))


def leave_word(environment: Mapping[str, str], text: str) -> None:
    """The last error, where the kubelet looks for a container's message. Nothing where that can't be written."""
    path = environment.get("PLIMSOLL_TERMINATION_LOG") or _TERMINATION_LOG
    try:
        # Never made: outside of a pod there is none.
        with open(path, "r+b" if path == _TERMINATION_LOG else "wb") as file:
            file.write(text.encode("utf-8", "replace")[:_TERMINATION_BYTES])
    except OSError:
        pass


def _serve(values: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    from plimsoll.app.child_host import run_loop
    from plimsoll.app.replica import log_fields, replica_settings, run_replica

    settings = replica_settings({"settings": values})
    configure("json", stream=sys.stdout, always=log_fields(settings))
    try:
        return run_loop(run_replica(settings, {}, _noting(environment)))
    except Exception as error:
        leave_word(environment, f"{type(error).__name__}: {error}")
        raise


def _noting(environment: Mapping[str, str]) -> Callable[[dict[str, Any]], None]:
    def report(event: dict[str, Any]) -> None:
        if event["event"] in ("failed", "unready"):
            leave_word(environment, failure_text(event))

    return report


def failure_text(event: Mapping[str, Any]) -> str:
    """`sentiment.py:12: NameError: …`, then the detail."""
    place = str(event.get("file") or "")
    if place and event.get("line"):
        place = f"{place}:{event['line']}"
    return "\n".join(part for part in (f"{place}: {event['reason']}" if place else str(event["reason"]),
                                       str(event.get("detail") or "")) if part)  # fmt: skip


if __name__ == "__main__":
    main()
