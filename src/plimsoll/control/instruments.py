"""The controller's own metrics, set from what a tick has seen."""

from collections.abc import Mapping

from plimsoll.control.service_state import ServiceState
from plimsoll.ports.backend import ReplicaPhase
from plimsoll.telemetry.serving import ControllerMetrics


class Instruments:
    def __init__(self) -> None:
        self.metrics = ControllerMetrics()
        self._restarts: dict[str, dict[str, int]] = {}  # service -> replica -> restarts told so far

    def tick(self, services: Mapping[str, ServiceState], seconds: float) -> None:
        self.metrics.reconcile_seconds.observe(seconds)
        for name, state in services.items():
            self.metrics.replicas_wanted.labels(name).value = state.wanted
            for phase in ReplicaPhase:
                count = sum(replica.phase is phase for replica in state.seen)
                self.metrics.replicas.labels(name, phase.value).value = count
            before = self._restarts.get(name, {})
            now = {replica.id: replica.restarts for replica in state.seen}
            grown = sum(max(0, restarts - before.get(replica, 0)) for replica, restarts in now.items())
            self.metrics.restarts.labels(name).value += grown
            self._restarts[name] = now

    def new_revision(self, service: str) -> None:
        self.metrics.revisions.labels(service).value += 1

    def forget(self, service: str) -> None:
        for family in (
            self.metrics.replicas,
            self.metrics.replicas_wanted,
            self.metrics.restarts,
            self.metrics.revisions,
        ):
            family.forget(service)
        self._restarts.pop(service, None)
