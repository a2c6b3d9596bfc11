"""`plimsoll render`: files and options to text; notes apart; errors with the remedy."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from plimsoll.app.render import KNOWN_APIS, RenderRequest, cluster_options, render_files, text_of
from plimsoll.backends.kubernetes.options import Mode
from plimsoll.cli.main import app
from plimsoll.core.errors import UserError

SERVICE = """
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood, annotations: {owner: shop}}
spec: {model: {path: ./mood.py}, scaling: {maxReplicas: 4}}
"""
MODEL = "class Mood:\n    def predict(self, batch):\n        return batch\n"


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mood.py").write_text(MODEL)
    (tmp_path / "service.yaml").write_text(SERVICE)
    return tmp_path / "service.yaml"


def options(**words):
    return cluster_options(**{"mode": "plain", "kubernetes": "1.36", "image": None, "apis": []} | words)


def kinds(objects):
    return [obj["kind"] for obj in objects]


def test_a_local_model_is_packed_on_demand(file):
    with pytest.raises(UserError, match="plimsoll pack"):
        render_files([file], RenderRequest(options()))
    found = render_files([file], RenderRequest(options(), namespace="shop", pack=True))
    model, *rest = found.objects
    assert (model["kind"], model["data"]["mood.py"]) == ("ConfigMap", MODEL)
    assert {obj["metadata"]["namespace"] for obj in found.objects} == {"shop"}
    pod = next(obj for obj in rest if obj["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert {"name": model["metadata"]["name"], "defaultMode": 0o444} in [one.get("configMap") for one in pod["volumes"]]


def test_a_namespace_is_added_and_never_changed(file):
    file.write_text(SERVICE.replace("name: mood,", "name: mood, namespace: other,"))
    with pytest.raises(UserError, match=r"metadata.namespace: other is not the namespace shop of --namespace"):
        render_files([file], RenderRequest(options(), namespace="shop", pack=True))
    found = render_files([file], RenderRequest(options(), namespace="other", pack=True))
    assert {obj["metadata"]["namespace"] for obj in found.objects} == {"other"}


def test_without_a_namespace_kubectl_decides(file):
    found = render_files([file], RenderRequest(options(), pack=True))
    assert all("namespace" not in obj["metadata"] for obj in found.objects)


def test_options_of_the_command_line():
    found = options(mode="operator", kubernetes="v1.34.2", image="mine:1", apis=["keda.sh/v1alpha1"])
    assert (found.mode, found.minor, found.image) == (Mode.OPERATOR, 34, "mine:1")
    assert found.apis == {"keda.sh/v1alpha1"}
    assert options().apis == KNOWN_APIS
    assert options(pull_secrets=["registry"]).image_pull_secrets == ("registry",)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"mode": "both"}, "--mode both: expected plain or operator"),
        ({"kubernetes": "1.32"}, "--kubernetes 1.32: 1.33 is the oldest that objects are made for"),
        ({"kubernetes": "latest"}, "--kubernetes latest: expected a version such as 1.36"),
        ({"apis": ["keda"]}, "--api keda: expected GROUP/VERSION, such as keda.sh/v1alpha1"),
    ],
)
def test_what_is_no_option_is_refused(words, expected):
    with pytest.raises(UserError) as caught:
        options(**words)
    assert str(caught.value) == expected


def test_json_is_one_list_of_the_same_objects(file):
    found = render_files([file], RenderRequest(options(), pack=True))
    listed = json.loads(text_of(found, "json"))
    assert listed["kind"] == "List"
    assert listed["items"] == list(yaml.safe_load_all(text_of(found, "yaml"))) == list(found.objects)
    with pytest.raises(UserError, match="--output xml: expected yaml or json"):
        text_of(found, "xml")


def test_the_command_prints_objects_and_notes_apart(file):
    result = CliRunner().invoke(app, ["render", str(file), "--pack", "-n", "shop"])
    assert result.exit_code == 0, result.output
    assert kinds(yaml.safe_load_all(result.stdout))[:2] == ["ConfigMap", "ServiceAccount"]
    assert result.stderr.startswith("note: shop/mood: spec.scaling: policy Budget")


def test_files_without_a_service_are_refused(tmp_path):
    file = tmp_path / "platform.yaml"
    file.write_text("apiVersion: plimsoll.dev/v1alpha1\nkind: Platform\nmetadata: {name: default}\nspec: {}\n")
    with pytest.raises(UserError, match="no service"):
        render_files([file], RenderRequest(options()))


def test_one_name_in_two_namespaces_is_two_services(file):
    shop = SERVICE.replace("name: mood,", "name: mood, namespace: shop,")
    file.write_text(f"{shop}---{shop.replace('namespace: shop', 'namespace: bank')}")
    found = render_files([file], RenderRequest(options(), pack=True))
    assert {obj["metadata"]["namespace"] for obj in found.objects if obj["kind"] == "Deployment"} == {"shop", "bank"}


def test_two_that_come_to_stand_in_one_namespace_are_refused(file):
    file.write_text(f"{SERVICE}---{SERVICE.replace('name: mood,', 'name: mood, namespace: shop,')}")
    with pytest.raises(UserError, match=r"mood is the name of the service in .*, in namespace shop too"):
        render_files([file], RenderRequest(options(), namespace="shop", pack=True))
