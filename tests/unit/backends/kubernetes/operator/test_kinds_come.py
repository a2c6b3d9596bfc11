"""Kinds of others that come, one after another, while the operator runs: in this process, over the server in memory."""

import asyncio
import contextlib

import pytest
from lightkube.config.kubeconfig import KubeConfig
from tests.cluster.definitions import GATEWAY_API, KEDA, MONITORING, foreign
from tests.kube import FakeCluster
from tests.kube.client import Client
from tests.unit.backends.kubernetes.operator.running import SHOP, prepared, service

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.operator import kinds
from plimsoll.backends.kubernetes.operator.operator import Operator, OperatorSettings
from plimsoll.backends.kubernetes.operator.world import served_kinds

NEVER_S = 3600.0  # nothing that happens by the clock alone helps


@pytest.fixture
def cluster():
    with FakeCluster(hollow=True) as cluster:
        yield prepared(cluster)


def operated(cluster, body):
    """`body(client)` while an operator runs."""

    async def whole():
        api, stop = Api.connect(KubeConfig.from_file(cluster.kubeconfig).get()), asyncio.Event()
        settings = OperatorSettings(
            controller="http://127.0.0.1:9", discover_every_s=0.1, figures_every_s=NEVER_S, certificates_every_s=NEVER_S
        )
        running = asyncio.create_task(Operator(api, settings).run(stop))
        try:
            async with asyncio.timeout(60), Client(cluster.kubeconfig) as client:
                await body(client)
        finally:
            stop.set()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await api.close()

    asyncio.run(whole())


def definitions(group, *names):
    return [crd for crd in foreign() if crd["spec"]["group"] == group and crd["spec"]["names"]["kind"] in names]


def there(one):
    return one is not None


def test_a_service_is_looked_at_as_soon_as_what_is_new_was_listed(cluster):
    """Not at the next event, whenever that is."""

    async def body(client):
        cluster.apply(service(scaling={"writer": "KEDA", "minReplicas": 1, "maxReplicas": 4}))
        await client.until("ModelService", "mood", SHOP, test=serves)
        cluster.apply(*definitions(KEDA, "ScaledObject"))
        await client.until("ScaledObject", "mood", SHOP, api_version=f"{KEDA}/v1alpha1", test=there)

    operated(cluster, body)


@pytest.mark.parametrize(
    ("group", "first", "second", "spec"),
    [
        (MONITORING, "PodMonitor", "ServiceMonitor", {"monitoring": "ServiceMonitor"}),
        (GATEWAY_API, "HTTPRoute", "ReferenceGrant", {"gateway": {"parentRefs": [{"name": "public"}]}}),
    ],
)
def test_what_was_left_out_is_made_once_its_kind_is_there(cluster, group, first, second, spec):
    """A group's definitions come one after another; one is served, and the other not yet."""
    (late,) = definitions(group, second)
    api_version = f"{group}/{late['spec']['versions'][0]['name']}"
    name, namespace = ("mood", SHOP) if second == "ServiceMonitor" else (f"plimsoll-{SHOP}", "plimsoll-system")
    platform = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Platform", "metadata": {"name": "default"}}

    async def body(client):
        cluster.apply(*definitions(group, first), platform | {"spec": spec}, service())
        await client.until("ModelService", "mood", SHOP, test=serves)
        cluster.apply(late)
        await client.until(second, name, namespace, api_version=api_version, test=there)

    operated(cluster, body)


def serves(found):
    conditions = ((found or {}).get("status") or {}).get("conditions") or ()
    return any((one["type"], one["reason"]) == ("Ready", "Serving") for one in conditions)


def test_which_kinds_are_served_and_which_version_counts(cluster):
    async def body():
        api = Api.connect(KubeConfig.from_file(cluster.kubeconfig).get())
        try:
            return await served_kinds(api, [one for one in kinds.OWNED if one.foreign])
        finally:
            await api.close()

    cluster.apply(*definitions(MONITORING, "PodMonitor"))
    found = asyncio.run(body())
    assert {(one.api_version, one.kind) for one in found} == {
        (f"{MONITORING}/v1", "PodMonitor"), ("resource.k8s.io/v1", "ResourceClaimTemplate"),
    }  # fmt: skip
    # one object under two versions is watched once
    claims = [one for one in kinds.OWNED if one.kind == "ResourceClaimTemplate"]
    older, newer = "resource.k8s.io/v1beta1", "resource.k8s.io/v1"
    for apis in ({older}, {newer}, {older, newer}):
        assert [one.api_version for one in claims if one.served(apis)] == [newer if newer in apis else older]
