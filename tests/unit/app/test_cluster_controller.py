"""The controller's process: what it answers, what it writes, who of two does."""

import asyncio
import json
import signal
import socket
import ssl

import grpc
import pytest
from tests.kube import FakeCluster
from tests.kube.api import timestamp
from tests.unit.app.controller_process import (
    SHOP,
    ControllerProcess,
    Gateway,
    secret,
    service,
    stage_of,
    token_of,
)

from plimsoll.app.cluster_controller import controller_settings
from plimsoll.backends.kubernetes.names import LEASE_CONTROLLER, SYSTEM_NAMESPACE
from plimsoll.backends.kubernetes.signals.messages import MESSAGES
from plimsoll.core.errors import UserError

DESIRED = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{SHOP}/plimsoll_desired_replicas"


@pytest.fixture
def stage():
    with FakeCluster(hollow=True) as cluster:
        yield cluster, stage_of(cluster)


def count(cluster, target):
    return cluster.get("Deployment", target, SHOP)["spec"]["replicas"]


def test_traffic_becomes_a_count_signals_and_figures(stage):
    cluster, authority = stage
    schedule = {"policy": "Schedule", "schedule": {"entries": [{"cron": "* * * * *", "replicas": 3}]}}
    mood = service(cluster, **schedule)
    with ControllerProcess(cluster, authority) as controller:
        controller.ready()

        async def main():
            async with Gateway(controller, {"shop/mood": 40.0}) as gateway:
                await gateway.until(lambda: gateway.snapshot is not None)
                (view,) = gateway.snapshot.services
                assert (view.name, view.revision, view.namespace, view.target_s) == ("shop/mood", mood, "shop", 0.1)
                await gateway.until(lambda: count(cluster, mood) == 3, 70)
                (item,) = (await asyncio.to_thread(controller.ask, DESIRED, labelSelector="service=mood")).json()[
                    "items"
                ]
                assert (item["value"], item["metricLabels"]) == ("3", {"service": "mood"})
                figures = controller.figures()
                assert (figures["namespace"], figures["desired"], figures["p99_s"]) == ("shop", 3, 0.04)
                assert figures["within_budget"] is True

        asyncio.run(main())
        status, text = controller.page("/metrics")
        assert status == 200
        assert 'plimsoll_replicas_wanted{service="shop/mood"} 3' in text
        events = json.loads(controller.page("/plimsoll/events?service=shop/mood")[1])
        assert any(event["details"].get("replicas") == 3 for event in events)
    lease = cluster.get("Lease", LEASE_CONTROLLER, SYSTEM_NAMESPACE)
    assert not lease["spec"].get("holderIdentity"), "given back"


def test_from_zero_within_a_moment_and_before_any_second_is_over(stage):
    cluster, authority = stage
    mood = service(cluster, replicas=0, minReplicas=0, maxReplicas=4)
    with ControllerProcess(cluster, authority) as controller:
        controller.ready()

        async def main():
            async with Gateway(controller, {"shop/mood": 0.0}) as gateway:
                await gateway.until(lambda: controller.figures() is not None)
                await asyncio.sleep(2.0)
                assert count(cluster, mood) == 0, "nobody has asked"
                gateway.rates["shop/mood"], gateway.held["shop/mood"] = 4.0, 1
                await gateway.until(lambda: count(cluster, mood) == 1)

        asyncio.run(main())


def test_while_no_node_has_room_gateways_are_told_at_once_where_the_platform_says_so():
    """`[PreemptLower, Fallback]`: refused while the pod fits nowhere, held while it takes others' place."""
    platform = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": "default"},
        "spec": {"disruption": {"noCapacity": ["PreemptLower", "Fallback"]}},
    }
    no_room = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "lastTransitionTime": timestamp(),
    }  # fmt: skip
    with FakeCluster() as cluster:  # nobody schedules its pods
        authority = stage_of(cluster)
        service(cluster)
        cluster.apply(platform)

        def pod_says(**status):
            (pod,) = cluster.objects("Pod", SHOP)
            kind = cluster.api.kind("v1", "Pod")
            cluster.api.change_now(
                kind, SHOP, pod["metadata"]["name"], lambda obj: obj["status"].update(status), "status"
            )

        with ControllerProcess(cluster, authority) as controller:
            controller.ready()

            async def main():
                async with Gateway(controller, {"shop/mood": 4.0}) as gateway:

                    def failed():
                        return gateway.snapshot.services[0].failed

                    await gateway.until(lambda: gateway.snapshot is not None and cluster.objects("Pod", SHOP))
                    assert failed() is None, "nobody has looked for a node yet"
                    pod_says(conditions=[no_room])
                    await gateway.until(lambda: failed() == "no node has room for a replica")
                    assert controller.figures()["pending"] == [no_room["message"]]
                    pod_says(nominatedNodeName="gpu-1")
                    await gateway.until(lambda: failed() is None)

            asyncio.run(main())


