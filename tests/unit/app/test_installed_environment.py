"""What `install` writes into pods is what their processes read."""

import os

import pytest

from plimsoll.app.cluster_controller import controller_settings
from plimsoll.app.cluster_gateway import gateway_settings
from plimsoll.backends.kubernetes.install import system_objects, values_of
from plimsoll.backends.kubernetes.names import GPU_QUERY


def environment(name, values=""):
    found = next(
        obj
        for obj in system_objects(values_of(values))
        if (obj["kind"], obj["metadata"]["name"]) == ("Deployment", name)
    )
    pod = found["spec"]["template"]["spec"]
    given = {"POD_NAME": "pod", "POD_NAMESPACE": "plimsoll-system", "POD_IP": "10.0.0.7"}
    (container,) = pod["containers"]
    return {one["name"]: one.get("value", given.get(one["name"])) for one in container["env"]}, container, pod


def test_a_gateway_finds_its_controllers_its_token_and_its_certificates():
    env, container, pod = environment("plimsoll-gateway")
    settings = gateway_settings(env)
    assert settings.control == "tls:plimsoll-controller.plimsoll-system.svc:7443"
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    files = (settings.control_ca, settings.control_token, settings.tls.cert_file, settings.tls.client_ca_file)
    for file in (*files, settings.replica_tls.cert_file):
        assert os.path.dirname(file) in mounts, file
    listening = {str(port["containerPort"]) for port in container["ports"]}
    assert {
        address.rpartition(":")[2] for address in (*settings.listen, *settings.tls_listen, settings.metrics)
    } <= listening
    # before it is ended by force: the sleep, the time for clients to leave, and the drain
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > sleep + settings.drain_linger_s + settings.drain_s


@pytest.mark.parametrize(("grace_s", "pre_stop_s", "drain_s"), [(75, 5, 60), (400, 30, 360), (12, 5, 1)])
def test_a_gateway_gives_requests_the_time_that_its_pod_has(grace_s, pre_stop_s, drain_s):
    values = f"gateway: {{graceSeconds: {grace_s}, preStopSeconds: {pre_stop_s}}}"
    settings = gateway_settings(environment("plimsoll-gateway", values)[0])
    assert settings.drain_s == drain_s


def test_a_controller_asks_the_prometheus_of_the_values():
    env, container, _ = environment("plimsoll-controller")
    settings = controller_settings(env)
    assert settings.prometheus == "", "none is asked unless somebody names one"
    assert settings.prometheus_secret in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert settings.queries == {"gpu_utilization": GPU_QUERY}
    values = """
prometheus:
  url: http://prometheus.monitoring:9090
  queries: {gpuUtilization: "", requestsPerSecond: "sum by (namespace, pod) (rate(mesh_requests{a='b'}[1m]))"}
"""
    settings = controller_settings(environment("plimsoll-controller", values)[0])
    assert settings.prometheus == "http://prometheus.monitoring:9090"
    assert settings.queries == {"requests_per_second": "sum by (namespace, pod) (rate(mesh_requests{a='b'}[1m]))"}
