"""Tenants, limits and caches of a cluster: as on a laptop, but secrets lie in namespaces."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from plimsoll.control.edge import Edge
from plimsoll.control.timeline import Timeline
from plimsoll.core.snapshot import TenantView
from plimsoll.spec import ModelService, SecretRef, Whole
from plimsoll.spec.tenant import PlatformSecretRef

NamespacedSecrets = Callable[[str, str, str], str]
"""From namespace, name and key of a secret to its value. Raises LookupError, with one line for people."""


class ClusterEdge(Edge):
    """`system`: where secrets of tenants and the platform are looked for that name no namespace. A service's own lie
    beside it, and nowhere else: a reference is no way into another's namespace."""

    def __init__(self, secrets: NamespacedSecrets, timeline: Timeline, *, gateways: int, system: str) -> None:
        super().__init__(lambda folder, name, key: secrets(str(folder), name, key), timeline, gateways=gateways)
        self._system = system

    def count_gateways(self, gateways: int) -> None:
        """Without Redis each allows its part of a tenant's quota."""
        self._gateways = max(1, gateways)

    def cache_url_of(self, name: str, service: ModelService) -> str:
        """`name`: NAMESPACE/NAME. Two namespaces may have services of one name, and their secrets are theirs."""
        if service.cache_secret_ref is None:
            return ""
        return self._kept("ModelService", name, partial(self._cache_url, service)) or ""

    def tenant_views(self) -> tuple[TenantView, ...]:
        """One whose keys can't be had lets nobody in, but it is there: without any tenant the doors would be open."""
        views = {view.name: view for view in super().tenant_views()}
        return tuple(views.get(name) or TenantView(name) for name in sorted(self.tenants))

    def _where(self, whole: Whole, ref: SecretRef) -> Path:
        if isinstance(whole, ModelService):
            return Path(whole.metadata.namespace or "default")
        return Path((ref.namespace if isinstance(ref, PlatformSecretRef) else None) or self._system)
