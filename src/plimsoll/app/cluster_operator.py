"""The entry point of the operator: `python -m plimsoll.app.cluster_operator`.

It talks to the cluster that it runs in, else to that of KUBECONFIG. From the environment (`backends.kubernetes.names`
has the variables), POD_NAME, POD_NAMESPACE, POD_IP and

    PLIMSOLL_IMAGE                the image of replicas without one of their own
    PLIMSOLL_NAMESPACES           the namespaces whose services are kept, with commas between them; all without it
    PLIMSOLL_WORKERS              services that are looked at at once (8)
    PLIMSOLL_CONTROLLER_STATUS    where controllers say how services do, where it is not their Service
    PLIMSOLL_CERTIFICATE_NAMES    more names for the certificate, with commas between them
    PLIMSOLL_RETRY_SECONDS        the longest wait before what was refused is tried again (60)
    PLIMSOLL_LEASE_SECONDS        after so long without a word from the operator that leads, another does (15)
    PLIMSOLL_SETTLE_SECONDS       how long kubelets have to bring gateways their certificate for replicas (150)
    PLIMSOLL_FIGURES_SECONDS      how often controllers are asked (10)
    PLIMSOLL_DISCOVER_SECONDS     how often it looks which others' kinds are served (60)
    PLIMSOLL_METRICS_PORT, PLIMSOLL_WEBHOOK_PORT    0: not served
    PLIMSOLL_LOG_LEVEL            info

Without POD_IP, outside of a pod, the pages are on loopback. Exit status: 0 after SIGTERM, 2 for an environment that
can't be used, 3 where there is no cluster or a port was taken.
"""

import asyncio
import signal
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.app.child_host import on_signals
from plimsoll.app.pod_process import run_in_pod
from plimsoll.backends.kubernetes.names import (
    IMAGE_VARIABLE,
    METRICS_PORT,
    OPERATOR,
    SYSTEM_NAMESPACE,
    WEBHOOK_PORT,
)
from plimsoll.core.errors import UserError
from plimsoll.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from plimsoll.backends.kubernetes.operator.operator import Operator, OperatorSettings


@dataclass(frozen=True, slots=True)
class Addresses:
    host: str
    metrics: int
    webhook: int


def main() -> None:
    run_in_pod(_run)


def operator_settings(environment: Mapping[str, str]) -> "OperatorSettings":
    """Raises UserError, naming the variable."""
    try:
        from plimsoll.backends.kubernetes.operator.lease import lease_settings
        from plimsoll.backends.kubernetes.operator.operator import OperatorSettings
        from plimsoll.backends.kubernetes.operator.queue import QueueSettings
        from plimsoll.backends.kubernetes.operator.replica_certificates import CertificateTimes
    except ImportError as error:
        raise UserError(f"{error.name} is missing; install it with: pip install 'plimsoll-serve[k8s]'") from None
    from plimsoll.backends.kubernetes.options import DEFAULT_IMAGE, ClusterOptions

    namespace = environment.get("POD_NAMESPACE") or SYSTEM_NAMESPACE
    name = environment.get("POD_NAME") or f"{OPERATOR}-{socket.gethostname()}"
    return OperatorSettings(
        identity=f"{name}_{uuid.uuid4().hex[:8]}",  # a container that was restarted is another holder
        namespace=namespace,
        namespaces=_list(environment, "PLIMSOLL_NAMESPACES"),
        controller=environment.get("PLIMSOLL_CONTROLLER_STATUS", ""),
        certificate_names=_list(environment, "PLIMSOLL_CERTIFICATE_NAMES"),
        options=ClusterOptions(image=environment.get(IMAGE_VARIABLE) or DEFAULT_IMAGE, system_namespace=namespace),
        queue=QueueSettings(
            workers=_number(environment, "PLIMSOLL_WORKERS", 8, least=1),
            longest_s=_number(environment, "PLIMSOLL_RETRY_SECONDS", 60, least=1),
        ),
        lease=lease_settings(_number(environment, "PLIMSOLL_LEASE_SECONDS", 15, least=2)),
        replica_certificates=CertificateTimes(settle_s=_number(environment, "PLIMSOLL_SETTLE_SECONDS", 150)),
        figures_every_s=_number(environment, "PLIMSOLL_FIGURES_SECONDS", 10, least=1),
        discover_every_s=_number(environment, "PLIMSOLL_DISCOVER_SECONDS", 60, least=1),
    )


