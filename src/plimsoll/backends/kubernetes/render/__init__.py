"""A service as Kubernetes objects: pure functions of the service, the platform and what the cluster can do.

    render(service, platform, options) -> Rendered           everything, as `plimsoll render` prints it (Mode.PLAIN: one
                                                             stable Deployment with `spec.replicas`, no operator behind)
    revision_of(service, platform, options) -> RevisionPlan  Mode.OPERATOR: a revision's own objects
    service_objects(service, platform, options, active=NAME) -> Rendered
                                                             Mode.OPERATOR: what stays while revisions change; `active`
                                                             is the workload that an HPA or ScaledObject scales

Objects in a service's namespace carry `owned_labels`; pods carry REVISION_LABEL as well. Nothing here does I/O.
"""

from plimsoll.backends.kubernetes.render.rendered import Rendered, RevisionPlan
from plimsoll.backends.kubernetes.render.whole import render, render_all, revision_of, service_objects

__all__ = ["Rendered", "RevisionPlan", "render", "render_all", "revision_of", "service_objects"]
