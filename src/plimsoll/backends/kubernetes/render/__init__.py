"""A service as Kubernetes objects: pure functions of the service, the platform and what the cluster can do.

    render(service, platform, options) -> Rendered           everything, as `plimsoll render` prints it (Mode.PLAIN: one
                                                             stable Deployment with `spec.replicas`, no operator behind)
    revision_of(service, platform, options) -> RevisionPlan  Mode.OPERATOR: a revision's own objects
    service_objects(service, platform, options, active=NAME) -> Rendered
                                                             Mode.OPERATOR: what stays while revisions change; `active`
                                                             is the workload that an HPA or ScaledObject scales

    render_all(services, platform, options) -> Rendered      of many, in one order; what they share once

    scene      what every part looks at          pod, model, accelerators, security   the pod
    config     what a replica reads              merge, restricted                    podTemplate; Pod Security
    workload   Deployment or StatefulSet         service, network, routes             how it is reached, and by whom
    guards     PodDisruptionBudget               scaling, keda                        who writes the count

Objects in a service's namespace carry `owned_labels`; pods carry REVISION_LABEL as well. What must stand in the
system namespace for a service (an Ingress to the gateway) carries NAMESPACE_LABEL too, and goes with its service; what
the services of a namespace share (ReferenceGrant, cache volume) carries no service's name, and stays. Nothing here does
I/O.
"""

from plimsoll.backends.kubernetes.render.model import ModelNotPacked
from plimsoll.backends.kubernetes.render.rendered import Rendered, RevisionPlan
from plimsoll.backends.kubernetes.render.whole import render, render_all, revision_of, service_objects

__all__ = [
    "ModelNotPacked",
    "Rendered",
    "RevisionPlan",
    "render",
    "render_all",
    "revision_of",
    "service_objects",
]