def test_only_a_gateways_own_token_opens_the_stream(stage):
    cluster, authority = stage
    service(cluster)
    with ControllerProcess(cluster, authority) as controller:
        controller.ready()
        wrong = [
            "nonsense",
            token_of(cluster, account="plimsoll-operator"),
            token_of(cluster, audience="https://kubernetes.default.svc"),
        ]

        async def main():
            for token in wrong:
                async with Gateway(controller, {}, token=token) as gateway:
                    await gateway.until(lambda gateway=gateway: gateway.refused)
                    assert gateway.snapshot is None
            async with Gateway(controller, {}) as gateway:
                await gateway.until(lambda: gateway.snapshot is not None)

        asyncio.run(main())


def test_of_two_one_writes_both_answer_and_the_other_takes_over(stage):
    cluster, authority = stage
    mood = service(cluster, replicas=2, policy="Fixed", minReplicas=2, maxReplicas=2)
    with (
        ControllerProcess(cluster, authority, "controller-0", PLIMSOLL_LEASE_SECONDS=3) as first,
        ControllerProcess(cluster, authority, "controller-1", PLIMSOLL_LEASE_SECONDS=3) as second,
    ):
        for one in (first, second):
            one.ready()
            assert one.ask(DESIRED).json()["items"][0]["value"] == "2"

        def holder():
            return holder_of(cluster)

        leading = first if first.until(holder) == "controller-0" else second
        leading.child.kill()
        leading.child.wait()
        other = second if leading is first else first
        assert other.ask(DESIRED).json()["items"][0]["value"] == "2", "no gap: nobody waits for the Lease to answer"
        other.until(lambda: holder() == other.name, 60)
        service(cluster, replicas=2, policy="Fixed", minReplicas=5, maxReplicas=5)
        other.until(lambda: count(cluster, mood) == 5)
        leading.__enter__()  # so that both can be ended
        leading.ready()


def holder_of(cluster):
    lease = cluster.get("Lease", LEASE_CONTROLLER, SYSTEM_NAMESPACE)
    return ((lease or {}).get("spec") or {}).get("holderIdentity", "").partition("_")[0]


def test_a_controller_that_stood_still_writes_nothing_until_it_holds_the_lease_again(stage):
    cluster, authority = stage
    mood = service(cluster, replicas=2, policy="Fixed", minReplicas=2, maxReplicas=2)
    with (
        ControllerProcess(cluster, authority, "controller-0", PLIMSOLL_LEASE_SECONDS=3) as first,
        ControllerProcess(cluster, authority, "controller-1", PLIMSOLL_LEASE_SECONDS=3) as second,
    ):
        for one in (first, second):
            one.ready()
        asleep, awake = (
            (first, second) if first.until(lambda: holder_of(cluster)) == "controller-0" else (second, first)
        )
        asleep.until(lambda: "this controller writes counts" in asleep.log)
        asleep.child.send_signal(signal.SIGSTOP)
        try:
            awake.until(lambda: holder_of(cluster) == awake.name)
            service(cluster, replicas=2, policy="Fixed", minReplicas=5, maxReplicas=5)
            awake.until(lambda: count(cluster, mood) == 5)
            written = cluster.get("Deployment", mood, SHOP)["metadata"]["generation"]
        finally:
            asleep.child.send_signal(signal.SIGCONT)
        # For all it knows two are wanted, and it leads.
        turns = turns_of(asleep)
        asleep.until(lambda: turns_of(asleep) >= turns + 3)
        asleep.until(lambda: asleep.figures()["desired"] == 5)
        assert holder_of(cluster) == awake.name
        assert cluster.get("Deployment", mood, SHOP)["metadata"]["generation"] == written
        assert "another controller writes counts" in asleep.log
        awake.child.send_signal(signal.SIGSTOP)
        try:
            asleep.until(lambda: holder_of(cluster) == asleep.name)
            service(cluster, replicas=5, policy="Fixed", minReplicas=4, maxReplicas=4)
            asleep.until(lambda: count(cluster, mood) == 4)
        finally:
            awake.child.send_signal(signal.SIGCONT)


def turns_of(controller):
    lines = controller.page("/metrics")[1].splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("plimsoll_reconcile_seconds_count"))


