"""The controller's turns on a cluster, second by second."""

import asyncio
from dataclasses import replace

import pytest
from tests.unit.control.cluster.cluster_world import World

from plimsoll.core.snapshot import EndpointState
from plimsoll.ports.backend import ReplicaPhase


def run(test, **more):
    asyncio.run(test(World(**more)))


def test_counts_follow_the_traffic_of_each_service():
    async def test(world):
        world.service()
        world.service("calm")
        await world.second(mood=0, calm=0)
        await world.second(mood=450, calm=50)
        await world.second(mood=450, calm=50)
        assert world.backend.writes == [("mood-1", 5)]
        await world.second(mood=150, calm=50)
        assert world.backend.writes[1:] == [("mood-1", 2)]
        assert "1 → 5: 450/s" in world.messages

    run(test)


def test_only_the_one_that_leads_writes_and_all_decide():
    async def test(world):
        world.leading = False
        world.service()
        await world.second(mood=0)
        await world.second(mood=450)
        assert world.backend.writes == []
        assert world.sink.signals["shop/mood"].desired == 5
        world.leading = True
        await world.second(mood=450)
        assert world.backend.writes == [("mood-1", 5)]

    run(test)


def test_a_controller_that_begins_takes_the_count_that_is_there():
    async def test(world):
        world.service(count=6)
        world.service("asleep", count=0, scaling={"minReplicas": 0, "maxReplicas": 4})
        await world.second()
        assert world.backend.writes == [], "nothing is known of the traffic yet"
        assert world.sink.signals["shop/mood"].desired == 6
        assert world.sink.signals["shop/asleep"].desired == 0

    run(test)


def test_nothing_is_written_before_the_operator_names_a_workload_and_then_only_to_that():
    async def test(world):
        world.service(target="")
        await world.second(mood=0)
        await world.second(mood=450)
        assert world.backend.writes == []
        world.backend.counts["shop", "mood-1"] = 1
        world.service(target="mood-1")
        await world.second(mood=450)
        assert world.backend.writes == [], "what it asks for is where scaling begins"
        await world.second(mood=450)
        assert world.backend.writes == [("mood-1", 5)]
        world.backend.counts["shop", "mood-2"] = 5
        world.service(target="mood-2")
        await world.second(mood=800)
        assert world.backend.writes == [("mood-1", 5), ("mood-2", 8)]

    run(test)


def test_a_count_set_by_hand_goes_before_the_policy():
    async def test(world):
        world.service(replicas=3)
        await world.second(mood=0)
        await world.second(mood=700)
        assert world.backend.writes == [("mood-1", 3)]
        world.service(replicas=0)
        await world.second(mood=700)
        assert world.backend.writes[1:] == [("mood-1", 0)]
        assert world.view("shop/mood").failed == "scaled to 0 replicas"
        world.service()
        await world.second(mood=700)
        await world.second(mood=700)
        assert world.backend.writes[2:] == [("mood-1", 8)], "the policy's own, and the spare has no place beside it"

    run(test)


def test_to_zero_when_nobody_asks_and_back_at_the_first_held_request():
    async def test(world):
        world.service(scaling={"minReplicas": 0, "maxReplicas": 4})
        for _ in range(12):
            await world.second(mood=0)
        assert world.backend.writes == [("mood-1", 0)]
        world.clock.move_to(world.clock.now() + 0.1)
        world.report({"shop/mood": 1}, held=1, over_s=0.1)  # sent at once, not with the second's
        assert world.controller._kick.is_set(), "a turn at once"
        await world.controller.tick()
        assert world.backend.writes == [("mood-1", 0), ("mood-1", 1)]

    run(test)


def test_a_service_that_is_made_at_none_stays_there_until_somebody_asks():
    """It is heard of before the operator has named its workload, and that before the workload itself is seen."""

    async def test(world):
        world.service(target="", scaling={"minReplicas": 0, "maxReplicas": 4})
        for _ in range(3):
            await world.second(mood=0)
        del world.backend.counts["shop", ""]
        world.controller.take_service("shop/mood", world.controller._services["shop/mood"].service, target="mood-1")
        await world.second(mood=0)
        world.backend.counts["shop", "mood-1"] = 0
        for _ in range(12):
            await world.second(mood=0)
        assert world.backend.writes == []
        assert world.sink.signals["shop/mood"].desired == 0
        world.clock.move_to(world.clock.now() + 0.1)
        world.report({"shop/mood": 1}, held=1, over_s=0.1)
        await world.controller.tick()
        assert world.backend.writes == [("mood-1", 1)]

    run(test)


