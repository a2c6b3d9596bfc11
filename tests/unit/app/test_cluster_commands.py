"""Plimsoll comes to a cluster, services are applied, looked at, scaled and deleted there, and it leaves again: against
the API server in memory."""

import asyncio
import contextlib
import time

import pytest
from tests.unit.app.on_cluster import applied, ask, write_status
from typer.testing import CliRunner

from plimsoll.app import cluster_services, install, uninstall
from plimsoll.app.preflight import gather
from plimsoll.backends.kubernetes.install import values_of
from plimsoll.backends.kubernetes.install.preflight import judge
from plimsoll.backends.kubernetes.names import API_VERSION, FINALIZER, SERVICE_LABEL
from plimsoll.cli.main import app
from plimsoll.core.errors import HostError, UserError


def told(done):
    return lambda name, what: done.append((name, what))


def test_it_comes_stays_the_same_and_leaves(cluster):
    objects = install.install_objects(values_of())
    first, second = [], []
    ask(lambda reach: install.apply_all(reach, objects, told(first)))
    assert {what for name, what in first if not name.startswith("customresource")} == {"created"}
    ask(lambda reach: install.apply_all(reach, objects, told(second)))
    assert {what for _, what in second} == {"unchanged"}
    assert ask(lambda reach: install.plan_upgrade(reach, objects)).nothing

    left = []
    notes = ask(lambda reach: uninstall.uninstall(reach, keep_services=False, told=told(left)))
    assert {name for name, _ in left} >= {
        "deployment/plimsoll-system/plimsoll-operator",
        "priorityclass/plimsoll-high",
    }
    assert any("plimsoll-system" in note and "stays, with its Secrets" in note for note in notes)
    assert not cluster.objects("Deployment", "plimsoll-system")
    assert not [one for one in cluster.objects("CustomResourceDefinition") if "plimsoll" in one["metadata"]["name"]]
    cluster.apply(*install.crd_objects())


def test_an_upgrade_removes_what_is_no_longer_made_and_leaves_a_service_that_is_called_like_us(cluster):
    ask(lambda reach: install.apply_all(reach, install.install_objects(values_of()), told([])))
    labels = {
        "app.kubernetes.io/name": "plimsoll",
        "app.kubernetes.io/managed-by": "plimsoll",
        SERVICE_LABEL: "plimsoll",
    }
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {
        "name": "plimsoll", "namespace": "default", "labels": labels}, "spec": {"ports": [{"port": 80}]}})  # fmt: skip
    objects = install.install_objects(values_of("webhook: {enabled: false}"))
    plan = ask(lambda reach: install.plan_upgrade(reach, objects))
    assert [key.kind for key in plan.removed] == ["ValidatingWebhookConfiguration"]
    gone = []
    ask(lambda reach: install.remove(reach, plan.removed, told(gone)))
    assert gone == [("validatingwebhookconfiguration/plimsoll-operator", "deleted")]


def test_an_aggregated_api_of_another_is_never_taken_over(cluster):
    cluster.apply({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {"group": "external.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 1,
                 "versionPriority": 1, "service": {"namespace": "keda", "name": "keda-operator-metrics-apiserver"}},
    })  # fmt: skip
    objects = install.install_objects(values_of("metricsApis: {external: true}\nnamespace: elsewhere"))
    with pytest.raises(UserError, match="is served by keda/keda-operator-metrics-apiserver"):
        ask(lambda reach: install.apply_all(reach, objects, told([])))
    assert cluster.get("Namespace", "elsewhere") is None  # nothing was begun
    findings = judge(ask(lambda reach: gather(reach, values_of())), values_of())
    words = next(one.text for one in findings if one.name == "metrics-apis")
    assert words.startswith("external.metrics.k8s.io is served by keda-operator-metrics-apiserver")
    assert "ours stays off" in words
    kind = cluster.api.kind("apiregistration.k8s.io/v1", "APIService")
    cluster.api.delete_now(kind, "", "v1beta1.external.metrics.k8s.io")


def test_preflight_sees_nodes_plugins_and_what_one_may(cluster, monkeypatch):
    cluster.apply(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu"}},
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "calico-node", "namespace": "kube-system"},
         "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}}},
    )  # fmt: skip
    node = cluster.api.kind("v1", "Node")
    cluster.api.change_now(
        node, "", "gpu", lambda one: one.update(status={"allocatable": {"nvidia.com/gpu": "2"}}), "status"
    )
    facts = ask(lambda reach: gather(reach, values_of()))
    assert (facts.accelerators, facts.forbidden) == ({"nvidia.com/gpu": (2, 1)}, ())
    assert "kube-system/calico-node" in facts.daemon_sets
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig_of("bob:devs")))
    facts = ask(lambda reach: gather(reach, values_of()))
    assert facts.accelerators is None
    assert "create customresourcedefinitions" in facts.forbidden