def test_tenants_keys_are_followed_and_a_missing_one_opens_nothing(stage):
    cluster, authority = stage
    service(cluster)
    cluster.apply(
        {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": "acme"},
            "spec": {"auth": {"apiKeys": [{"name": "one", "hashSecretRef": {"name": "acme-keys", "key": "one"}}]}},
        }
    )
    with ControllerProcess(cluster, authority) as controller:
        controller.ready()

        async def main():
            async with Gateway(controller, {}) as gateway:
                await gateway.until(lambda: gateway.snapshot is not None)
                assert [(one.name, one.key_digests) for one in gateway.snapshot.tenants] == [("acme", {})]
                for letter in "ab":
                    cluster.apply(secret("acme-keys", one=f"sha256:{letter * 64}"))
                    await gateway.until(
                        lambda letter=letter: gateway.snapshot.tenants[0].key_digests == {"one": letter * 64}
                    )

        asyncio.run(main())
        assert "a" * 64 not in controller.log


def test_keda_is_served_once_a_service_wants_it(stage):
    cluster, authority = stage
    with ControllerProcess(cluster, authority) as controller:
        controller.ready()
        schedule = {"entries": [{"cron": "* * * * *", "replicas": 4}]}
        service(cluster, "clocked", writer="KEDA", policy="Schedule", schedule=schedule, minReplicas=1, maxReplicas=5)

        async def main():
            async with grpc.aio.insecure_channel(f"127.0.0.1:{controller.scaler}") as channel:
                ask = channel.unary_unary(
                    "/externalscaler.ExternalScaler/IsActive",
                    request_serializer=lambda message: message.SerializeToString(),
                    response_deserializer=MESSAGES.IsActiveResponse.FromString,
                )
                reference = MESSAGES.ScaledObjectRef(
                    name="clocked", namespace=SHOP, scalerMetadata={"service": "clocked"}
                )
                async with asyncio.timeout(30):
                    while True:
                        try:
                            answer = await ask(reference, wait_for_ready=True)
                            break
                        except grpc.aio.AioRpcError:
                            await asyncio.sleep(0.1)
                assert answer.result is True

        asyncio.run(main())


def test_a_rotated_certificate_holds_for_the_next_connection(stage):
    cluster, authority = stage
    service(cluster)
    with ControllerProcess(cluster, authority) as controller:
        controller.ready()

        def serial(port):
            context = ssl.create_default_context(cafile=str(authority.cert))
            with (
                socket.create_connection(("127.0.0.1", port)) as raw,
                context.wrap_socket(raw, server_hostname="localhost") as tls,
            ):
                return tls.getpeercert()["serialNumber"]

        before = serial(controller.control), serial(controller.api)
        assert before[0] == before[1]
        controller.rotate(1)
        controller.until(lambda: serial(controller.control) != before[0])
        controller.until(lambda: serial(controller.api) == serial(controller.control))


def test_an_api_server_that_restarts_changes_nothing(stage):
    cluster, authority = stage
    mood = service(cluster, replicas=2, policy="Fixed", minReplicas=2, maxReplicas=2)
    with ControllerProcess(cluster, authority) as controller:
        controller.ready()
        cluster.stop()
        assert controller.page("/v2/health/ready")[0] == 200
        assert controller.page("/v2/health/live")[0] == 200
        cluster.start()
        service(cluster, replicas=2, policy="Fixed", minReplicas=3, maxReplicas=3)
        controller.until(lambda: count(cluster, mood) == 3, 60)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PLIMSOLL_CONTROL_PORT": "many"}, "PLIMSOLL_CONTROL_PORT is 'many'; expected a port, or 0 for none"),
        ({"PLIMSOLL_LEASE_SECONDS": "1"}, "PLIMSOLL_LEASE_SECONDS is '1'; expected 2 or more"),
        ({"PLIMSOLL_QUERY_CPU": "up"}, "PLIMSOLL_QUERY_CPU: cpu is no figure; there are requests_per_second"),
    ],
)
def test_an_environment_that_can_not_be_used_names_its_variable(environment, said):
    with pytest.raises(UserError) as refused:
        controller_settings(environment)
    assert said in str(refused.value)


def test_without_a_pods_address_everything_is_on_loopback():
    settings = controller_settings({"PLIMSOLL_NAMESPACES": "shop, lab"})
    assert (settings.host, settings.namespaces, settings.namespace) == ("127.0.0.1", ("shop", "lab"), SYSTEM_NAMESPACE)
    assert controller_settings({"POD_IP": "10.0.0.9"}).host == "10.0.0.9"
