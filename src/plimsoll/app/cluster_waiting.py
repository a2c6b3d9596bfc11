"""Waiting until what was applied to a cluster serves: all of it, with as many replicas as are wanted.

What is told is counted from the status: the words of its conditions may be half a minute old.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plimsoll.app.cluster_services import KIND, Applied
from plimsoll.backends.kubernetes.conditions import Reason
from plimsoll.backends.kubernetes.install import telling
from plimsoll.backends.kubernetes.install.reach import Reach
from plimsoll.backends.kubernetes.names import API_VERSION, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj

Told = Callable[[Applied, str, str], None]
_POLL_S = 0.5
_UNSEEN_S = 5.0  # an operator looks within a second; one that was just restarted may need its Lease first
_COUNTED = re.compile(r"\d+ of \d+ replicas are ready")
_MOST_PODS = 3  # that are named with what is wrong with them


class Stand(NamedTuple):
    """`done`: True when it serves as applied with all replicas, False when it can't, None while that is not known."""

    done: bool | None
    phase: str
    words: str
    ready: int = 0
    wanted: int = 0


def standing(service: Obj, generation: int) -> Stand:
    """Where one stands on its way to what was applied as `generation`."""
    status = service.get("status") or {}
    told = telling.told_of(service, [])
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    reason = (conditions.get("Ready") or {}).get("reason")
    ready, wanted = int(told["replicas"]["ready"]), int(told["replicas"]["wanted"])
    words = _COUNTED.sub(f"{ready} of {wanted} replicas are ready", str(told["message"]), count=1)
    seen = int(status.get("observedGeneration", 0)) >= generation
    if told["phase"] in ("Failed", "Degraded"):
        # Where no node has room, nodes may come: an autoscaler takes minutes.
        done = None if not seen or reason == Reason.UNSCHEDULABLE else False
        phase = "Progressing" if done is None and told["phase"] == "Failed" else str(told["phase"])
        return Stand(done, phase, words, ready, wanted)
    if told["phase"] != "Ready" or told["new_revision"] or not seen:
        return Stand(None, "Progressing", words, ready, wanted)
    if ready >= wanted or reason == Reason.SCALED_TO_ZERO:
        return Stand(True, "Ready", words, ready, wanted)
    short = conditions.get("CapacityAvailable") or {}
    why = f"; {short['message']}" if short.get("status") == "False" and short.get("message") else ""
    return Stand(None, "Progressing", f"{words}{why}", ready, wanted)


@dataclass(slots=True)
class _Waiting:
    reach: Reach
    told: Told
    begun: float
    said: dict[tuple[str, str], tuple[str, str]]

    async def look(self, one: Applied, now: float) -> bool:
        """Whether there is nothing more to wait for."""
        found = await self.reach.get(API_VERSION, KIND, one.name, one.namespace)
        if found is None:
            one.failed = "it was deleted meanwhile"
            self.told(one, "Failed", one.failed)
            return True
        stand = standing(found, one.generation)
        seen = int((found.get("status") or {}).get("observedGeneration", 0))
        if seen < one.generation and now < self.begun + _UNSEEN_S:
            return False  # nobody has had time to look at it; what the status says is of what was there before
        self._tell(one, stand.phase, stand.words)
        if stand.done is None:
            return False
        one.url = str((found.get("status") or {}).get("url") or "")
        one.failed = "" if stand.done else stand.words or "failed"
        return True

    def _tell(self, one: Applied, phase: str, words: str) -> None:
        if self.said.get((one.namespace, one.name)) != (phase, words):
            self.said[one.namespace, one.name] = phase, words
            self.told(one, phase, words)

    async def give_up(self, one: Applied, timeout_s: float) -> None:
        known = self.said.get((one.namespace, one.name), ("", ""))[1]
        found = await self.reach.get(API_VERSION, KIND, one.name, one.namespace)
        stand = standing(found, one.generation) if found is not None else None
        serves = stand is not None and 0 < stand.ready < stand.wanted
        what = f"{stand.ready} of {stand.wanted} replicas are ready" if stand is not None and serves else "not ready"
        one.failed = f"{what} after {timeout_s:g} s; it goes on"
        why = await self._pods(one) if serves and known.endswith("replicas are ready") else known
        one.failed += f". Last: {why}" if why else ""
        self.told(one, "Failed", one.failed)

    async def _pods(self, one: Applied) -> str:
        """What is wrong with those that aren't ready."""
        pods = await self.reach.list("v1", "Pod", one.namespace, labels=f"{SERVICE_LABEL}={one.name}")
        instances: list[dict[str, Any]] = [telling.instance_of(pod) for pod in pods]
        late = [each for each in instances if each["phase"] not in ("ready", "draining")]
        named = [f"{each['id']} {each['phase']}" + (f": {each['reason']}" if each["reason"] else "") for each in late]
        more = f" (and {len(named) - _MOST_PODS} more)" if len(named) > _MOST_PODS else ""
        return "; ".join(named[:_MOST_PODS]) + more


async def await_ready(reach: Reach, applied: Sequence[Applied], timeout_s: float, told: Told) -> bool:
    """Until each serves what was applied, or can't. `told(which, phase, words)` at each change. Whether all do."""
    waiting = [one for one in applied if one.kind == KIND]
    clock = asyncio.get_running_loop().time
    look = _Waiting(reach, told, clock(), {})
    while waiting:
        waiting = [one for one in waiting if not await look.look(one, clock())]
        if waiting and clock() > look.begun + timeout_s:
            for one in waiting:
                await look.give_up(one, timeout_s)
            break
        if waiting:
            await asyncio.sleep(_POLL_S)
    return not any(one.failed for one in applied)
