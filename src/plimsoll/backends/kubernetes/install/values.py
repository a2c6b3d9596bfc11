"""What an installation can be told: one YAML file, `--set` on the command line, or the chart's values.

Each key has a default, so an empty file is a whole installation. An unknown key is an error that names the nearest one.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from plimsoll import __version__
from plimsoll.backends.kubernetes.names import GPU_QUERY, SYSTEM_NAMESPACE
from plimsoll.core.errors import SpecErrors, UserError
from plimsoll.spec.base import Part
from plimsoll.spec.document import read_documents
from plimsoll.spec.explain import validated
from plimsoll.spec.origin import Origin
from plimsoll.spec.values import DnsLabel

# Part of a pod's spec, as Kubernetes has it: passed on unread.
Free = dict[str, Any]
FreeList = Annotated[tuple[Free, ...], Field(strict=False)]
Names = Annotated[tuple[DnsLabel, ...], Field(strict=False)]

_IMAGE = r"^[a-z0-9]+([._/:-][a-z0-9]+)*$"
_TAG = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"


class Image(Part):
    """Plimsoll's own image: operator, controller, gateway, and replicas without an image of their own."""

    repository: str = Field(default="plimsoll", pattern=_IMAGE, max_length=255, description="Where it is, without tag.")
    tag: str = Field(default=__version__, pattern=_TAG, description="Its tag.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent", description="When to pull.")
    pull_secrets: FreeList = Field(
        default=(), description="Secrets to pull with, in the system namespace: [{name: registry}]."
    )


class Scheduling(Part):
    """Where pods may run, as Kubernetes has it."""

    node_selector: Free = Field(default_factory=dict, description="Labels that a node must have.")
    tolerations: FreeList = Field(default=(), description="Taints that don't keep it away.")


class Component(Scheduling):
    """One of Plimsoll's own Deployments."""

    replicas: int = Field(default=2, ge=0, le=100, description="How many pods.")
    resources: Free = Field(
        default_factory=lambda: {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "320Mi"}},
        description="Requests and limits of a pod.",
    )


