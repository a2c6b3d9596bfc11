"""Which cluster a command is about, and what is said where it can't be reached."""

import json
import socket
import sys

import pytest
import yaml

from plimsoll.app import cluster
from plimsoll.core.errors import HostError, UserError

pytest.importorskip("lightkube", reason="needs the extra k8s")


def config(**more):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "current-context": "prod",
    } | more


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    def write(*contents):
        files = []
        for number, content in enumerate(contents):
            files.append(tmp_path / f"config{number}")
            files[-1].write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
        return files

    monkeypatch.setenv("HOME", str(tmp_path))
    return write


def test_the_current_context_is_meant_where_none_is_named(kubeconfig):
    kubeconfig(config())
    found = cluster.find_config(None)
    assert (found.context_name, found.namespace, found.cluster.server) == ("prod", "shop", "https://127.0.0.1:1")


@pytest.mark.parametrize(
    ("content", "context", "told"),
    [
        (config(), "prd", "no context prd; did you mean prod?"),
        (config(), "zzz", "no context zzz; there are: prod"),
        (config(**{"current-context": ""}), None, "no current context set; name one"),
        (config(users=[]), None, "names the user u, which isn't in it"),
        (config(clusters=[]), None, "names the cluster c, which isn't in it"),
        ("a: [", None, "is no kubeconfig"),
        ("just text", None, "is no kubeconfig"),
    ],
)
def test_what_is_wrong_with_a_kubeconfig(kubeconfig, content, context, told):
    kubeconfig(content)
    with pytest.raises(UserError) as caught:
        cluster.find_config(context)
    assert told.replace(" set;", ";") in str(caught.value)


def test_no_kubeconfig_at_all(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"no kubeconfig: there is no .*/\.kube/config; set KUBECONFIG"):
        cluster.find_config(None)


def test_several_files_are_one(kubeconfig):
    other = config(
        contexts=[{"name": "test", "context": {"cluster": "d"}}],
        clusters=[{"name": "d", "cluster": {"server": "https://127.0.0.1:2"}}],
        users=[],
    )
    kubeconfig(config(), other)
    assert cluster.context_names() == ["prod", "test"]
    found = cluster.find_config("test")
    assert found.cluster.server == "https://127.0.0.1:2"
    assert found.user is not None  # a proxy that authenticates by itself is no crash
    assert cluster.find_config(None).context_name == "prod"


def test_a_plugin_of_the_stable_api_is_told_what_asks(kubeconfig):
    run = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "login", "args": ["x"]}}
    kubeconfig(config(users=[{"name": "u", "user": run}]))
    plugin = cluster.find_config(None).user.exec
    assert plugin.apiVersion == "client.authentication.k8s.io/v1beta1"
    (told,) = plugin.env
    assert json.loads(told.value)["apiVersion"] == "client.authentication.k8s.io/v1"


def test_nobody_listens(kubeconfig):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        kubeconfig(config(clusters=[{"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}"}}]))
        with pytest.raises(HostError, match=rf"https://127\.0\.0\.1:{port} \(context prod\) can't be reached"):
            cluster.on_cluster(None, None, lambda reach: reach.kinds("v1"))


def test_without_the_extra_the_command_to_get_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightkube", None)
    with pytest.raises(UserError, match=r"pip install 'plimsoll-serve\[k8s\]'"):
        cluster.on_cluster("prod", None, lambda reach: reach.kinds("v1"))
