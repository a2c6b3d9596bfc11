"""Everything of a service, in the order to apply it."""

from collections.abc import Sequence

from plimsoll.backends.kubernetes.objects import Obj, key_of
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render.rendered import Rendered, RevisionPlan
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.backends.kubernetes.render.service import service_account, service_object
from plimsoll.backends.kubernetes.render.workload import deployment, plan_revision
from plimsoll.core.errors import UserError
from plimsoll.spec import ModelService, Platform


def render(service: ModelService, platform: Platform | None, options: ClusterOptions) -> Rendered:
    """All objects of a service. Mode.PLAIN: works with nobody behind it. Mode.OPERATOR: as the operator would apply
    them, the revision's objects included. Raises UserError, naming the remedy, for what can't run on a cluster."""
    scene = Scene(service, platform, options)
    plan = plan_revision(scene)
    around = service_objects(service, platform, options, active=service.name if scene.plain else plan.name)
    if scene.plain:
        objects = (plan.objects[0], *around.objects, deployment(scene, plan.name, replicas=service.wanted_replicas))
    else:
        objects = (*around.objects, *plan.objects)
    return Rendered(objects, tuple(dict.fromkeys([*scene.notes, *around.notes])))


def revision_of(service: ModelService, platform: Platform | None, options: ClusterOptions) -> RevisionPlan:
    """A revision's own objects. Raises UserError as `render` does."""
    return plan_revision(Scene(service, platform, options))


def service_objects(service: ModelService, platform: Platform | None, options: ClusterOptions, active: str) -> Rendered:
    """What stays while revisions change. `active`: the workload that an HPA or ScaledObject scales."""
    scene = Scene(service, platform, options)
    objects: list[Obj] = [service_account(scene), service_object(scene)]
    return Rendered(tuple(objects), tuple(scene.notes))


def render_all(services: Sequence[ModelService], platform: Platform | None, options: ClusterOptions) -> Rendered:
    """Of all services, by namespace and name, whatever order they come in. Raises UserError where two objects have one
    name."""
    objects: list[Obj] = []
    notes: list[str] = []
    owners: dict[object, str] = {}
    for service in sorted(services, key=lambda one: (one.metadata.namespace or "", one.name)):
        rendered = render(service, platform, options)
        notes += [f"{service.name}: {line}" for line in rendered.notes]
        for obj in rendered.objects:
            key = key_of(obj)
            first = owners.setdefault(key, service.name)
            if first != service.name:
                raise UserError(
                    f"{service.place('metadata.name')}: {key.kind} {key.name} of {service.name} is made for {first} "
                    "too; rename one of the services"
                )
            objects.append(obj)
    return Rendered(tuple(objects), tuple(notes))
