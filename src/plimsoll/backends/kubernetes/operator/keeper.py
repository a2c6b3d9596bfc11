"""One look at one service: what is wanted, what is seen, what is done about the difference. A short list of steps.

    keeper = Keeper(api, cache, world, tell=recorder.tell)
    outcome = await keeper.look(key, now)        # by one worker a service at a time

Nothing is remembered that can't be found again: after a restart the first look renders anew and applies only what
stands otherwise.
"""

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.names import FINALIZER
from plimsoll.backends.kubernetes.objects import Obj, ObjectKey, key_of
from plimsoll.backends.kubernetes.operator import kinds
from plimsoll.backends.kubernetes.operator.apply import Applier, Memory, Refused, newer
from plimsoll.backends.kubernetes.operator.cache import Cache
from plimsoll.backends.kubernetes.operator.judging import Look, refusal
from plimsoll.backends.kubernetes.operator.kinds import Kind
from plimsoll.backends.kubernetes.operator.models import adopt
from plimsoll.backends.kubernetes.operator.news import News
from plimsoll.backends.kubernetes.operator.revisions import revision_object, revision_status
from plimsoll.backends.kubernetes.operator.rolling import Create, Delete, Phase, Roll, RollSettings, Scale, roll
from plimsoll.backends.kubernetes.operator.seen import Owned, Seen, ServiceKey, ServiceObject, service_of
from plimsoll.backends.kubernetes.operator.status import StatusSettings, Writing, blind_status, status_of
from plimsoll.backends.kubernetes.operator.telling import Tell
from plimsoll.backends.kubernetes.operator.wanting import Problem, Understood, Wish, understood
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render import RevisionPlan, service_objects
from plimsoll.spec import Platform

LOG = logging.getLogger(__name__)

_NEVER_S = 10.0
_UNSEEN_S = 1.0  # a watch that brings our own write later than that is looked for again then


@dataclass(slots=True)
class World:
    """What all services share. `serial` grows with each change: then every wish is understood anew. `blind`: why what
    services consist of can't be seen; nothing is done then but saying so."""

    options: ClusterOptions
    platform: Platform | None = None
    serial: int = 0
    blind: Problem | None = None


class Outcome(NamedTuple):
    failed: bool = False
    again_s: float | None = None


@dataclass(slots=True)
class Kept:
    """Of one service between two looks."""

    uid: str
    writing: Writing
    news: News
    wish: Wish | None = None
    serial: int = -1
    rendered: tuple[int, int, str] | None = None  # (generation, serial, active) of what stands applied
    memory: Memory = field(default_factory=Memory)
    written: dict[str, tuple[str, float]] = field(default_factory=dict)  # a workload's version after our write, when
    refused: Problem | None = None
    adopted: str = ""  # the ConfigMap of its model, once there is nothing to do about it
    revision_status: dict[str, tuple[str, int, int]] = field(default_factory=dict)


