"""What every part of rendering looks at: one service, its platform, what the cluster can do, and notes for a person."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from plimsoll.backends.kubernetes.names import (
    COMPONENT_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NAMESPACE_LABEL,
    SERVICE_LABEL,
    owned_labels,
)
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.options import ClusterOptions, Mode
from plimsoll.spec import ModelService, Platform

REPLICA = "replica"


@dataclass(frozen=True)
class Scene:
    """`notes` grows while parts are rendered; `note` keeps each once."""

    service: ModelService
    platform: Platform | None
    options: ClusterOptions
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def namespace(self) -> str:
        """ "" where the file names none: `kubectl apply -n` decides then."""
        return self.service.metadata.namespace or ""

    @property
    def plain(self) -> bool:
        return self.options.mode is Mode.PLAIN

    @property
    def secure(self) -> bool:
        """Gateways and replicas speak TLS. Certificates are the operator's: without it there are none."""
        return not self.plain and self.platform is not None and self.platform.spec.gateway.replica_tls == "Required"

    @property
    def serving(self) -> str:
        """The pods' own name for their serving port. While TLS is turned on there are pods of both kinds, and a slice
        names the ports that its pods have: so gateways know how to speak to which."""
        return "https" if self.secure else "http"

    @cached_property
    def written(self) -> Mapping[str, Any]:
        """The spec as the user wrote it."""
        found: Mapping[str, Any] = self.service.dump()["spec"]
        return found

    @property
    def pod_labels(self) -> dict[str, str]:
        """What selects the service's pods, whatever their revision."""
        return {SERVICE_LABEL: self.name, COMPONENT_LABEL: REPLICA}

    def note(self, key: str, why: str) -> None:
        line = f"{key}: {why}"
        if line not in self.notes:
            self.notes.append(line)

    def meta(self, name: str, *, labels: Mapping[str, str] | None = None, annotations: Obj | None = None) -> Obj:
        """Metadata of an object in the service's namespace."""
        found: Obj = {"name": name}
        if self.namespace:
            found["namespace"] = self.namespace
        found["labels"] = owned_labels(self.name) | dict(labels or {})
        if annotations:
            found["annotations"] = annotations
        return found

    def system_meta(self, name: str, *, annotations: Obj | None = None) -> Obj:
        """Metadata of an object of this service that must live beside the gateway. Nothing there can be owned by a
        ModelService elsewhere: whoever deletes the service deletes what has these labels."""
        found: Obj = {"name": name, "namespace": self.options.system_namespace}
        found["labels"] = owned_labels(self.name) | {NAMESPACE_LABEL: self.namespace or "default"}
        if annotations:
            found["annotations"] = annotations
        return found

    def shared_meta(self, name: str, namespace: str) -> Obj:
        """Metadata of an object that all services of a namespace share. It stays when one of them goes."""
        found: Obj = {"name": name}
        if namespace:
            found["namespace"] = namespace
        found["labels"] = {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: "shared"}
        return found