@pytest.mark.parametrize("writer", ["Controller", "HPA"])
def test_a_first_replica_shows_that_the_model_loads_before_the_service_sleeps(writer):
    async def test(world):
        world.service(scaling={"minReplicas": 0, "maxReplicas": 4, "writer": writer})
        pod = world.backend.start("shop/mood", "mood-1", 1, phase=ReplicaPhase.STARTING, ready_at=None, load={})
        for _ in range(15):
            await world.second(mood=0)
        assert world.backend.writes == [], "nobody asked for longer than it stays, but it is not ready yet"
        world.backend.pods[pod] = replace(world.backend.pods[pod], phase=ReplicaPhase.READY, ready_at=1015.0)
        await world.second(mood=0)
        assert world.backend.writes == [("mood-1", 0)]
        # Woken and idle again: that it loads is known by now.
        world.backend.pods[pod] = replace(world.backend.pods[pod], phase=ReplicaPhase.STARTING, ready_at=None)
        world.backend.counts["shop", "mood-1"] = 1
        for _ in range(2):
            await world.second(mood=0)
        assert world.backend.writes == [("mood-1", 0), ("mood-1", 0)]

    run(test)


def test_a_first_replica_that_never_loads_goes_after_all():
    async def test(world):
        world.service(scaling={"minReplicas": 0, "maxReplicas": 4})
        failing = {"phase": ReplicaPhase.BACKING_OFF, "ready_at": None, "restarts": 3, "reason": "no model", "load": {}}
        world.backend.start("shop/mood", "mood-1", 1, **failing)
        for _ in range(12):
            await world.second(mood=0)
        assert world.backend.writes == [("mood-1", 0)]

    run(test)


@pytest.mark.parametrize("writer", ["HPA", "KEDA"])
def test_another_writer_is_left_alone_but_for_none_and_one(writer):
    async def test(world):
        world.service(scaling={"minReplicas": 0, "maxReplicas": 4, "writer": writer})
        await world.second(mood=0)
        await world.second(mood=400)
        assert world.backend.writes == []
        assert world.sink.signals["shop/mood"].desired == 4
        world.backend.counts["shop", "mood-1"] = 4  # as the other did
        for _ in range(12):
            await world.second(mood=0)
        assert world.backend.writes == [("mood-1", 0)], "which rests an HPA"
        world.clock.move_to(world.clock.now() + 0.1)
        world.report({"shop/mood": 1}, held=1, over_s=0.1)
        await world.controller.tick()
        assert world.backend.writes[1:] == [("mood-1", 1)]
        await world.second(mood=300)
        await world.second(mood=300)
        assert world.backend.writes[2:] == []

    run(test)


def test_when_metrics_stop_the_count_stays_and_it_is_said_and_said_again_when_they_are_back():
    async def test(world):
        world.service()
        await world.second(mood=0)
        await world.second(mood=450)
        for _ in range(6):
            await world.second()
        assert world.backend.writes == [("mood-1", 5)]
        signal = world.sink.signals["shop/mood"]
        assert signal.desired == 5
        assert signal.holding == "no word from a gateway: 5 replicas stay until metrics are back"
        (figures,) = world.controller.figures()
        assert figures.reason == signal.holding
        await world.second(mood=450)
        await world.second(mood=450)
        assert "metrics are back" in world.messages
        assert world.sink.signals["shop/mood"].holding == ""

    run(test)


def test_gateways_are_told_of_each_change_once():
    async def test(world):
        world.service(routes=[{"path": "/mood"}])
        world.backend.start("shop/mood", "mood-1", 0)
        await world.second(mood=10)
        first = world.snapshot
        assert [view.name for view in first.services] == ["shop/mood"]
        assert first.services[0].revision == "mood-1"
        assert first.services[0].endpoints == (), "gateways watch those themselves"
        await world.second(mood=10)
        assert world.snapshot is first
        world.service(routes=[{"path": "/feeling"}])
        await world.second(mood=10)
        assert world.view("shop/mood").routes[0].path == "/feeling"
        assert world.snapshot.version > first.version
        world.controller.take_service("shop/mood", None)
        await world.second()
        assert world.snapshot.services == ()
        assert world.controller.figures() == []

    run(test)


def test_replicas_that_never_start_are_told_to_gateways():
    async def test(world):
        world.service()
        name = world.backend.start("shop/mood", "mood-1", 0)
        down = replace(
            world.backend.pods[name], phase=ReplicaPhase.BACKING_OFF, ready_at=None, restarts=2, reason="no module x"
        )
        world.backend.pods[name] = down
        await world.second(mood=1)
        assert world.view("shop/mood").failed is None, "it may come yet"
        world.backend.pods[name] = replace(down, restarts=3)
        await world.second(mood=1)
        assert world.view("shop/mood").failed == "no module x"

    run(test)


