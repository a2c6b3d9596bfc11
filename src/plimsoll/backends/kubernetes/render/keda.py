"""A ScaledObject: KEDA asks our controller how many replicas there should be, or follows a clock of its own.

https://keda.sh/docs/latest/reference/scaledobject-spec/; scalers `external` and `cron` from the pages beside it.
"""

from plimsoll.backends.kubernetes.names import CONTROLLER_API, SCALER_PORT
from plimsoll.backends.kubernetes.objects import Obj, without_empty
from plimsoll.backends.kubernetes.render.scaling import KEDA_API, behavior, target_of
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.core.errors import UserError
from plimsoll.spec.scaling_parts import ScheduleEntry

PAUSED_ANNOTATION = "autoscaling.keda.sh/paused-replicas"
_POLL_S = 5  # how often KEDA asks whether a service that is at 0 should wake


def scaled_object(scene: Scene, active: str) -> Obj:
    """`active`: the workload that it scales. A count set by hand pauses it there. Raises UserError for a schedule that
    KEDA alone can't follow."""
    by_hand = scene.service.spec.replicas
    spec: Obj = {
        "scaleTargetRef": target_of(scene, active),
        "pollingInterval": _POLL_S,
        "cooldownPeriod": round(scene.service.scale_to_zero_after_s) if scene.service.min_replicas == 0 else None,
        "minReplicaCount": _least(scene),
        "maxReplicaCount": scene.service.max_replicas,
        "triggers": _clock(scene) if scene.plain else [_asking(scene)],
        "advanced": without_empty({"horizontalPodAutoscalerConfig": without_empty({"behavior": behavior(scene)})}),
    }
    annotations = None if by_hand is None else {PAUSED_ANNOTATION: str(by_hand)}
    return {
        "apiVersion": KEDA_API,
        "kind": "ScaledObject",
        "metadata": scene.meta(scene.name, annotations=annotations),
        "spec": without_empty(spec),
    }


def _least(scene: Scene) -> int:
    entries = () if scene.service.spec.scaling.schedule is None else scene.service.spec.scaling.schedule.entries
    if scene.plain and entries:
        return min(one.replicas for one in entries)
    return scene.service.min_replicas


def scaler_address(scene: Scene) -> str:
    return f"{CONTROLLER_API}.{scene.options.system_namespace}.svc:{SCALER_PORT}"


def _asking(scene: Scene) -> Obj:
    """The service's namespace comes with the question."""
    return {"type": "external", "metadata": {"scalerAddress": scaler_address(scene), "service": scene.name}}


def _clock(scene: Scene) -> list[Obj]:
    """KEDA's cron has a start and an end, ours lasts until another entry fires: the next entry is the end."""
    schedule = scene.service.spec.scaling.schedule
    assert schedule is not None
    found: list[Obj] = []
    entries = _in_turn(scene, schedule.entries)
    for index, entry in enumerate(entries):
        metadata = {
            "timezone": schedule.time_zone,
            "start": entry.cron,
            "end": entries[(index + 1) % len(entries)].cron,
            "desiredReplicas": str(entry.replicas),
        }
        if entry.replicas > _least(scene):
            found.append({"type": "cron", "metadata": metadata})
    if not found:  # one count all the time
        start, end = "0 0 * * *", "59 23 * * *"
        metadata = {"timezone": schedule.time_zone, "start": start, "end": end, "desiredReplicas": str(_least(scene))}
        found.append({"type": "cron", "metadata": metadata})
    return found


def _in_turn(scene: Scene, entries: tuple[ScheduleEntry, ...]) -> list[ScheduleEntry]:
    """Two take turns by themselves; more only where all fire on the same days, at one time each."""
    if len(entries) <= 2:
        return list(entries)
    times: list[tuple[int, int, ScheduleEntry]] = []
    for entry in entries:
        minute, hour, *days = entry.cron.split()
        if not (minute.isdecimal() and hour.isdecimal() and days == entries[0].cron.split()[2:]):
            raise UserError(
                f"{scene.service.place('spec.scaling.schedule')}  spec.scaling.schedule: KEDA alone can't follow "
                "entries of different days or with several times in one; install the operator, which can"
            )
        times.append((int(hour), int(minute), entry))
    return [entry for _, _, entry in sorted(times, key=lambda one: one[:2])]
