"""What rendering returns, and what a revision is."""

from dataclasses import dataclass

from plimsoll.backends.kubernetes.objects import Obj


@dataclass(frozen=True, slots=True)
class Rendered:
    """`objects` in the order to apply them. `notes`: `KEY: why` for what is written but can't be honoured with these
    options, and what a person should know."""

    objects: tuple[Obj, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RevisionPlan:
    """One immutable revision of a service: `name` is that of its Deployment (`sentiment-7c9ab1f2d0`), `digest` the
    SHA-256 of everything that makes its pods differ: the pod template with its own label left out, and its config."""

    name: str
    digest: str
    objects: tuple[Obj, ...]  # its ConfigMap, then its Deployment or StatefulSet, without `spec.replicas`
