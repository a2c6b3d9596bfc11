"""`podTemplate` over the pod that was made, as Kubernetes merges."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.backends.kubernetes.render.merge import merged

POD = {
    "containers": [
        {
            "name": "model",
            "image": "plimsoll:1",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"name": "http", "containerPort": 8080}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            "startupProbe": {"httpGet": {"path": "/", "port": 1}, "periodSeconds": 2},
            "resources": {"requests": {"cpu": "1"}},
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "config", "configMap": {"name": "mood"}}],
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "registry"}],
    "securityContext": {"runAsUser": 65532, "fsGroup": 65532},
    "topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 1}],
}


def container(**over):
    return merged(POD, {"containers": [{"name": "model", **over}]})["containers"][0]


def test_a_container_is_found_by_its_name_and_others_come_after():
    found = merged(POD, {"containers": [{"name": "proxy", "image": "proxy:1"}, {"name": "model", "tty": True}]})
    assert [one["name"] for one in found["containers"]] == ["model", "proxy"]
    assert found["containers"][0]["image"] == "plimsoll:1"
    assert found["containers"][0]["tty"] is True


def test_variables_mounts_and_ports_merge_by_their_own_keys():
    found = container(
        env=[{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}, {"name": "big", "mountPath": "/tmp"}],
        ports=[{"containerPort": 8080, "name": "web"}],
    )
    assert [(one["name"], one["value"]) for one in found["env"]] == [("A", "1"), ("B", "3"), ("C", "4")]
    assert found["volumeMounts"] == [{"name": "big", "mountPath": "/tmp"}, {"name": "data", "mountPath": "/data"}]
    assert found["ports"] == [{"containerPort": 8080, "name": "web"}]


def test_a_variable_has_one_source():
    found = container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}])
    assert found["env"][0] == {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def test_a_probe_has_one_handler():
    assert container(startupProbe={"exec": {"command": ["true"]}})["startupProbe"] == {
        "periodSeconds": 2,
        "exec": {"command": ["true"]},
    }
    assert container(startupProbe={"httpGet": {"path": "/up"}})["startupProbe"]["httpGet"] == {"path": "/up", "port": 1}


def test_a_volume_has_one_source():
    found = merged(POD, {"volumes": [{"name": "tmp", "persistentVolumeClaim": {"claimName": "big"}}]})
    assert found["volumes"][0] == {"name": "tmp", "persistentVolumeClaim": {"claimName": "big"}}
    found = merged(POD, {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]})
    assert found["volumes"][0] == {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}


def test_tolerations_are_added_once():
    more = {"key": "spot", "operator": "Exists"}
    found = merged(POD, {"tolerations": [more, POD["tolerations"][0]]})
    assert found["tolerations"] == [POD["tolerations"][0], more]


def test_lists_without_a_key_are_replaced():
    assert merged({"args": ["a", "b"]}, {"args": ["c"]}) == {"args": ["c"]}


def test_null_takes_a_key_away_and_patch_delete_an_entry():
    found = merged(POD, {"securityContext": {"fsGroup": None}, "volumes": [{"name": "tmp", "$patch": "delete"}]})
    assert found["securityContext"] == {"runAsUser": 65532}
    assert [one["name"] for one in found["volumes"]] == ["config"]
    assert merged(POD, {"hostname": None, "affinity": {"nodeAffinity": None}})["affinity"] == {}
    assert merged(POD, {"volumes": [{"name": "none", "$patch": "delete"}]})["volumes"] == POD["volumes"]


@pytest.mark.parametrize("over", [{}, POD, {"securityContext": {}}, {"volumes": []}])
def test_saying_nothing_new_changes_nothing(over):
    assert merged(POD, over) == POD


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.dictionaries(st.sampled_from(["args", "spec", "securityContext"]), inner, max_size=3)
        | st.lists(st.integers(0, 3), max_size=2)
    ),
    max_leaves=8,
)
named = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abc")}, optional={"value": st.sampled_from("xy")}),
    max_size=3,
    unique_by=lambda one: one["name"],
)
pods = st.fixed_dictionaries({"env": named}, optional={"args": st.lists(st.integers(), max_size=2), "spec": values})


@given(pods, pods)
def test_merging_twice_is_merging_once_and_changes_neither(base, over):
    kept = copy.deepcopy((base, over))
    once = merged(base, over)
    assert (base, over) == kept
    assert merged(once, over) == once
    names = [one["name"] for one in once["env"]]
    assert len(names) == len(set(names)) == len({one["name"] for one in base["env"] + over["env"]})