def addresses(environment: Mapping[str, str]) -> Addresses:
    return Addresses(
        environment.get("POD_IP") or "127.0.0.1",
        _number(environment, "PLIMSOLL_METRICS_PORT", METRICS_PORT),
        _number(environment, "PLIMSOLL_WEBHOOK_PORT", WEBHOOK_PORT),
    )


async def _run(environment: Mapping[str, str]) -> int:
    settings, listen = operator_settings(environment), addresses(environment)
    from plimsoll.app.operator_pages import Page, ServerCertificate, status_app
    from plimsoll.backends.kubernetes.api import Api
    from plimsoll.backends.kubernetes.operator.operator import Operator

    stop = asyncio.Event()
    on_signals(stop.set, signal.SIGTERM, signal.SIGINT)
    api, metrics, certificate = Api.connect(), Metrics(), ServerCertificate()
    pages: list[Page] = []
    try:
        operator = Operator(api, settings, on_pair=lambda pair: certificate.load(pair.certificate, pair.key))
        _measured(metrics, operator)
        if listen.metrics:
            why = "what services consist of is not seen yet"
            app = status_app(metrics, lambda: "" if operator.ready else why)
            pages.append(Page(app, listen.host, listen.metrics))
        if listen.webhook:
            pages.append(Page(_webhook(operator), listen.host, listen.webhook, certificate.context))
        for page in pages:
            await page.start()
        await operator.run(stop)
    finally:
        await asyncio.gather(*(page.close() for page in pages), return_exceptions=True)
        await api.close()
    return 0


def _webhook(operator: "Operator") -> "ASGIApp":
    from plimsoll.backends.kubernetes.operator.neighbours import Neighbours
    from plimsoll.backends.kubernetes.webhook import Context, webhook_app

    services = Neighbours(operator.cache.services)
    return webhook_app(lambda: Context(operator.world.platform, services, known=operator.ready))


def _measured(metrics: Metrics, operator: "Operator") -> None:
    """docs/metrics.md lists them."""
    counts = operator.counts
    looks = metrics.counter("plimsoll_operator_looks_total", "Looks at a service.").labels()
    looks.read = lambda: counts.looks
    failures = metrics.counter("plimsoll_operator_failures_total", "Looks that must be repeated.").labels()
    failures.read = lambda: counts.failures
    calls = metrics.counter("plimsoll_operator_calls_total", "Requests that changed or looked up objects.").labels()
    calls.read = lambda: operator.keeper.applier.calls
    lists = metrics.counter("plimsoll_operator_lists_total", "Whole lists asked of the API server.").labels()
    lists.read = lambda: sum(one.lists for one in operator.watches.all)
    waiting = metrics.gauge("plimsoll_operator_queue_length", "Services that wait to be looked at.").labels()
    waiting.read = lambda: len(operator.queue)
    services = metrics.gauge("plimsoll_operator_services", "ModelServices that it sees.").labels()
    services.read = lambda: len(operator.cache.services)
    leading = metrics.gauge("plimsoll_operator_leading", "1 where this operator acts.").labels()
    leading.read = lambda: float(operator.elected.leading)
    counts.look_s = metrics.histogram("plimsoll_operator_look_seconds", "One look at a service.").labels().observe
    applied = "From a changed spec that the operator sees to its objects, applied."
    counts.applied_s = metrics.histogram("plimsoll_operator_apply_seconds", applied).labels().observe


def _list(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environment.get(name, "").split(",") if part.strip())


def _number(environment: Mapping[str, str], name: str, default: int, *, least: int = 0) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name}={text} is no number; expected {least} or more, such as {default}")
    return int(text)


if __name__ == "__main__":
    main()
