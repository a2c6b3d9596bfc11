"""Operator, controller and gateway: their Deployments, Services, and what keeps them up."""

from typing import Any

from plimsoll.backends.kubernetes.install.parts import container, deployment, image, obj, pod, ports, selector
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.names import (
    CA_CONFIG,
    CERTIFICATES,
    CERTIFICATES_DIR,
    CERTIFICATES_VARIABLE,
    CLIENT_CA_FILE,
    CLIENT_CA_VARIABLE,
    CONTROL_PORT,
    CONTROLLER,
    CONTROLLER_API,
    CONTROLLER_COMMAND,
    GATEWAY,
    GATEWAY_COMMAND,
    GRACE_VARIABLE,
    IMAGE_VARIABLE,
    METRICS_API_PORT,
    METRICS_PORT,
    OPERATOR,
    OPERATOR_COMMAND,
    PRE_STOP_VARIABLE,
    PROMETHEUS_DIR,
    PROMETHEUS_SECRET_VARIABLE,
    PROMETHEUS_VARIABLE,
    QUERY_VARIABLE,
    REPLICA_TLS_DIR,
    REPLICA_TLS_VARIABLE,
    SCALER_PORT,
    SERVING_PORT,
    SERVING_TLS_PORT,
    SIGNALS,
    TLS_DIR,
    TLS_VARIABLE,
    TOKEN_FILE,
    TOKEN_VARIABLE,
    WEBHOOK_PORT,
    serving_certificate,
)
from plimsoll.backends.kubernetes.objects import Obj

_DRAIN_S = 20  # of operator and controller: a write that is under way, a lease that is given back
_CERTIFICATES = {"name": "certificates", "mountPath": CERTIFICATES_DIR, "readOnly": True}
_CERTIFICATES_ENV = {"name": CERTIFICATES_VARIABLE, "value": CERTIFICATES_DIR}


def operator(values: Values) -> list[Obj]:
    main = container(
        values,
        "operator",
        OPERATOR_COMMAND,
        values.operator.resources,
        env=[{"name": IMAGE_VARIABLE, "value": image(values)}],
        ports=ports(webhook=WEBHOOK_PORT),
    )
    template = pod(values, "operator", OPERATOR, values.operator, main, grace_s=_DRAIN_S)
    return [deployment(values, "operator", OPERATOR, template, replicas=values.operator.replicas)]


def controller(values: Values) -> list[Obj]:
    main = container(
        values,
        "controller",
        CONTROLLER_COMMAND,
        values.controller.resources,
        env=[_CERTIFICATES_ENV, *_queries(values)],
        ports=ports(control=CONTROL_PORT, metrics_api=METRICS_API_PORT, scaler=SCALER_PORT),
        mounts=[_CERTIFICATES, {"name": "prometheus", "mountPath": PROMETHEUS_DIR, "readOnly": True}],
    )
    # Not optional: without certificates there is nothing it could serve, and the operator makes them in seconds.
    volumes: list[Obj] = [
        {"name": "certificates", "secret": {"secretName": CERTIFICATES, "defaultMode": 0o440}},
        {"name": "prometheus", "secret": _if_there(values.prometheus.secret_name)},
    ]
    template = pod(values, "controller", CONTROLLER, values.controller, main, grace_s=_DRAIN_S, volumes=volumes)
    return [deployment(values, "controller", CONTROLLER, template, replicas=values.controller.replicas)]


def _queries(values: Values) -> list[Obj]:
    """A Prometheus and what it is asked, as the controller reads it: a variable for each figure."""
    asked = [
        {"name": f"{QUERY_VARIABLE}{signal.upper()}", "value": getattr(values.prometheus.queries, signal)}
        for signal in SIGNALS
    ]
    return [
        {"name": PROMETHEUS_VARIABLE, "value": values.prometheus.url},
        {"name": PROMETHEUS_SECRET_VARIABLE, "value": PROMETHEUS_DIR},
        *asked,
    ]


def _if_there(secret: str) -> Obj:
    """A Secret that may come later, or never."""
    return {"secretName": secret, "optional": True, "defaultMode": 0o440}


def scaled_gateway(values: Values) -> list[Obj]:
    """Without `spec.replicas`: a count here would fight the autoscaler at each `apply`."""
    metric = {
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": values.gateway.autoscaling.cpu},
        },
    }
    autoscaler = obj(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        GATEWAY,
        "gateway",
        values.namespace,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": GATEWAY},
            "minReplicas": values.gateway.autoscaling.min_replicas,
            "maxReplicas": values.gateway.autoscaling.max_replicas,
            "metrics": [metric],
            # A gateway that goes closes connections: not for a lull of some minutes.
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
        },
    )
    return [deployment(values, "gateway", GATEWAY, _gateway_pod(values), surge=2), autoscaler]


