"""What rendering needs to know beside the service and the platform: images, and what the cluster can do."""

from dataclasses import dataclass, field
from enum import StrEnum

from plimsoll import __version__
from plimsoll.backends.kubernetes.names import SYSTEM_NAMESPACE

# The last four minors: what is rendered by default works on all of them.
OLDEST_MINOR, NEWEST_MINOR = 33, 36
DEFAULT_IMAGE = f"plimsoll:{__version__}"  # as `plimsoll build` names it; where it is pulled from is for install to say


class Mode(StrEnum):
    """`OPERATOR`: a Deployment a revision, counts by the controller. `PLAIN`: one stable Deployment that rolls, objects
    that need nobody behind them."""

    OPERATOR = "operator"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """`minor` of the server's version 1.x: fields that it doesn't know make server-side apply fail, and gated ones are
    dropped silently. `apis`: group/versions that are served, of those that are not built in (Gateway API, KEDA,
    Prometheus operator, cert-manager); objects of others are left out."""

    image: str = DEFAULT_IMAGE
    minor: int = OLDEST_MINOR
    apis: frozenset[str] = field(default_factory=frozenset)
    system_namespace: str = SYSTEM_NAMESPACE
    mode: Mode = Mode.OPERATOR
    image_pull_secrets: tuple[str, ...] = ()

    def has(self, group_version: str) -> bool:
        """`gateway.networking.k8s.io/v1`"""
        return group_version in self.apis