def test_a_service_is_applied_with_its_model_and_again_is_unchanged(cluster, folder):
    assert applied(folder) == [("ConfigMap", "created"), ("ModelService", "created")]
    assert applied(folder) == [("ConfigMap", "unchanged"), ("ModelService", "unchanged")]
    service = cluster.get("ModelService", "mood", "default")
    assert service["spec"]["model"]["uri"].startswith("configmap://mood-model-")
    assert "replicas" not in service["spec"]


def test_a_count_by_hand_outlives_the_next_apply(cluster, folder):
    applied(folder)
    found = ask(lambda reach: cluster_services.scale(reach, "mood", 3))
    assert found["spec"]["replicas"] == 3
    assert applied(folder)[1] == ("ModelService", "unchanged")
    assert cluster.get("ModelService", "mood", "default")["spec"]["replicas"] == 3
    ask(lambda reach: cluster_services.scale(reach, "mood", None))
    assert "replicas" not in cluster.get("ModelService", "mood", "default")["spec"]


def test_a_count_beyond_the_most_is_held_and_told_and_one_that_nobody_means_is_refused(cluster, folder):
    """In the words of a laptop, where 256 is the most, too."""
    applied(folder)
    done = CliRunner().invoke(app, ["scale", "mood", "9", "-n", "default"])
    assert (done.exit_code, done.stdout) == (0, "  mood   held at 9, until: plimsoll scale mood auto\n")
    assert done.stderr == (
        "  mood   9 is more than its maxReplicas, 4: policies keep to that, a count set by hand doesn't\n"
    )
    assert CliRunner().invoke(app, ["scale", "mood", "4", "-n", "default"]).stderr == ""
    done = CliRunner().invoke(app, ["scale", "mood", "99999", "-n", "default"])
    assert "99999 replicas at once are more than 256: is a digit too many?" in str(done.exception)
    assert cluster.get("ModelService", "mood", "default")["spec"]["replicas"] == 4


def test_a_field_that_another_owns_is_asked_for(cluster, folder, tmp_path):
    applied(folder)
    service = cluster.get("ModelService", "mood", "default")
    mine = {"apiVersion": API_VERSION, "kind": "ModelService", "metadata": {"name": "mood", "namespace": "default"},
            "spec": {"scaling": {"maxReplicas": 9}}}  # fmt: skip
    cluster.apply(mine, manager="argocd")
    with pytest.raises(UserError, match="--force takes it over"):
        applied(folder)
    assert service["spec"]["scaling"]["maxReplicas"] == 4


def test_statuses_of_one_namespace_and_of_all(cluster, folder):
    applied(folder)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    applied(folder, namespace="shop")
    assert [one["name"] for one in ask(lambda reach: cluster_services.statuses(reach, None))] == ["mood"]
    everywhere = ask(lambda reach: cluster_services.statuses(reach, None, everywhere=True))
    assert [one["name"] for one in everywhere] == ["default/mood", "shop/mood"]
    with pytest.raises(UserError, match="no service 'moot' in namespace default; did you mean mood"):
        ask(lambda reach: cluster_services.statuses(reach, "moot"))


def test_events_of_a_service_and_its_pods(cluster, folder):
    applied(folder)
    cluster.apply(
        {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a", "namespace": "default"}, "type": "Normal",
         "reason": "RolledOut", "message": "rev 1 serves", "lastTimestamp": "2026-01-01T00:00:00Z",
         "involvedObject": {"kind": "ModelService", "name": "mood", "namespace": "default"}},
        {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "b", "namespace": "default"}, "message": "no",
         "involvedObject": {"kind": "Pod", "name": "stranger", "namespace": "default"}},
    )  # fmt: skip
    said = []
    ask(lambda reach: cluster_services.events(reach, "mood", said.append, follow=False))
    assert [(one["service"], one["message"]) for one in said] == [("mood", "rev 1 serves")]


class LoggingReach:
    """A service with pods whose logs are given; after the first look there is one more, `mood-new`."""

    def __init__(self, **logs):
        self.logs, self.api, self.pods = logs, self, ["mood-old"]
        self.namespace = "default"
        self.asked = []

    async def kinds(self, version):
        return {"ModelService"}

    async def get(self, *which):
        return {"metadata": {"name": "mood"}}

    async def list(self, *which, **options):
        found = [{"metadata": {"name": name, "creationTimestamp": ""}, "status": {}} for name in self.pods]
        self.pods = ["mood-old", "mood-new"]
        return found

    async def path(self, version, kind, namespace, name, sub):
        return name

    async def text(self, path, params):
        return "\n".join(self.logs[path.replace("-", "_")])

    @contextlib.asynccontextmanager
    async def lines(self, path, params, silent_s=None):
        self.asked.append((path, params.get("tailLines")))

        async def coming():
            for line in self.logs[path.replace("-", "_")]:
                yield line.encode()

        yield coming()


