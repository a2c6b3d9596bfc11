"""What `install` writes into pods is what their processes read."""

import os

from plimsoll.app.cluster_gateway import gateway_settings
from plimsoll.backends.kubernetes.install import system_objects, values_of


def environment(name):
    found = next(
        obj for obj in system_objects(values_of()) if (obj["kind"], obj["metadata"]["name"]) == ("Deployment", name)
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
    for file in (settings.control_ca, settings.control_token, settings.tls.cert_file, settings.replica_tls.cert_file):
        assert os.path.dirname(file) in mounts, file
    listening = {str(port["containerPort"]) for port in container["ports"]}
    assert {
        address.rpartition(":")[2] for address in (*settings.listen, *settings.tls_listen, settings.metrics)
    } <= listening
    # before it is ended by force: the sleep, the time for clients to leave, and the drain
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > sleep + settings.drain_linger_s + settings.drain_s
