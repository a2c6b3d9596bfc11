"""Everything of a service, in the order to apply it."""

from collections.abc import Sequence

from plimsoll.backends.kubernetes.objects import Obj, ObjectKey, key_of
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render.guards import disruption_budget
from plimsoll.backends.kubernetes.render.keda import scaled_object
from plimsoll.backends.kubernetes.render.model import cache_claim, uses_claim
from plimsoll.backends.kubernetes.render.network import monitor, network_policy
from plimsoll.backends.kubernetes.render.rendered import Rendered, RevisionPlan
from plimsoll.backends.kubernetes.render.routes import routes
from plimsoll.backends.kubernetes.render.scaling import KEDA_API, count, hpa
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.backends.kubernetes.render.service import headless_service, service_account, service_object
from plimsoll.backends.kubernetes.render.workload import plan_revision
from plimsoll.spec import ModelService, Platform


def render(service: ModelService, platform: Platform | None, options: ClusterOptions) -> Rendered:
    """All objects of a service. Mode.PLAIN: works with nobody behind it. Mode.OPERATOR: as the operator would apply
    them, the revision's objects included, without a count. Raises UserError, naming the remedy, for what can't run on a
    cluster, ModelNotPacked among them."""
    scene = Scene(service, platform, options)
    plan = plan_revision(scene, replicas=count(scene).replicas)
    around = _around(scene, active=scene.name if scene.plain else plan.name)
    # Addresses and policies before pods, scalers and routes after what they name.
    before = [obj for obj in around if obj["kind"] in _FIRST]
    after = [obj for obj in around if obj["kind"] not in _FIRST]
    return Rendered((*before, *plan.objects, *after), tuple(scene.notes))


_FIRST = frozenset({"ServiceAccount", "PersistentVolumeClaim", "NetworkPolicy", "Service", "PodDisruptionBudget"})


def revision_of(service: ModelService, platform: Platform | None, options: ClusterOptions) -> RevisionPlan:
    """A revision's own objects. Raises UserError as `render` does."""
    return plan_revision(Scene(service, platform, options))


def service_objects(service: ModelService, platform: Platform | None, options: ClusterOptions, active: str) -> Rendered:
    """What stays while revisions change. `active`: the workload that an HPA or ScaledObject scales."""
    scene = Scene(service, platform, options)
    objects = _around(scene, active=active)
    return Rendered(tuple(objects), tuple(scene.notes))


def _around(scene: Scene, *, active: str) -> list[Obj]:
    ways_in = routes(scene)
    found = [
        service_account(scene),
        cache_claim(scene) if uses_claim(scene) else None,
        network_policy(scene, routed=scene.plain and bool(ways_in)),
        service_object(scene),
        headless_service(scene),
        disruption_budget(scene),
        _scaler(scene, active),
        *ways_in,
        monitor(scene),
    ]
    return [obj for obj in found if obj is not None]


def _scaler(scene: Scene, active: str) -> Obj | None:
    match count(scene).writer:
        case "HPA":
            return hpa(scene, active)
        case "KEDA" if scene.options.has(KEDA_API):
            return scaled_object(scene, active)
        case _:
            return None


def render_all(services: Sequence[ModelService], platform: Platform | None, options: ClusterOptions) -> Rendered:
    """Of all services, by namespace and name, whatever order they come in. What several share stands there once. Raises
    SpecError where two services need different objects of one name."""
    found: dict[ObjectKey, tuple[Obj, str]] = {}
    notes: list[str] = []
    for service in sorted(services, key=lambda one: (one.namespace, one.name)):
        rendered = render(service, platform, options)
        who = f"{service.namespace}/{service.name}" if service.namespace else service.name
        notes += [f"{who}: {line}" for line in rendered.notes]
        for obj in rendered.objects:
            key = key_of(obj)
            first, owner = found.setdefault(key, (obj, who))
            if owner != who and first != obj:
                message = f"its {key.kind} {key.name} has the name of one of {owner}; rename one of the two services"
                raise service.problem("metadata.name", message)
    return Rendered(tuple(obj for obj, _ in found.values()), tuple(notes))
