"""The backend of a whole cluster, where workloads are the operator's: counts, marks, several namespaces. What replicas
do is in the contract suite."""

import asyncio
import contextlib

from lightkube.config.kubeconfig import KubeConfig
from tests.kube import FakeCluster

from plimsoll.backends.kubernetes.api import Api
from plimsoll.backends.kubernetes.backend import KubernetesBackend
from plimsoll.backends.kubernetes.names import REVISION_LABEL, SERVICE_LABEL
from plimsoll.ports.backend import DesiredReplicas, ReplicaPhase, ReplicaTemplate


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def workload(space, service, revision, replicas, kind="Deployment"):
    labels = {SERVICE_LABEL: service, REVISION_LABEL: revision}
    more = {"serviceName": revision} if kind == "StatefulSet" else {}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": revision, "namespace": space, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "model", "image": "plimsoll:0"}]},
            },
            **more,
        },
    }


def wish(service, revision, count):
    return DesiredReplicas(ReplicaTemplate(service, revision, {}), count)


def run(test, *objects, user="admin", **more):
    async def main():
        with FakeCluster(hollow=True) as cluster:
            cluster.apply(namespace("shop"), namespace("lab"), *objects)
            api = Api.connect(KubeConfig.from_file(cluster.kubeconfig_of(user)).get())
            backend = KubernetesBackend(api, **more)
            try:
                async with asyncio.timeout(30):
                    await backend.start()
                    await test(cluster, backend)
            finally:
                await backend.close()
                await api.close()

    asyncio.run(main())


async def until(backend, condition):
    while not condition():
        backend._wakeup.seen()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(backend.changed(), 0.1)
        backend.observe()


def ready(backend, service):
    return [one.id for one in backend.observe() if one.service == service and one.phase is ReplicaPhase.READY]


def test_what_is_there_is_seen_in_every_namespace():
    async def test(cluster, backend):
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 2 and len(ready(backend, "lab/mood")) == 1)
        (replica,) = [one for one in backend.observe() if one.service == "lab/mood"]
        assert replica.revision == "mood-9"
        assert replica.address.startswith("tcp:10.")
        assert replica.started_at <= replica.placed_at <= replica.ready_at
        assert backend.counts.count("shop", "mood-1") == 2
        assert backend.counts.count("shop", "nobody") is None

    run(test, workload("shop", "mood", "mood-1", 2), workload("lab", "mood", "mood-9", 1))


def test_a_count_goes_through_the_scale_of_either_kind_and_only_where_it_differs():
    async def test(cluster, backend):
        cluster.log.clear()
        for _ in range(3):
            await backend.apply((wish("shop/mood", "mood-1", 4), wish("lab/state", "state-1", 1)))
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 4)
        await backend.apply((wish("lab/state", "state-1", 2),))
        await until(backend, lambda: len(ready(backend, "lab/state")) == 2)
        counts = cluster.log.counts(user="admin")
        assert counts[("patch", "deployments/scale")] == 1
        assert counts[("patch", "statefulsets/scale")] == 1
        assert cluster.get("Deployment", "mood-1", "shop")["spec"]["replicas"] == 4

    run(test, workload("shop", "mood", "mood-1", 1), workload("lab", "state", "state-1", 1, "StatefulSet"))


def test_whoever_is_told_nothing_writes_nothing():
    """Another leads now: what it writes is not put back."""

    async def test(cluster, backend):
        await backend.apply((wish("shop/mood", "mood-1", 3),))
        await until(backend, lambda: backend.counts._watches["Deployment"].objects["shop", "mood-1"].count == 3)
        cluster.log.clear()
        api = Api.connect(KubeConfig.from_file(cluster.kubeconfig_of("other")).get())
        cluster.apply(workload("shop", "mood", "mood-1", 5), manager="other")
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 5)
        await api.close()
        assert cluster.log.counts(user="admin")[("patch", "deployments/scale")] == 0

    run(test, workload("shop", "mood", "mood-1", 1))


def test_a_write_that_waited_until_another_leads_is_not_made():
    """Between the decision and the write a process may stand still for as long as it likes."""
    leads = [True]

    async def test(cluster, backend):
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 3)
        marked = backend._mark_busy

        async def slow(*of):
            leads[0] = False
            await marked(*of)

        backend._mark_busy = slow
        cluster.log.clear()
        await backend.apply((wish("shop/mood", "mood-1", 1),))
        await asyncio.gather(*backend._acts)
        counts = cluster.log.counts(user="admin")
        assert counts[("patch", "deployments/scale")] == counts[("patch", "pods")] == 0
        leads[0], backend._mark_busy = True, marked
        await backend.apply((wish("shop/mood", "mood-1", 1),))
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 1)

    run(test, workload("shop", "mood", "mood-1", 3), may_write=lambda: leads[0])


def test_draining_pods_are_marked_for_node_autoscalers():
    async def test(cluster, backend):
        cluster.hollow.terminates_s = 1.0
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 3)
        await backend.apply((wish("shop/mood", "mood-1", 1),))
        await until(backend, lambda: sum(one.phase is ReplicaPhase.DRAINING for one in backend.observe()) == 2)
        cluster.log.clear()
        cluster.answer(503, times=100, verb="patch", resource="pods")  # so that they stay as they are, and are counted
        for _ in range(3):
            await backend.apply((wish("shop/mood", "mood-1", 1),))
        await until(backend, lambda: cluster.log.counts(user="admin")[("patch", "pods")] == 2)
        await until(backend, lambda: len(backend.observe()) == 1)
        assert cluster.log.counts(user="admin")[("patch", "pods")] == 2, "once a pod"

    run(test, workload("shop", "mood", "mood-1", 3))


def test_a_refused_write_is_a_problem_in_words_and_tried_at_the_next_turn():
    async def test(cluster, backend):
        cluster.answer(403, times=1, verb="patch", resource="deployments/scale")
        await backend.apply((wish("shop/mood", "mood-1", 3),))
        await until(backend, lambda: backend.problems != ())
        await backend.apply((wish("shop/mood", "mood-1", 3),))
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 3)
        assert backend.problems == ()

    run(test, workload("shop", "mood", "mood-1", 1))


def test_an_idle_backend_makes_no_list_calls():
    async def test(cluster, backend):
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 1)
        cluster.log.clear()
        cluster.drop_connections()
        cluster.apply(workload("shop", "mood", "mood-1", 2))
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 2)
        listed = {key: count for key, count in cluster.log.counts(user="admin").items() if key[0] == "list"}
        assert not listed

    run(test, workload("shop", "mood", "mood-1", 1))


def test_closing_leaves_what_is_not_ours():
    async def test(cluster, backend):
        await until(backend, lambda: len(ready(backend, "shop/mood")) == 1)
        await backend.close()
        assert backend.observe() == ()
        assert cluster.get("Deployment", "mood-1", "shop")["spec"]["replicas"] == 1

    run(test, workload("shop", "mood", "mood-1", 1))
