"""Names on a cluster: labels, annotations, ports, paths inside a pod, who writes what. Every part imports them here."""

GROUP = "plimsoll.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

# --- labels and annotations -------------------------------------------------------------------------------------------
SERVICE_LABEL = f"{GROUP}/service"  # a ModelService's name, on everything made for it
NAMESPACE_LABEL = f"{GROUP}/namespace"  # of a ModelService, on what had to be made in another namespace for it
REVISION_LABEL = f"{GROUP}/revision"  # of a revision's Deployment and its pods: `sentiment-7c9ab1f2d0`
COMPONENT_LABEL = "app.kubernetes.io/component"  # replica | gateway | controller | operator | model-cache | balloon
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "plimsoll"
NAME_LABEL = "app.kubernetes.io/name"

DIGEST_ANNOTATION = f"{GROUP}/digest"  # of the rendered object, for a cheap answer to "has it changed?"
PAUSED_ANNOTATION = f"{GROUP}/paused"  # "true" on a ModelService: the operator leaves its objects alone

FIELD_MANAGER = "plimsoll-operator"
FINALIZER = f"{GROUP}/operator"

# --- Plimsoll itself --------------------------------------------------------------------------------------------------
SYSTEM_NAMESPACE = "plimsoll-system"
OPERATOR = "plimsoll-operator"
CONTROLLER = "plimsoll-controller"
GATEWAY = "plimsoll-gateway"
MODEL_CACHE = "plimsoll-model-cache"
CONTROLLER_API = "plimsoll-controller-api"  # Service 443 -> METRICS_API_PORT; CONTROLLER is the headless one
SYSTEM_PRIORITY, BALLOON_PRIORITY = "plimsoll-system", "plimsoll-balloon"  # PriorityClasses
# Of services, by scaling.priority below, at and above 0, where the Platform lets more important ones preempt others. A
# class's value never changes, nor who it may preempt: other values would need other names.
LOW_PRIORITY, NORMAL_PRIORITY, HIGH_PRIORITY = "plimsoll-low", "plimsoll-normal", "plimsoll-high"
LEASE_OPERATOR = "plimsoll-operator"
LEASE_CONTROLLER = "plimsoll-controller"
CERTIFICATES = "plimsoll-certificates"  # Secret: ca.crt, tls.crt, tls.key for webhook, metrics APIs and control stream
# Secret in `authority_namespace`, with replicaTls: the key that signs certificates of replicas and gateways. CERTIFIER:
# a ClusterRole that lets the operator write those certificates where it is bound.
REPLICA_AUTHORITY, CERTIFIER = "plimsoll-replica-authority", "plimsoll-certifier"
CA_CONFIG = "plimsoll-ca"  # ConfigMap with ca.crt alone, for those who only verify

# --- ports ------------------------------------------------------------------------------------------------------------
SERVING_PORT = 8080  # "http": the model, on replicas and gateways
SERVING_TLS_PORT = 8443  # "https": gateways
METRICS_PORT = 9090  # "metrics": /metrics, the probes' pages, a replica's state stream
WEBHOOK_PORT = 9443  # the operator's
METRICS_API_PORT = 6443  # the controller's aggregated APIs
CONTROL_PORT = 7443  # the controller's stream to gateways, over TLS
SCALER_PORT = 7444  # the controller's gRPC service for KEDA

# --- inside a replica's pod -------------------------------------------------------------------------------------------
CONFIG_DIR = "/etc/plimsoll"
SERVICE_FILE = f"{CONFIG_DIR}/service.json"  # the ModelService, as canonical JSON, from the revision's ConfigMap
MODEL_DIR = "/model"
STATE_PATH = "/plimsoll/state"  # on METRICS_PORT: a JSON line a second, as local replicas report (docs/processes.md)
LIVE_PATH = "/v2/health/live"
READY_PATH = "/v2/health/ready"
WAIT_HEADER = "plimsoll-wait"  # seconds that a replica may take to answer READY_PATH, where it is not ready yet

REPLICA_COMMAND = ("python", "-m", "plimsoll.app.pod_replica")
GATEWAY_COMMAND = ("python", "-m", "plimsoll.app.cluster_gateway")
CONTROLLER_COMMAND = ("python", "-m", "plimsoll.app.cluster_controller")
OPERATOR_COMMAND = ("python", "-m", "plimsoll.app.cluster_operator")
FETCH_COMMAND = ("python", "-m", "plimsoll.app.fetch")

