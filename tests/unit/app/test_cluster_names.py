"""Names on a cluster: completed by the shell, and asked for where they are wrong."""

import json

import pytest
from tests.unit.app.on_cluster import SERVICE, applied, ask
from typer.testing import CliRunner

from plimsoll.app import cluster_services
from plimsoll.cli.main import app
from plimsoll.core.errors import UserError


def completed(*words):
    environment = {
        "_PLIMSOLL_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["plimsoll", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return CliRunner().invoke(app, [], prog_name="plimsoll", env=environment).stdout.split()


TENANT = {
    "apiVersion": "plimsoll.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"},
    "spec": {"auth": {"apiKeys": [{"name": "ci", "hashSecretRef": {"name": "keys", "key": "ci"}}]}},
}  # fmt: skip


def deployment(name, **labels):
    pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "replicas": 0, "template": pods}
    meta = {"name": name, "namespace": "default", "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def test_a_shell_completes_what_the_cluster_has(cluster, folder):
    applied(folder)
    ours = {"plimsoll.dev/service": "mood"}
    cluster.apply(TENANT, deployment("sentiment"), deployment("mood-1", **ours))
    assert completed("status", "--namespace", "def") == ["default"]
    assert completed("status", "-n", "default", "m") == ["mood"]
    assert completed("delete", "-n", "default", "") == ["mood", "tenant/acme"]
    assert completed("delete", "-n", "default", "tenant/a") == ["tenant/acme"]
    assert completed("delete", "-n", "default", "platform/") == []
    assert completed("adopt", "-n", "default", "") == ["deployment/sentiment"]
    assert completed("adopt", "hpa/") == []


def test_a_namespace_that_is_not_there_is_told_and_one_without_services_is_fine(cluster, monkeypatch):
    empty = "in namespace kube-system; add one with: plimsoll apply FILE --context …"
    assert empty in CliRunner().invoke(app, ["status", "-n", "kube-system"]).stdout
    for asked in (cluster_services.statuses, cluster_services.find):
        with pytest.raises(UserError, match="there is no namespace defalt; did you mean default"):
            ask(lambda reach, asked=asked: asked(reach, "mood" if asked is cluster_services.find else None), "defalt")
    with pytest.raises(UserError, match=r"^there is no namespace x$"):
        ask(lambda reach: cluster_services.logs(reach, None, print, lines=1, follow=False, replica=None), "x")
    # Who sees nothing but a namespace is not told of another.
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig_of("bob:devs")))
    group = "rbac.authorization.k8s.io"
    bound = {"apiVersion": f"{group}/v1", "metadata": {"name": "bob", "namespace": "default"}}
    rules = [{"apiGroups": ["plimsoll.dev"], "resources": ["modelservices"], "verbs": ["list"]}]
    cluster.apply(
        bound | {"kind": "Role", "rules": rules},
        bound | {"kind": "RoleBinding", "roleRef": {"kind": "Role", "name": "bob", "apiGroup": group},
                 "subjects": [{"kind": "User", "name": "bob", "apiGroup": group}]},
    )  # fmt: skip
    assert ask(cluster_services.names, "default") == []
    with pytest.raises(UserError, match="no services in default"):
        ask(lambda reach: cluster_services.logs(reach, None, print, lines=1, follow=False, replica=None), "default")


def test_n_is_lines_where_logs_are_read(cluster):
    done = CliRunner().invoke(app, ["logs", "-n", "shop"])
    assert done.exit_code == 2
    assert "shop is no number of lines; a cluster's namespace is --namespace shop here" in done.stderr


def test_what_was_deleted_is_told_to_programs(cluster, folder):
    applied(folder)
    cluster.apply(TENANT)
    done = CliRunner().invoke(app, ["delete", "mood", "tenant/acme", "-n", "default", "--json"])
    assert json.loads(done.stdout) == {"deleted": ["mood", "tenant/acme"], "ending": []}
    assert "mood   deleted" in done.stderr


def test_two_of_one_path_at_the_gateway_are_told_apart_by_their_host(cluster, folder):
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    kind, url = cluster.api.kind("plimsoll.dev/v1alpha1", "ModelService"), "http://gateway/v2/models/mood"
    for namespace in ("default", "shop"):
        applied(folder, namespace=namespace)
        cluster.api.change_now(kind, namespace, "mood", lambda one: one.update(status={"url": url}), "status")
    both = CliRunner().invoke(app, ["status", "-A"]).stdout
    assert f"default/mood  {url}  (host: mood.default)\nshop/mood  {url}  (host: mood.shop)" in both
    assert CliRunner().invoke(app, ["status", "-n", "shop"]).stdout.endswith(f"mood  {url}\n")


def test_a_namespace_of_the_command_line_never_changes_a_files_own(cluster, folder, tmp_path):
    (tmp_path / "service.yaml").write_text(SERVICE.replace("{name: mood}", "{name: mood, namespace: elsewhere}"))
    done = CliRunner().invoke(app, ["apply", folder, "-n", "default"])
    assert "metadata.namespace: elsewhere is not the namespace default of --namespace" in str(done.exception)
    assert cluster.get("ModelService", "mood", "default") is None