def fixed_gateway(values: Values) -> list[Obj]:
    return [deployment(values, "gateway", GATEWAY, _gateway_pod(values), replicas=values.gateway.replicas, surge=2)]


def _gateway_pod(values: Values) -> Obj:
    main = container(
        values,
        "gateway",
        GATEWAY_COMMAND,
        values.gateway.resources,
        env=[
            _CERTIFICATES_ENV,
            {"name": TOKEN_VARIABLE, "value": TOKEN_FILE},
            {"name": TLS_VARIABLE, "value": TLS_DIR},
            {"name": REPLICA_TLS_VARIABLE, "value": REPLICA_TLS_DIR},
            {"name": CLIENT_CA_VARIABLE, "value": CLIENT_CA_FILE},
            {"name": GRACE_VARIABLE, "value": f"{values.gateway.grace_seconds}s"},
            {"name": PRE_STOP_VARIABLE, "value": f"{values.gateway.pre_stop_seconds}s"},
        ],
        ports=ports(http=SERVING_PORT, https=SERVING_TLS_PORT),
        mounts=[
            _CERTIFICATES,
            {"name": "token", "mountPath": TOKEN_FILE.rpartition("/")[0], "readOnly": True},
            {"name": "tls", "mountPath": TLS_DIR, "readOnly": True},
            {"name": "replica-tls", "mountPath": REPLICA_TLS_DIR, "readOnly": True},
            {"name": "client-ca", "mountPath": CLIENT_CA_FILE.rpartition("/")[0], "readOnly": True},
        ],
        # Load balancers and kube-proxies hear of its end within seconds; until then it serves as before.
        lifecycle={"preStop": {"sleep": {"seconds": values.gateway.pre_stop_seconds}}},
    )
    token = {"audience": CONTROLLER, "expirationSeconds": 3600, "path": TOKEN_FILE.rpartition("/")[2]}
    volumes: list[Obj] = [
        {"name": "certificates", "configMap": {"name": CA_CONFIG, "defaultMode": 0o444}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}], "defaultMode": 0o440}},
        {"name": "tls", "secret": _if_there(values.gateway.tls_secret_name)},
        {"name": "client-ca", "secret": _if_there(values.gateway.client_ca_secret_name)},
        # Made where the Platform says replicaTls: Required; read when it comes.
        {"name": "replica-tls", "secret": _if_there(serving_certificate(GATEWAY))},
    ]
    grace = values.gateway.grace_seconds
    return pod(values, "gateway", GATEWAY, values.gateway, main, grace_s=grace, volumes=volumes)


def services(values: Values) -> list[Obj]:
    door = _service(
        values,
        GATEWAY,
        "gateway",
        type=values.gateway.service.type,
        ports=[_port("http", 80, "http", app="http"), _port("https", 443, "https", app="https")],
    )
    door["metadata"]["annotations"] = values.gateway.service.annotations
    return [
        _service(
            values, OPERATOR, "operator", ports=[_port("webhook", 443, "webhook"), _port("metrics", METRICS_PORT)]
        ),
        # Headless: a gateway speaks to each controller, not to one that a proxy picks. Those that aren't ready, too:
        # only what the leader says is adopted, and reports are wanted by all.
        _service(
            values,
            CONTROLLER,
            "controller",
            clusterIP="None",
            publishNotReadyAddresses=True,
            ports=[_port("control", CONTROL_PORT), _port("metrics", METRICS_PORT)],
        ),
        _service(
            values,
            CONTROLLER_API,
            "controller",
            ports=[_port("metrics-api", 443, "metrics-api"), _port("scaler", SCALER_PORT)],
        ),
        door,
    ]


def _service(values: Values, name: str, component: str, *, ports: list[Obj], **spec: Any) -> Obj:
    body = {"type": "ClusterIP", **spec, "selector": selector(component), "ports": ports}
    return obj("v1", "Service", name, component, values.namespace, spec=body)


def _port(name: str, port: int, target: str = "", *, app: str = "") -> Obj:
    return {"name": name, "port": port, "targetPort": target or name, "protocol": "TCP"} | (
        {"appProtocol": app} if app else {}
    )


def budgets(values: Values) -> list[Obj]:
    """Draining nodes takes one of each at a time."""
    return [
        obj(
            "policy/v1",
            "PodDisruptionBudget",
            name,
            component,
            values.namespace,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": selector(component)}},
        )
        for name, component in ((OPERATOR, "operator"), (CONTROLLER, "controller"), (GATEWAY, "gateway"))
    ]