def test_spares_are_written_with_the_count_and_named_to_gateways():
    async def test(world):
        world.service()
        await world.second(mood=0)
        await world.second(mood=550)
        await world.second(mood=550)
        assert world.backend.writes == [("mood-1", 7)]
        for number in range(7):
            world.backend.start("shop/mood", "mood-1", number, ready_at=100.0 + number)
        await world.second(mood=550)
        (spare,) = world.view("shop/mood").endpoints
        assert (spare.replica, spare.state) == ("mood-1-6", EndpointState.SPARE)

    run(test)


def test_a_step_that_fails_is_an_event_and_the_others_go_on():
    async def test(world):
        world.service()
        world.backend.error = RuntimeError("no route to the API server")
        await world.second(mood=0)
        await world.second(mood=450)
        await world.second(mood=450)
        assert world.sink.signals["shop/mood"].desired == 5
        assert [message for message in world.messages if "failed" in message] == [
            "writing counts failed: RuntimeError: no route to the API server"
        ]
        world.backend.error = None
        await world.second(mood=450)
        assert world.backend.writes == [("mood-1", 5)]

    run(test)


def test_figures_and_raw_signals():
    async def test(world):
        world.service()
        name = world.backend.start("shop/mood", "mood-1", 0)
        for second in range(5):
            pod = world.backend.pods[name]
            world.backend.pods[name] = replace(pod, load={**pod.load, "requests": 30.0 * second, "queued": 4.0})
            await world.second(mood=30)
        signal = world.sink.signals["shop/mood"]
        assert signal.values["requests_per_second"] == pytest.approx(30, rel=0.1)
        assert signal.values["queue_length"] == 4
        assert signal.values["concurrency"] == pytest.approx(0.6, rel=0.2)
        assert 0.0 < signal.values["predicted_p99_seconds"] < 0.1
        (pod_signal,) = signal.pods
        assert pod_signal.pod == name
        assert pod_signal.values["requests_per_second"] == pytest.approx(30, rel=0.1)
        (figures,) = world.controller.figures()
        told = figures.as_json()
        assert (told["namespace"], told["name"], told["desired"]) == ("shop", "mood", 1)
        assert (told["p99_s"], told["within_budget"], told["error_rate"]) == (0.04, True, 0.0)

    run(test)


def test_what_a_secret_of_another_namespace_holds_is_not_to_be_had():
    digest = "sha256:" + "a" * 64
    secrets = {
        ("plimsoll-system", "acme-keys", "one"): digest,
        ("shop", "redis", "url"): "redis://shop",
        ("lab", "redis", "url"): "redis://lab",
    }

    async def test(world):
        cache = {"ttl": "1m", "backend": {"type": "Redis", "secretRef": {"name": "redis", "key": "url"}}}
        world.tenant()
        for namespace in ("shop", "lab", "far"):
            world.service(namespace=namespace, cache=cache)
        await world.second()
        assert world.snapshot.tenants[0].key_digests == {"one": "a" * 64}
        urls = {view.name: view.cache.url for view in world.snapshot.services}
        assert urls == {"shop/mood": "redis://shop", "lab/mood": "redis://lab", "far/mood": ""}
        del world.secrets["lab", "redis", "url"]
        await world.second()
        assert world.view("lab/mood").cache.url == "redis://lab", "gateways go on with what it was"
        assert any("namespace lab has no secret redis" in message for message in world.messages)

    run(test, secrets=secrets)


def test_a_tenant_that_is_gone_is_forgotten_and_rates_are_shared_by_the_gateways_there_are():
    async def test(world):
        world.secrets["plimsoll-system", "acme-keys", "one"] = "sha256:" + "b" * 64
        world.tenant()
        for gateway in ("gateway-0", "gateway-1"):
            world.report({}, gateway=gateway)
        await world.second()
        assert world.snapshot.limits.gateways == 2
        assert [tenant.name for tenant in world.snapshot.tenants] == ["acme"]
        world.controller.take_tenant("acme", None)
        await world.second()
        assert world.snapshot.tenants == ()

    run(test)


def test_a_tenant_whose_keys_can_not_be_read_keeps_the_doors_shut():
    async def test(world):
        world.tenant()
        await world.second()
        (view,) = world.snapshot.tenants
        assert (view.name, view.key_digests, view.subjects, view.jwt) == ("acme", {}, (), None)
        assert any("no secret acme-keys" in message for message in world.messages)

    run(test)