# --- environment of Plimsoll's own pods (POD_NAME, POD_NAMESPACE and POD_IP as well) ----------------------------------
IMAGE_VARIABLE = "PLIMSOLL_IMAGE"  # the operator's: of replicas without an image of their own
CERTIFICATES_VARIABLE = "PLIMSOLL_CERTIFICATES"  # a folder with ca.crt, and for the controller tls.crt and tls.key
TOKEN_VARIABLE = "PLIMSOLL_TOKEN_FILE"  # the gateway's projected token, audience CONTROLLER
TLS_VARIABLE = "PLIMSOLL_TLS"  # the gateway's: a folder with tls.crt and tls.key, empty where the door is plain
CONTROL_VARIABLE = "PLIMSOLL_CONTROL"  # the gateway's: `tls:HOST:PORT` of controllers, where that isn't CONTROLLER's
CLIENT_CA_VARIABLE = "PLIMSOLL_CLIENT_CA"  # the gateway's: a file that says who may sign tenants' certificates
PROMETHEUS_VARIABLE = "PLIMSOLL_PROMETHEUS"  # the controller's: http://HOST:PORT
PROMETHEUS_SECRET_VARIABLE = (
    "PLIMSOLL_PROMETHEUS_SECRET"  # the controller's: a folder with token and ca.crt, or nothing
)
QUERY_VARIABLE = "PLIMSOLL_QUERY_"  # the controller's: the beginning; then one of SIGNALS in capitals
GRACE_VARIABLE = "PLIMSOLL_GRACE"  # the gateway's: its pod's grace period, such as 75s
PRE_STOP_VARIABLE = "PLIMSOLL_PRE_STOP"  # the gateway's: how much of that has passed before SIGTERM
AUDIT_VARIABLE = "PLIMSOLL_AUDIT"  # the gateway's: a folder for its audit log
# Of gateways and replicas, with replicaTls: a folder with tls.crt and tls.key to show, ca.crt to verify the other by. A
# gateway's certificate names GATEWAY_NAME, a replica's its Service: NAME.NAMESPACE.svc.
REPLICA_TLS_VARIABLE = "PLIMSOLL_REPLICA_TLS"
GATEWAY_NAME_VARIABLE = "PLIMSOLL_GATEWAY_NAME"  # the replica's: where the gateways are not in SYSTEM_NAMESPACE
GATEWAY_NAME = f"{GATEWAY}.{SYSTEM_NAMESPACE}.svc"
REPLICA_TLS_DIR = "/var/run/plimsoll/replica-tls"
CERTIFICATES_DIR = "/var/run/plimsoll/certificates"
TOKEN_FILE = "/var/run/plimsoll/token/token"
TLS_DIR = "/var/run/plimsoll/tls"
CLIENT_CA_FILE = "/var/run/plimsoll/client-ca/ca.crt"
PROMETHEUS_DIR = "/var/run/plimsoll/prometheus"

# --- metrics for autoscalers ------------------------------------------------------------------------------------------
DESIRED_METRIC = "plimsoll_desired_replicas"  # external; label `service` (a ModelService's name)
# NVIDIA's DCGM exporter, per pod.
GPU_QUERY = 'avg by (namespace, pod) (DCGM_FI_DEV_GPU_UTIL{pod!=""}) / 100'
SIGNALS = ("requests_per_second", "queue_length", "concurrency", "predicted_p99_seconds", "gpu_utilization")


def revision_name(service: str, digest: str, *, stateful: bool = False) -> str:
    """The name of a revision and of its workload: at most 63 characters, since pods carry it as a label, and a
    StatefulSet's pods one that is 11 longer. `digest`: hex, of what makes pods differ."""
    return f"{service[: 41 if stateful else 52]}-{digest[:10]}"


def owned_labels(service: str) -> dict[str, str]:
    return {NAME_LABEL: service, MANAGED_BY_LABEL: MANAGED_BY, SERVICE_LABEL: service}


def authority_namespace(system: str) -> str:
    """Where REPLICA_AUTHORITY is, and nothing else: the operator alone may read there. In `system` the controller may,
    for tenants' keys, and no role can except a Secret."""
    return f"{system}-authority"


def serving_certificate(service: str) -> str:
    """The Secret in a service's namespace with its replicas' ca.crt, tls.crt and tls.key (`gateway.replicaTls`), at
    REPLICA_TLS_DIR."""
    return f"{service}-certificate"