def test_a_log_that_is_followed_is_told_once_and_a_new_replica_from_its_start(monkeypatch):
    monkeypatch.setattr(cluster_services, "_POLL_S", 0.001)
    reach, said = LoggingReach(mood_old=["1", "2"], mood_new=["a", "b"]), []
    wanted = [("mood-old", "1"), ("mood-old", "2"), ("mood-new", "a"), ("mood-new", "b")]

    async def run():
        async with asyncio.timeout(20):
            done = asyncio.Event()

            def told(pod, line):
                said.append((pod, line))
                if said[-1] == wanted[-1]:
                    done.set()

            follow = asyncio.ensure_future(
                cluster_services.logs(reach, "mood", told, lines=7, follow=True, replica=None)
            )
            await done.wait()
            follow.cancel()

    asyncio.run(run())
    assert said == wanted
    assert reach.asked == [("mood-old", "7"), ("mood-new", None)]


def test_deleted_and_gone_with_its_model(cluster, folder):
    applied(folder)

    async def run(reach):
        service = await cluster_services.delete(reach, "mood")
        return await cluster_services.await_gone(reach, service, 5.0)

    assert ask(run)
    assert cluster.get("ModelService", "mood", "default") is None
    assert not [
        one for one in cluster.objects("ConfigMap", "default") if one["metadata"]["name"].startswith("mood-model")
    ]


def test_services_go_on_when_plimsoll_leaves(cluster, folder):
    applied(folder)
    ask(lambda reach: install.apply_all(reach, install.install_objects(values_of()), told([])))
    service = cluster.get("ModelService", "mood", "default")
    kind = cluster.api.kind(API_VERSION, "ModelService")
    cluster.api.change_now(kind, "default", "mood", lambda one: one["metadata"].update(finalizers=[FINALIZER]))
    write_status(cluster, revision="mood-new", scaleTarget="mood-new")
    meta = {
        "namespace": "default", "labels": {SERVICE_LABEL: "mood"},
        "ownerReferences": [{"apiVersion": API_VERSION, "kind": "ModelService", "name": "mood",
                             "uid": service["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}],
    }  # fmt: skip
    pods = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
        "containers": [{"name": "model", "image": "x"}]}}}  # fmt: skip
    for name, replicas in (("mood-new", 0), ("mood-old", 0)):
        cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta | {"name": name},
                       "spec": pods | {"replicas": replicas}})  # fmt: skip
    cluster.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": meta | {"name": "mood"}, "spec": {"ports": [{"port": 80}]}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta | {"name": "mood"},
         "spec": {"podSelector": {}}},
    )  # fmt: skip
    (model,) = [one for one in cluster.objects("ConfigMap", "default") if "-model-" in one["metadata"]["name"]]
    owner = {key: meta["ownerReferences"][0][key] for key in ("apiVersion", "kind", "name", "uid")}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": model["metadata"]["name"], "namespace": "default", "ownerReferences": [owner]}})  # fmt: skip
    said = []
    notes = ask(lambda reach: uninstall.uninstall(reach, keep_services=True, told=told(said), wait_s=5.0))
    assert cluster.get("CustomResourceDefinition", "modelservices.plimsoll.dev") is None
    kept = cluster.get("Deployment", "mood-new", "default")
    assert kept["spec"]["replicas"] == 1  # nobody would wake it
    assert "ownerReferences" not in kept["metadata"]
    assert cluster.get("Service", "mood", "default") is not None
    assert cluster.get("NetworkPolicy", "mood", "default") is None  # it would let in a gateway that is gone
    assert ("deployment/default/mood-new", "scaled to 1: nobody would wake it") in said
    assert any("without a gateway" in note for note in notes)

    until = time.monotonic() + 10
    while cluster.get("Deployment", "mood-old", "default") is not None:  # what served before goes with its owner
        assert time.monotonic() < until
        time.sleep(0.02)
    model = cluster.get("ConfigMap", model["metadata"]["name"], "default")
    assert "ownerReferences" not in model["metadata"], "what serves on is made of it"
    cluster.apply(*install.crd_objects())


def test_who_may_not_is_told_by_whom_and_what_to_ask_for(cluster, folder, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig_of("bob:devs")))
    with pytest.raises(HostError, match=r"forbids it: .*ask for a role"):
        ask(lambda reach: cluster_services.statuses(reach, None))


def test_a_team_without_rights_outside_serves_in_its_namespace(cluster, folder, monkeypatch):
    ask(lambda reach: install.apply_all(reach, install.install_objects(values_of()), told([])))
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "maps"},
         "rules": [{"apiGroups": [""], "resources": ["configmaps", "pods"],
                    "verbs": ["create", "delete", "get", "list", "patch"]}]},
        *(
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
             "metadata": {"name": role, "namespace": "team"},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
             "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}]}
            for role in ("plimsoll-edit", "maps")
        ),
    )  # fmt: skip
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig_of("ann:devs")))
    assert applied(folder, namespace="team")[1] == ("ModelService", "created")
    ask(lambda reach: cluster_services.scale(reach, "mood", 2), "team")
    with pytest.raises(HostError, match="forbids it"):
        applied(folder, namespace="default")
