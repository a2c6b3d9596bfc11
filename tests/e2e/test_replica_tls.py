"""What the operator makes for `replicaTls`, mounted by a gateway and two replicas, and rotated while load runs."""

import asyncio
import base64
import contextlib
import socket
import ssl
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install 'plimsoll-serve[k8s]'")

from tests.e2e.test_cluster_gateway import _churn, _routes, answers_of, play, taken  # noqa: F401 - a fixture
from tests.support.gateway_host import until
from tests.support.pods import NAMESPACE, Load, address, view

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.install.roles import accounts, authority_roles, certificate_namespace, system_roles
from plimsoll.backends.kubernetes.install.surroundings import authority_namespace as authority_namespaces
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.names import OPERATOR, REPLICA_AUTHORITY, SYSTEM_NAMESPACE, authority_namespace
from plimsoll.backends.kubernetes.operator.authority import AuthoritySettings
from plimsoll.backends.kubernetes.operator.replica_certificates import CertificateTimes, ReplicaCertificates
from plimsoll.backends.kubernetes.operator.seen import ServiceKey, ServiceObject
from plimsoll.spec import Platform

REQUIRED = Platform.parse(
    {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": "default"},
        "spec": {"gateway": {"replicaTls": "Required"}},
    }
)
# All that is told of `now` lies within the five minutes that certificates are dated back.
TIMES = CertificateTimes(AuthoritySettings(3600, 3500, 1800, 1700, overlap_s=50), settle_s=0)


def mount(stage, name, namespace, folder):
    """As the kubelet brings it."""
    data = stage.cluster.get("Secret", name, namespace)["data"]
    files = {}
    for key, value in data.items():
        files[key] = stage.folder / f"{name}-{key}"
        files[key].write_bytes(base64.b64decode(value))
    stage.secret(folder, (files["tls.crt"], files["tls.key"]), SimpleNamespace(cert=files["ca.crt"]))
    return {key: path.read_bytes() for key, path in files.items()}


def knock(ip, authority):
    """Without a certificate of its own: what comes back, nothing where the connection is refused."""
    context = ssl.create_default_context(cadata=authority.decode())
    with (
        contextlib.suppress(OSError),  # an alert or a reset
        socket.create_connection((ip, 8080), 10) as plain,
        context.wrap_socket(plain, server_hostname="mood.shop.svc") as sock,
    ):
        sock.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\nplimsoll-tenant: vip\r\n\r\n")
        return sock.recv(1000)
    return b""


def test_they_serve_and_rotate_and_no_request_fails(play, tmp_path):  # noqa: F811
    async def test(stage):
        stage.cluster.apply(*authority_namespaces(Values()), *authority_roles(Values()))
        stage.cluster.apply(
            *accounts(Values()), *system_roles(Values())[:2], *certificate_namespace(Values(), NAMESPACE), *_certifier()
        )
        account = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(stage.cluster.kubeconfig_of(account)))
            api = Api.connect()
        mood = ServiceObject(ServiceKey(NAMESPACE, "mood"), "uid-1", 1, {}, {}, {}, (), False, {}, 0.0)
        certificates = ReplicaCertificates(
            api, SYSTEM_NAMESPACE, services=lambda: [mood], settled=lambda key: True, times=TIMES
        )
        inner, outer, began = tmp_path / "of-replicas", tmp_path / "of-gateways", time.time()

        async def turn(after_s):
            await certificates.turn(began + after_s, REQUIRED)
            return (
                mount(stage, "mood-certificate", NAMESPACE, inner),
                mount(stage, "plimsoll-gateway-certificate", SYSTEM_NAMESPACE, outer),
            )

        first = await turn(0)
        pods = [stage.pod(f"mood-1-{end}", PLIMSOLL_REPLICA_TLS=str(inner)) for end in ("aaaaa", "bbbbb")]
        ip = address()
        gate = stage.gateway("gateway-a", POD_IP=ip, PLIMSOLL_REPLICA_TLS=str(outer))
        stage.controller.publish(view(routes=_routes("/mood")))
        stage.slices("mood", *pods, secure=True)
        for one in (*pods, gate):
            await one.ready()
        await answers_of(gate, pods[0].name)
        # Who shows nothing is not let in, whatever it says of itself; nor is plain HTTP.
        assert await asyncio.to_thread(knock, pods[0].ip, first[0]["ca.crt"]) == b""
        plain = await pods[0].post("/mood")
        assert plain.status == 400, plain
        load = Load(f"http://{ip}:8080/mood", rate=50)
        churn = asyncio.ensure_future(_churn(stage, pods))
        try:
            await until(lambda: load.runs() and stage.controller.reports[-1].services[0].arrived > 100, 60)
            # Renewed beside the next authority's bundle; announced; the next one signs; what it signed is shown.
            seen = [first]
            for count, after_s in enumerate((101, 102, 160, 210), 1):
                seen.append(await turn(after_s))
                await taken(gate, *pods, count=count)
            before = stage.controller.reports[-1].services[0].arrived
            await until(lambda: stage.controller.reports[-1].services[0].arrived > before + 50, 60)
        finally:
            churn.cancel()
            await asyncio.gather(churn, return_exceptions=True)
        report = await load.report()
        await api.close()
        print(f"rotation: {report['offered']} requests, {report['outcomes']}")
        assert set(report["outcomes"]) == {"ok"}, report
        assert all(not one.lines("refused") for one in (gate, *pods))
        issuers = [_issuer(replica["tls.crt"]) for replica, _ in seen]
        assert issuers[0] == issuers[1] == issuers[2] == issuers[3] != issuers[4]
        home = authority_namespace(SYSTEM_NAMESPACE)
        assert stage.cluster.get("Secret", REPLICA_AUTHORITY, home)["data"].keys() >= {"ca.crt", "tls.key"}

    play(test, 180)


def _certifier():
    from plimsoll.backends.kubernetes.install.roles import cluster_roles

    return [one for one in cluster_roles(Values()) if one["metadata"]["name"] == "plimsoll-certifier"]


def _issuer(pem):
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem).issuer
