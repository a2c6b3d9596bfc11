"""`apply` on a cluster waits for all replicas, says how many there are, and what is wrong where they don't come."""

from tests.unit.app.on_cluster import applied, ask, condition, write_status
from typer.testing import CliRunner

from plimsoll.app import cluster_services, cluster_waiting
from plimsoll.cli.main import app


def test_ready_is_awaited_and_failure_is_told(cluster, folder):
    async def run(reach, said):
        done = await cluster_services.apply(reach, [folder], lambda one: None, force=False)
        well = await cluster_waiting.await_ready(
            reach, done, 5.0, lambda one, phase, words: said.append((phase, words))
        )
        return done[-1], well

    applied(folder)
    generation = cluster.get("ModelService", "mood", "default")["metadata"]["generation"]
    ready = condition("True", "Serving")
    write_status(
        cluster, observedGeneration=generation, conditions=[ready], readyReplicas=1, url="https://mood.example"
    )
    said = []
    one, well = ask(lambda reach: run(reach, said))
    assert (well, one.url, said) == (True, "https://mood.example", [("Ready", "")])

    failed = condition("False", "ImagePullFailed", "no such image: x; mend spec.runtime.image")
    write_status(cluster, observedGeneration=generation, conditions=[failed])
    said = []
    one, well = ask(lambda reach: run(reach, said))
    assert not well
    assert said == [("Failed", "ImagePullFailed: no such image: x; mend spec.runtime.image")]


def test_where_no_node_has_room_nodes_may_come(cluster, folder):
    """An autoscaler takes minutes; what is known is told, at the end of the wait once more."""

    async def run(reach, said):
        done = await cluster_services.apply(reach, [folder], lambda one: None, force=False)
        return await cluster_waiting.await_ready(
            reach, done, 0.0, lambda one, phase, words: said.append((phase, words))
        )

    applied(folder)
    generation = cluster.get("ModelService", "mood", "default")["metadata"]["generation"]
    why = "no node has room for mood-1: cpu: 1 is wanted"
    write_status(cluster, observedGeneration=generation, conditions=[condition("False", "Unschedulable", why)])
    said = []
    assert not ask(lambda reach: run(reach, said))
    (first, last) = said
    assert first == ("Progressing", f"Unschedulable: {why}")
    assert last == ("Failed", f"not ready after 0 s; it goes on. Last: Unschedulable: {why}")


def test_a_status_of_before_the_change_is_not_believed(cluster, folder):
    applied(folder)
    generation = cluster.get("ModelService", "mood", "default")["metadata"]["generation"]
    service = {"status": {"observedGeneration": generation - 1, "conditions": [condition("True", "Serving")]}}
    service |= {"metadata": {"name": "mood", "namespace": "default"}}
    assert cluster_waiting.standing(service, generation).done is None


def serving(ready, wanted, *more, words="1 of 1 replicas are ready"):
    """As the operator writes it: the words may be of half a minute before."""
    return {
        "observedGeneration": 1, "readyReplicas": ready, "desiredReplicas": wanted,
        "conditions": [condition("True", "Serving", words), *more],
    }  # fmt: skip


def stand(status):
    return cluster_waiting.standing({"metadata": {"name": "mood", "namespace": "default"}, "status": status}, 1)


def test_one_of_two_is_not_ready_and_the_count_is_the_true_one():
    short = condition("False", "Unschedulable", "no node has room for mood-2: cpu", "CapacityAvailable")
    assert stand(serving(1, 2))[:3] == (None, "Progressing", "1 of 2 replicas are ready")
    assert stand(serving(1, 2, short)).words == "1 of 2 replicas are ready; no node has room for mood-2: cpu"
    assert stand(serving(2, 2))[:3] == (True, "Ready", "2 of 2 replicas are ready")
    asleep = serving(0, 0, words="no replica runs; the first request starts one")
    asleep["conditions"][0]["reason"] = "ScaledToZero"
    assert stand(asleep)[:3] == (True, "Ready", "no replica runs; the first request starts one")
    keda = "1 of 2 replicas are ready; nothing scales it: writer KEDA"
    assert stand(serving(2, 2, words=keda)).words == "2 of 2 replicas are ready; nothing scales it: writer KEDA"


def test_what_isnt_reached_in_time_is_told_with_what_is_wrong(cluster, folder):
    applied(folder)
    write_status(cluster, **serving(1, 2))
    waits = {"waiting": {"reason": "ImagePullBackOff", "message": "registry: no such tag"}}
    for name, state in (("mood-a", {"running": {}}), ("mood-b", waits)):
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "namespace": "default", "labels": {"plimsoll.dev/service": "mood"}},
            "spec": {"containers": [{"name": "model", "image": "x"}]}})  # fmt: skip
        status = {
            "conditions": [{"type": "Ready", "status": "True" if "running" in state else "False"}],
            "containerStatuses": [{"name": "model", "state": state, "restartCount": 0}],
        }
        cluster.api.change_now(
            cluster.api.kind("v1", "Pod"), "default", name, lambda one, new=status: one.update(status=new), "status"
        )
    done = CliRunner().invoke(app, ["apply", folder, "-n", "default", "--timeout", "10ms"])
    assert done.exit_code == 1
    assert done.stderr.splitlines() == ["  default/mood   Progressing   1 of 2 replicas are ready"]
    assert done.stdout.splitlines()[-1] == (
        "  default/mood   Failed   1 of 2 replicas are ready after 0.01 s; it goes on. "
        "Last: mood-b failed: ImagePullBackOff: registry: no such tag"
    )
    write_status(cluster, **serving(2, 2))
    done = CliRunner().invoke(app, ["apply", folder, "-n", "default"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "  default/mood   Ready   2 of 2 replicas are ready"


def test_whether_the_operator_runs_is_asked_only_after_it_had_its_time(cluster, folder, monkeypatch):
    def heard(grace_s):
        monkeypatch.setattr(cluster_waiting, "_UNSEEN_S", grace_s)
        said = []

        async def run(reach):
            done = await cluster_services.apply(reach, [folder], lambda one: None, force=False)
            return await cluster_waiting.await_ready(reach, done, 0.01, lambda *words: said.append(words[2]))

        assert not ask(run)
        return said

    assert heard(60.0) == ["not ready after 0.01 s; it goes on"]
    assert "the operator hasn't seen it yet" in heard(0.0)[0]
