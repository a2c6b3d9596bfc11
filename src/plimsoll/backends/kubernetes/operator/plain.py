"""What Platforms and Tenants are told: whether they are understood. They have no objects of their own."""

from collections.abc import Mapping
from typing import Any

from plimsoll.backends.kubernetes.conditions import Condition, Reason, Type, merged
from plimsoll.backends.kubernetes.names import API_VERSION
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.apply import Applier, Refused
from plimsoll.backends.kubernetes.operator.kinds import Kind
from plimsoll.backends.kubernetes.operator.seen import stamp
from plimsoll.backends.kubernetes.operator.world import written
from plimsoll.backends.kubernetes.watching import Key
from plimsoll.core.errors import SpecErrors
from plimsoll.spec import Tenant

PLATFORMS = Kind(API_VERSION, "Platform", "platforms")
TENANTS = Kind(API_VERSION, "Tenant", "tenants")


class PlainKinds:
    """`wake`: something may have to be told. A turn without it costs nothing."""

    def __init__(self, applier: Applier) -> None:
        self._applier = applier
        self._awake = True
        self._used, self._problem = "", ""

    def wake(self) -> None:
        self._awake = True

    def platform(self, used: str, problem: str) -> None:
        self._used, self._problem, self._awake = used, problem, True

    async def turn(self, platforms: Mapping[Key, Obj], tenants: Mapping[Key, Obj], now: float) -> None:
        """Raises Unreachable; the next turn does the rest."""
        if not self._awake:
            return
        for key, obj in platforms.items():
            if key.name == self._used:
                said = self._problem
            else:
                said = f"there is one platform, and {self._used} is it; delete this one"
            await self._tell(PLATFORMS, obj, said, now)
        for obj in tenants.values():
            await self._tell(TENANTS, obj, tenant_problem(obj), now)
        self._awake = False

    async def _tell(self, kind: Kind, obj: Obj, problem: str, now: float) -> None:
        meta, status = obj["metadata"], obj.get("status") or {}
        if problem:
            condition = Condition(Type.READY, False, Reason.INVALID_SPEC, problem)
        else:
            condition = Condition(Type.READY, True, Reason.SERVING, "it is in force")
        before, generation = status.get("conditions") or (), int(meta.get("generation") or 0)
        conditions = merged(before, [condition], generation=generation, now=stamp(now))
        if conditions == before:
            return
        body: dict[str, Any] = {"status": {"observedGeneration": generation, "conditions": conditions}}
        try:
            await self._applier.patch(
                f"write the status of {kind.kind} {meta['name']}", kind.path("", meta["name"], "status"), body
            )
        except Refused:
            return  # a condition less; what it says stands in the log as well


def tenant_problem(obj: Obj) -> str:
    try:
        Tenant.parse(written(obj))
    except SpecErrors as error:
        return "; ".join(str(error).splitlines())
    return ""