class Autoscaling(Part):
    """How many gateways there are."""

    enabled: bool = Field(default=True, description="A HorizontalPodAutoscaler decides, not gateway.replicas.")
    min_replicas: int = Field(default=2, ge=1, le=1000, description="The fewest gateways.")
    max_replicas: int = Field(default=10, ge=1, le=1000, validate_default=True, description="The most gateways.")
    cpu: int = Field(default=60, ge=10, le=100, description="Percent of the CPU request in use that is aimed at.")

    @field_validator("max_replicas")
    @classmethod
    def _max_is_not_below_min(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min_replicas", 1)
        if most < least:
            raise ValueError(f"{most} is below minReplicas; expected {least} or more")
        return most


class Door(Part):
    """The Service in front of the gateways."""

    type: Literal["ClusterIP", "LoadBalancer", "NodePort"] = Field(
        default="ClusterIP", description="ClusterIP: behind an Ingress or a Gateway. LoadBalancer: open to the world."
    )
    annotations: Free = Field(default_factory=dict, description="What a cloud's load balancer is told.")


class Gateway(Component):
    """The front door."""

    resources: Free = Field(
        default_factory=lambda: {"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        description="Requests and limits of a pod: one gateway uses one core.",
    )
    service: Door = Field(default_factory=Door, description="The Service in front of the gateways.")
    autoscaling: Autoscaling = Field(default_factory=Autoscaling, description="How many gateways there are.")
    tls_secret_name: DnsLabel = Field(
        default="plimsoll-gateway-tls",
        description="A kubernetes.io/tls Secret in the system namespace for the port 8443; while there is none, that "
        "port is closed.",
    )
    client_ca_secret_name: DnsLabel = Field(
        default="plimsoll-client-ca",
        description="A Secret in the system namespace whose ca.crt says who may sign tenants' certificates; while "
        "there is none, nobody is asked for one.",
    )
    pre_stop_seconds: int = Field(
        default=5, ge=0, le=120, description="How long it serves on while load balancers forget it."
    )
    grace_seconds: int = Field(
        default=75,
        ge=10,
        le=3600,
        validate_default=True,
        description="When it is ended by force: 15 s more than the longest timeout and preStopSeconds together.",
    )

    @field_validator("grace_seconds")
    @classmethod
    def _grace_covers_pre_stop(cls, grace: int, info: ValidationInfo) -> int:
        sleep = info.data.get("pre_stop_seconds", 0)
        if grace <= sleep:
            raise ValueError(f"{grace} is not above preStopSeconds; expected more than {sleep}")
        return grace


class MetricsApis(Part):
    """What the controller serves to autoscalers through the API server. One cluster has one of each: where another
    serves them already (KEDA, an adapter), leave them off."""

    external: bool = Field(
        default=False, description="external.metrics.k8s.io: plimsoll_desired_replicas, for writer: HPA."
    )
    custom: bool = Field(default=False, description="custom.metrics.k8s.io: requests_per_second of pods, for HPAs.")


class Queries(Part):
    """PromQL, a figure each. A sample belongs to a service by its labels `namespace` and `service`, or by `pod`."""

    requests_per_second: str = Field(default="", max_length=4096, description="For requests_per_second.")
    queue_length: str = Field(default="", max_length=4096, description="For queue_length.")
    concurrency: str = Field(default="", max_length=4096, description="For concurrency.")
    predicted_p99_seconds: str = Field(default="", max_length=4096, description="For predicted_p99_seconds.")
    gpu_utilization: str = Field(
        default=GPU_QUERY, max_length=4096, description="For gpu_utilization, a share of one: NVIDIA's DCGM exporter."
    )


class Prometheus(Part):
    """Figures that gateways and replicas can't measure, where there is a Prometheus."""

    url: str = Field(
        default="",
        pattern=r"^(https?://[^\s]+)?$",
        max_length=2048,
        description="http://HOST:PORT. Empty: none is asked.",
    )
    secret_name: DnsLabel = Field(
        default="plimsoll-prometheus",
        description="A Secret in the system namespace: token is shown as a bearer token, ca.crt says who signs its "
        "certificate. It need not be there.",
    )
    queries: Queries = Field(default_factory=Queries, description="What is asked each 15 s. Empty: not asked.")


class Webhook(Part):
    """Refuses what can't work when it is applied, with the key and the remedy. Without it the operator says the same
    in the status."""

    enabled: bool = Field(
        default=True, description="Whether the API server asks. When it doesn't answer, nothing is lost."
    )


class ModelCache(Scheduling):
    """Models kept on each node, so that a replica doesn't fetch them again: the DaemonSet behind a Platform's
    `modelCache: {type: HostPath}`, which says how much it holds. A folder of the node is nothing for a restricted
    namespace, so its pods live in one of their own."""

    enabled: bool = Field(default=False, description="Whether the DaemonSet is among the objects.")
    namespace: DnsLabel = Field(
        default="plimsoll-node", description="A namespace of its own, which allows folders of the node."
    )
    host_path: str = Field(
        default="/var/lib/plimsoll/models",
        pattern=r"^/[A-Za-z0-9._/-]+$",
        description="The folder on each node: the same as the Platform's `modelCache.path`.",
    )
    resources: Free = Field(
        default_factory=lambda: {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        description="Requests and limits of a pod.",
    )


class PrePull(Scheduling):
    """An image that each node has before a replica needs it."""

    name: DnsLabel = Field(description="What it is called: plimsoll-pull-NAME.")
    image: str = Field(min_length=1, max_length=512, description="The image, with its tag or digest.")
    command: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=("python", "-c", ""), description="Something that the image has and that ends at once."
    )


class Balloon(Scheduling):
    """Pods that do nothing on a node that is thus there: a replica takes their place at once, and the cluster's
    autoscaler brings the next node for them."""

    name: DnsLabel = Field(description="What it is called: plimsoll-balloon-NAME.")
    replicas: int = Field(default=1, ge=0, le=1000, description="How many replicas' worth of nodes are kept warm.")
    resources: Free = Field(description="What one holds: as much as one replica.")


class NetworkPolicies(Part):
    """Who may connect to Plimsoll's own pods."""

    enabled: bool = Field(
        default=True, description="Where the network plugin doesn't enforce them they change nothing."
    )
    clients: FreeList = Field(
        default=({"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}, {"namespaceSelector": {}}),
        description="Who reaches the gateways, as NetworkPolicyPeers. Default: anybody.",
    )
    scrapers: FreeList = Field(
        default=({"namespaceSelector": {}},),
        description="Who reads metrics, as NetworkPolicyPeers. Default: any pod of the cluster.",
    )


class Secrets(Part):
    """Where Secrets are read and written. The controller always reads those of the system namespace."""

    namespaces: Names = Field(
        default=(),
        description="Where the controller reads them, too. A team can allow it by itself: docs/kubernetes.md.",
    )
    certificates: Names = Field(
        default=(),
        description="Namespaces where the operator may write Secrets: those whose services have replicaTls.",
    )


class Values(Part):
    """An installation of Plimsoll."""

    namespace: DnsLabel = Field(default=SYSTEM_NAMESPACE, description="Where Plimsoll itself lives.")
    create_namespace: bool = Field(
        default=True, description="Whether the namespace is among the objects, with its Pod Security labels."
    )
    image: Image = Field(default_factory=Image, description="Plimsoll's own image.")
    operator: Component = Field(default_factory=Component, description="Keeps objects as services want them.")
    controller: Component = Field(
        default_factory=lambda: Component.model_validate(
            {"resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}}
        ),
        description="Decides how many replicas there are.",
    )
    gateway: Gateway = Field(default_factory=Gateway, description="The front door.")
    webhook: Webhook = Field(default_factory=Webhook, description="Checks services when they are applied.")
    metrics_apis: MetricsApis = Field(default_factory=MetricsApis, description="Metrics for other autoscalers.")
    prometheus: Prometheus = Field(
        default_factory=Prometheus, description="Figures from queries, beside those of gateways and replicas."
    )
    secrets: Secrets = Field(
        default_factory=Secrets, description="Where the controller may read Secrets, and the operator write them."
    )
    model_cache: ModelCache = Field(default_factory=ModelCache, description="Models kept on each node.")
    pre_pull: Annotated[tuple[PrePull, ...], Field(strict=False)] = Field(
        default=(), description="Images that each node has before a replica needs them."
    )
    balloons: Annotated[tuple[Balloon, ...], Field(strict=False)] = Field(
        default=(), description="Room that is kept warm. The pods that hold it give way to any other."
    )
    network_policies: NetworkPolicies = Field(
        default_factory=NetworkPolicies, description="Who may connect to Plimsoll's own pods."
    )


def values_of(text: str = "", *, file: str = "<values>", sets: Iterable[str] = ()) -> Values:
    """From a values file's text and `--set` arguments (`gateway.replicas=3`), which win. Raises SpecErrors,
    UserError."""
    documents, problems = read_documents(text, file)
    if problems:
        raise SpecErrors(problems)
    filled = [one for one in documents if one.data is not None]
    if len(filled) > 1:
        raise SpecErrors([filled[1].origin.problem("", "a values file holds one document; remove this one")])
    data, origin = (filled[0].data, filled[0].origin) if filled else ({}, Origin(file=file))
    for one in sets:
        data = _with(data, one)
    return validated(Values, data, origin)


def _with(data: object, assignment: str) -> object:
    """Of a list nothing below is reached: a whole one can be given as `[{…}]`."""
    path, equals, text = assignment.partition("=")
    if not equals or not all(path.split(".")):
        raise UserError(f"--set {assignment}: expected key.of.value=something, such as gateway.replicas=3")
    documents, problems = read_documents(text, f"--set {path}")
    if problems:
        raise SpecErrors(problems)
    value: object = documents[0].data if documents else ""
    for key in reversed(path.split(".")):
        value = {key: value}
    return _merged(data, value)


def _merged(below: object, above: object) -> object:
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        keys = {**below, **above}
        return {key: _merged(below[key], above[key]) if key in below and key in above else keys[key] for key in keys}
    return above