class Keeper:
    def __init__(
        self,
        api: Api,
        cache: Cache,
        world: World,
        *,
        tell: Tell,
        may_act: Callable[[], bool] = lambda: True,
        prepare: Callable[[ServiceObject, float], Awaitable[None]] | None = None,
        rolling: RollSettings | None = None,
        status: StatusSettings | None = None,
    ) -> None:
        self.applier = Applier(api)
        self.cache, self.world = cache, world
        self._tell, self._may_act, self._prepare = tell, may_act, prepare
        self._rolling, self._status = rolling or RollSettings(), status or StatusSettings()
        self._kept: dict[ServiceKey, Kept] = {}

    def drifted(self, key: ServiceKey, obj: ObjectKey, owned: Owned | None) -> bool:
        """`owned`: as the watch shows it; None where it was deleted."""
        kept = self._kept.get(key)
        if kept is None:
            return False
        if owned is not None:
            return kept.memory.drifted(obj, owned)
        if not kept.memory.lost(obj):
            return False
        kept.rendered = None
        return True

    def settled(self, key: ServiceKey) -> bool:
        """Whether all its pods are of the revision that is wanted now."""
        kept, seen = self._kept.get(key), self.cache.seen(key)
        if kept is None or seen is None or kept.wish is None or kept.serial != self.world.serial:
            return False
        revision = kept.wish.revision
        known = seen.workload(revision) if revision is not None else None
        return known is not None and all(
            one.name == revision or not (one.replicas or one.exist) for one in seen.workloads
        )

    def unserved(self) -> set[Kind]:
        """Kinds of which something was left out, since this cluster doesn't know them."""
        return {kinds.kind_of(key) for kept in self._kept.values() for key in kept.memory.unserved}

    def served(self, found: Collection[Kind]) -> list[ServiceKey]:
        """It knows these now. The services of which something was left out."""
        keys = [key for key, kept in self._kept.items() if kept.memory.served(found)]
        for key in keys:
            self._kept[key].rendered = None
        return keys

    def forget_all(self) -> None:
        """Another operator acts now; what stood when we did may stand otherwise."""
        self._kept.clear()

    async def look(self, key: ServiceKey, now: float) -> Outcome:
        """`now`: seconds since 1970. Raises Unreachable."""
        seen = self.cache.seen(key)
        if seen is None:
            return await self._orphaned(key)
        service = seen.service
        kept = self._kept.get(key)
        if kept is None or kept.uid != service.uid:
            kept = self._kept[key] = Kept(service.uid, Writing(self._status), News(service))
        if self.world.blind is not None:
            return await self._say(kept, seen, blind_status(service, self.world.blind, now=now), None, now)
        if service.deleting:
            return await self._end(key, service)
        once = self._wish(kept, service)
        wish = once.wish
        rolled = roll(seen, wish.revision, first=_first(wish, service), now=now, settings=self._rolling)
        if not self._saw_own_writes(kept, seen, now):
            return Outcome(again_s=_UNSEEN_S)
        if not service.paused and not seen.namespace_ending:
            await self._act(kept, seen, once, rolled, now)
        refused = kept.refused
        kept.news.moved(seen, now, self._tell)
        status = status_of(Look(seen, wish, rolled, refused), now=now)
        outcome = await self._say(kept, seen, status, rolled, now)
        return Outcome(outcome.failed or refused is not None, outcome.again_s)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _wish(self, kept: Kept, service: ServiceObject) -> Understood:
        """Understood once a generation, since it takes milliseconds."""
        if kept.wish is not None and (kept.wish.generation, kept.serial) == (service.generation, self.world.serial):
            return Understood(kept.wish)
        once = understood(service, self.world.platform, self.world.options)
        kept.wish, kept.serial = once.wish, self.world.serial
        return once

    def _saw_own_writes(self, kept: Kept, seen: Seen, now: float) -> bool:
        """Whether what is seen is not older than what we wrote: or it would be counted on twice."""
        for name, (version, at) in list(kept.written.items()):
            workload = seen.workload(name)
            # One that somebody deleted at once is never seen.
            if workload is None and now - at < _NEVER_S:
                return False
            if workload is not None and newer(version, workload.version):
                return False
            del kept.written[name]
        return True

    async def _act(self, kept: Kept, seen: Seen, once: Understood, rolled: Roll, now: float) -> None:
        """Applies what isn't as rendered, and carries the roll's acts out. `kept.refused` says what was not allowed: it
        holds up nothing that needs it not, for half a roll costs twice the replicas."""
        before, kept.refused = kept.refused, None
        problem: Refused | None = None
        try:
            if FINALIZER not in seen.service.finalizers:
                await self._finalizers(seen.service, [FINALIZER])
            if once.wish.problem is not None:
                return
            state = (once.wish.generation, self.world.serial, rolled.target)
            owned = self.cache.owned[seen.service.key]
            drift = any(kept.memory.drifted(name, owned.get(name)) for name in kept.memory.objects)
            create = next((act for act in rolled.acts if isinstance(act, Create)), None)
            if state != kept.rendered or drift or create is not None or before is not None:
                kept.rendered = None
                try:
                    await self._apply(kept, seen, once, rolled, create, now)
                    kept.rendered = state
                except Refused as refused:
                    problem = refused
            packed = once.wish.configmap
            if packed not in ("", kept.adopted) and await adopt(self.applier, seen.service, packed):
                kept.adopted = packed
            for act in rolled.acts:
                if not isinstance(act, Create) and self._may_act():
                    await self._carry_out(kept, seen, act, now)
            await self._revision_status(kept, seen, rolled, now)
        except Refused as refused:
            problem = problem or refused
        if problem is not None:
            error = problem.error
            kept.refused = refusal(error.code, error.reason, str(error), doing=problem.doing)

    async def _apply(
        self, kept: Kept, seen: Seen, once: Understood, rolled: Roll, create: Create | None, now: float
    ) -> None:
        service = seen.service
        if once.service is None or once.plan is None:
            once = understood(service, self.world.platform, self.world.options)
        assert once.service is not None  # a wish without a problem has both
        assert once.plan is not None
        if self._prepare is not None:
            await self._prepare(service, now)
        around = service_objects(once.service, self.world.platform, self.world.options, active=rolled.target)
        objects = [self._ours(service, obj) for obj in (*around.objects, *once.plan.objects)]
        refused: list[Refused] = []
        if create is not None:
            try:
                objects = await self._created(seen, once.plan, create, objects)
            except Refused as first_of_all:
                refused, objects = [first_of_all], [obj for obj in objects if not _is_workload(obj, once.plan.name)]
        elif seen.workload(once.plan.name) is None:  # it is going; it comes again once it is gone
            objects = [obj for obj in objects if not _is_workload(obj, once.plan.name)]
        owned = self.cache.owned[service.key]
        first = [obj for obj in objects if obj["kind"] in kinds.FIRST]
        rest = [obj for obj in objects if obj["kind"] not in kinds.FIRST]
        refused += await self.applier.apply_all(first, kept.memory, owned)
        refused += await self.applier.apply_all(rest, kept.memory, owned)
        for obj in objects:
            stands = kept.memory.objects.get(key_of(obj))
            if create is not None and stands is not None and _is_workload(obj, once.plan.name):
                kept.written[once.plan.name] = stands.version, now
                self._tell(service, "Normal", "Created", create.told)
        if refused:
            raise refused[0]
        await self._prune(kept, {key_of(obj) for obj in objects}, owned)

    async def _created(self, seen: Seen, plan: RevisionPlan, create: Create, objects: list[Obj]) -> list[Obj]:
        """The new workload with its count, and its Revision. Where it exists and only the watch doesn't know yet, it is
        left as it is: an apply could take its count away."""
        if await self.applier.stands(next(obj for obj in objects if _is_workload(obj, plan.name))):
            return [obj for obj in objects if not _is_workload(obj, plan.name)]
        made = [
            {**obj, "spec": {"replicas": create.replicas, **obj["spec"]}} if _is_workload(obj, plan.name) else obj
            for obj in objects
        ]
        if all(one.name != plan.name for one in seen.revisions):
            number = max((one.number for one in seen.revisions), default=0) + 1
            made.append(self._ours(seen.service, revision_object(seen.service, plan, number)))
        return made

    async def _prune(self, kept: Kept, known: set[ObjectKey], owned: dict[ObjectKey, Owned]) -> None:
        """What we made once and is rendered no more. Revisions' objects are the roll's."""
        for name in [name for name in kept.memory.objects if name not in known]:
            del kept.memory.objects[name]
            kept.memory.unserved.discard(name)
        for name, one in list(owned.items()):
            if name not in known and not one.revision and one.ours and not one.deleting and self._may_act():
                await self.applier.delete(kinds.kind_of(name), name.namespace, name.name)

    async def _carry_out(self, kept: Kept, seen: Seen, act: Scale | Delete, now: float) -> None:
        key = seen.service.key
        kind = next(one for one in kinds.WORKLOADS if one.kind == act.kind)
        match act:
            case Scale(workload, _, replicas, why):
                version = await self.applier.scale(kind, key.namespace, workload, replicas)
                kept.written[workload] = version, now
                self._tell(seen.service, "Normal", "Scaled", f"{workload} to {replicas}: {why}")
            case Delete(workload):
                for name, one in list(self.cache.owned[key].items()):
                    if one.revision == workload and name.kind != act.kind:
                        await self.applier.delete(kinds.kind_of(name), name.namespace, name.name)
                await self.applier.delete(kind, key.namespace, workload)
                await self.applier.delete(kinds.REVISIONS, key.namespace, workload)
                said = f"revision {workload}: {self._rolling.keep} newer ones are kept"
                self._tell(seen.service, "Normal", "Deleted", said)

    async def _revision_status(self, kept: Kept, seen: Seen, rolled: Roll, now: float) -> None:
        key = seen.service.key
        for revision in seen.revisions:
            found = revision_status(revision, seen, rolled, now)
            if found is None or kept.revision_status.get(revision.name) == found.counts:
                continue
            path = kinds.REVISIONS.path(key.namespace, revision.name, "status")
            await self.applier.patch(f"write the status of Revision {revision.name}", path, {"status": found.status})
            kept.revision_status[revision.name] = found.counts

    async def _say(self, kept: Kept, seen: Seen, status: Obj, rolled: Roll | None, now: float) -> Outcome:
        """Writes what is new to say."""
        service, figures = seen.service, seen.figures
        patch = kept.writing.patch(status, service.status, figures, now)
        again_s = _sooner(
            None if rolled is None else rolled.waits_s, kept.writing.again_s(status, service.status, figures, now)
        )
        if patch is None:
            return Outcome(again_s=again_s)
        path = kinds.SERVICES.path(service.key.namespace, service.key.name, "status")
        try:
            answer = await self.applier.patch(f"write the status of {service.key}", path, {"status": patch})
        except Refused as refused:
            if refused.error.code == 404:
                return Outcome()  # it went meanwhile
            LOG.warning("%s", refused)
            return Outcome(failed=True, again_s=again_s)
        self.cache.stands(service_of(answer))
        kept.writing.wrote(patch, figures, now)
        kept.news.ready(service, status, self._tell)
        # What follows from the switch of the scale target need not wait for the watch.
        if "scaleTarget" in patch and rolled is not None and rolled.phase is not Phase.STEADY:
            again_s = _sooner(again_s, 0.05)
        return Outcome(again_s=again_s)

    # --- beginning and end --------------------------------------------------------------------------------------------

    async def _finalizers(self, service: ServiceObject, finalizers: list[str]) -> None:
        """Ours alone: others' stay. With its uid an object that is gone isn't made anew."""
        meta: Obj = {"name": service.key.name, "namespace": service.key.namespace, "uid": service.uid}
        if finalizers:
            meta["finalizers"] = finalizers
        answer = await self.applier.applied(
            {"apiVersion": kinds.SERVICES.api_version, "kind": "ModelService", "metadata": meta}
        )
        self.cache.stands(service_of(answer))

    async def _end(self, key: ServiceKey, service: ServiceObject) -> Outcome:
        """What has it as its owner goes by itself; what stands in another namespace goes here."""
        try:
            await self._away(key)
            if FINALIZER in service.finalizers:
                await self._finalizers(service, [])
        except Refused as refused:
            if refused.error.code not in (404, 409):  # gone already
                LOG.warning("%s can't be ended: %s", key, refused)
                return Outcome(failed=True)
        self._kept.pop(key, None)
        return Outcome()

    async def _orphaned(self, key: ServiceKey) -> Outcome:
        """It is gone. What stands in another namespace for it has no owner there that Kubernetes could follow."""
        self._kept.pop(key, None)
        try:
            await self._away(key)
        except Refused as refused:
            LOG.warning("what %s left can't be deleted: %s", key, refused)
            return Outcome(failed=True)
        self.cache.forget(key)
        return Outcome()

    async def _away(self, key: ServiceKey) -> None:
        for name, one in list(self.cache.owned.get(key, {}).items()):
            if name.namespace != key.namespace and one.ours and not one.deleting:
                await self.applier.delete(kinds.kind_of(name), name.namespace, name.name)

    def _ours(self, service: ServiceObject, obj: Obj) -> Obj:
        """With its owner, where it lives in the owner's namespace and isn't shared with others."""
        meta = obj["metadata"]
        if meta.get("namespace") != service.key.namespace or kinds.kind_of(key_of(obj)).shared:
            return obj
        owner = {
            "apiVersion": kinds.SERVICES.api_version,
            "kind": "ModelService",
            "name": service.key.name,
            "uid": service.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        return {**obj, "metadata": {**meta, "ownerReferences": [owner]}}


def _is_workload(obj: Obj, name: str) -> bool:
    return obj["kind"] in ("Deployment", "StatefulSet") and obj["metadata"]["name"] == name


def _first(wish: Wish, service: ServiceObject) -> int:
    """Where all workloads are gone (deleted by hand) the count that was wanted last."""
    last = service.status.get("desiredReplicas") if service.status.get("scaleTarget") else None
    return wish.first if last is None else int(last)


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)
