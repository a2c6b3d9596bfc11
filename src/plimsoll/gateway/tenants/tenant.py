"""One tenant as the door sees it, made anew from each snapshot; only its quota lives on."""

from collections.abc import Mapping

from plimsoll.core.snapshot import Allow, ServiceView, TenantView
from plimsoll.policy.admission import TenantQuota


class Tenant:
    """`hop_lines`: ready header lines for the hop to a replica, which trusts them. `services`: of the same snapshot,
    by name."""

    __slots__ = ("_allow", "_known", "_services", "hop_lines", "max_priority", "name", "quota", "weight")

    def __init__(self, view: TenantView, services: Mapping[str, ServiceView], quota: TenantQuota) -> None:
        self.name = view.name
        self.weight = view.weight
        self.max_priority = view.max_priority
        self.quota = quota
        self.hop_lines = _line(b"plimsoll-tenant", view.name) + _line(b"plimsoll-weight", f"{view.weight:g}")
        self._allow = view.allow
        self._services = services
        self._known: dict[str, bool] = {}  # found out when first asked: a thousand tenants by a thousand services

    def allows(self, service: str) -> bool:
        """Whether it may call the service of this name."""
        known = self._known.get(service)
        if known is None:
            view = self._services.get(service)
            known = view is not None and (not self._allow or any(reaches(allow, view) for allow in self._allow))
            if view is not None:
                self._known[service] = known
        return known

    def __repr__(self) -> str:
        return f"Tenant({self.name!r})"


def reaches(allow: Allow, service: ServiceView) -> bool:
    if allow.namespaces and service.namespace not in allow.namespaces:
        return False
    return all(service.labels.get(name) == value for name, value in allow.labels.items())


def _line(name: bytes, value: str) -> bytes:
    """Raises ValueError where `value` could end the line early."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{value!r} can't stand in a header")
    return b"%b: %b\r\n" % (name, value.encode())
