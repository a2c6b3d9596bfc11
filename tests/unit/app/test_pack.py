"""`plimsoll pack`: what it prints, what it pushes, what it says."""

import json
import random
from functools import partial
from pathlib import Path

import pytest
import yaml
from tests.support.artifact_servers import OciRegistry
from typer.testing import CliRunner

from plimsoll.app.pack import PackRequest, pack_files
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher, fetch_model
from plimsoll.backends.kubernetes.artifacts.registry import Repository
from plimsoll.backends.kubernetes.artifacts.web import Web
from plimsoll.backends.kubernetes.options import ClusterOptions
from plimsoll.backends.kubernetes.render import render
from plimsoll.cli.main import app
from plimsoll.core.errors import HostError, UserError
from plimsoll.spec import load_text

FILE = """\
# a comment, which goes
apiVersion: plimsoll.dev/v1alpha1
kind: Tenant
metadata: {name: shop}
spec: {auth: {apiKeys: [{name: ci, hashSecretRef: {name: keys, key: ci}}]}}
---
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood, namespace: shop}
spec:
  routes: [{path: /mood}]
  model:
    className: Mood
    path: ./mood.py
  resources: {requests: {cpu: "1"}}
  budget: {latency: {p99: 100ms}, errorRate: 0.1%}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mood.py").write_text("class Mood:\n    def predict(self, batch):\n        return batch\n")
    (tmp_path / "service.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path


def pack(*args, code=0):
    done = CliRunner().invoke(app, ["pack", *map(str, args)])
    assert done.exit_code == code, done.output
    return done


def service_file(folder):
    return [Path(folder / "service.yaml")]


def test_everything_but_the_model_stays_as_it_was_written(folder):
    done = pack("service.yaml")
    configmap, tenant, service = yaml.safe_load_all(done.stdout)
    before = list(yaml.safe_load_all(FILE))
    assert configmap["kind"] == "ConfigMap"
    assert tenant == before[0]
    assert list(service["spec"]) == list(before[1]["spec"])
    name = configmap["metadata"]["name"]
    assert list(service["spec"]["model"]) == ["className", "uri", "digest", "format"]
    assert service["spec"]["model"]["uri"] == f"configmap://{name}"
    assert service["spec"]["model"]["format"] == "Python"
    assert {key: value for key, value in service["spec"].items() if key != "model"} == {
        key: value for key, value in before[1]["spec"].items() if key != "model"
    }
    assert "resources:\n    requests:\n      cpu: '1'" in done.stdout
    assert "packed mood   1 file, " in done.stderr
    assert "left out: docker/" not in done.stderr
    assert pack("service.yaml").stdout == done.stdout, "the same files, the same bytes"


def test_what_is_packed_can_be_rendered(folder):
    packed = pack_files(service_file(folder), PackRequest())
    (service,) = load_text(yaml.safe_dump(packed.objects[-1]))
    assert "configMap" in json.dumps(render(service, None, ClusterOptions()).objects)


def test_output_and_json(folder):
    pack("service.yaml", "-o", folder / "packed.yaml")
    assert (folder / "packed.yaml").read_text() == pack("service.yaml").stdout
    found = json.loads(pack("service.yaml", "--json").stdout)
    assert found["models"][0]["files"] == ["mood.py"]
    assert [one["kind"] for one in found["objects"]] == ["ConfigMap", "Tenant", "ModelService"]


def test_larger_models_go_to_a_registry(folder, tmp_path_factory, monkeypatch):
    (folder / "w.bin").write_bytes(random.Random(1).randbytes(900_000))
    with pytest.raises(UserError, match="plimsoll pack --registry"):
        pack_files(service_file(folder), PackRequest())
    with OciRegistry() as registry:
        done = pack("service.yaml", "--registry", f"{registry.host}/models")
        _, service = yaml.safe_load_all(done.stdout)
        model = service["spec"]["model"]
        assert model["uri"].startswith(f"oci://{registry.host}/models/mood:")
        assert " sent   oci://" in done.stderr
        again = pack("service.yaml", "--registry", f"{registry.host}/models")
        assert again.stdout == done.stdout
        assert " sent " not in again.stderr
        out = tmp_path_factory.mktemp("out")
        fetch_model(model["uri"], model["digest"], out, Fetcher(Web(), Credentials()))
        assert (out / "w.bin").read_bytes() == (folder / "w.bin").read_bytes()
        other = pack("service.yaml", "--registry", registry.host, "--name", "team/x")
        assert f"oci://{registry.host}/team/x:" in other.stdout
    monkeypatch.setattr("plimsoll.app.pack.Repository", partial(Repository, sleep=lambda _: None))
    with pytest.raises(HostError, match=r"mood can't be pushed: .* connection refused"):
        pack_files(service_file(folder), PackRequest(registry=f"{registry.host}/models"))


def test_small_models_stay_configmaps_with_a_registry_too(folder):
    assert "configmap://" in pack("service.yaml", "--registry", "127.0.0.1:9/models").stdout


def test_between_the_two_limits_it_says_server_side(folder):
    (folder / "w.bin").write_bytes(random.Random(1).randbytes(300_000))
    assert "kubectl apply --server-side" in pack("service.yaml").stderr


def test_what_needs_an_image_says_so(folder):
    (folder / "service.yaml").write_text(
        FILE.replace("path: ./mood.py", "path: moods.main:Mood").replace("    className: Mood\n", "")
    )
    done = pack("service.yaml")
    assert "plimsoll build service.yaml" in done.stderr
    assert "moods.main:Mood" in done.stdout
    (folder / "service.yaml").write_text(FILE.replace("  resources", "  runtime: {requirements: [numpy]}\n  resources"))
    assert "runtime.requirements are installed by nobody on a cluster" in pack("service.yaml").stderr


def test_a_secret_is_refused_with_file_and_line(folder):
    (folder / "id_rsa").write_text("x")
    done = CliRunner().invoke(app, ["pack", "service.yaml"])
    assert "service.yaml:14  spec.model.path: id_rsa has a name as secrets have" in str(done.exception)
    assert "id_rsa" in pack("service.yaml", "--allow", "id_rsa", "--json").stdout


def test_an_artifact_in_a_registry_is_pinned(folder):
    (folder / "w.bin").write_bytes(random.Random(1).randbytes(900_000))
    with OciRegistry() as registry:
        first = pack_files(service_file(folder), PackRequest(registry=f"{registry.host}/models"))
        uri, digest = first.models[0].uri, first.models[0].digest
        text = FILE.replace("path: ./mood.py", f"uri: {uri}\n    format: Python")
        (folder / "service.yaml").write_text(text)
        _, service = yaml.safe_load_all(pack("service.yaml").stdout)
    assert service["spec"]["model"] == {"className": "Mood", "uri": uri, "digest": digest, "format": "Python"}
    (folder / "service.yaml").write_text(FILE.replace("path: ./mood.py", "uri: s3://models/mood.py"))
    assert "--pin fetches it once" in pack("service.yaml").stderr


@pytest.mark.parametrize("registry", ["models", "/models", "https://"])
def test_a_registry_that_is_none(folder, registry):
    (folder / "w.bin").write_bytes(random.Random(1).randbytes(900_000))
    with pytest.raises(UserError, match="expected HOST/PATH"):
        pack_files(service_file(folder), PackRequest(registry=registry))


def test_name_is_for_one_model(folder):
    (folder / "service.yaml").write_text(
        FILE + "---\n" + FILE.split("---\n")[1].replace("mood,", "two,").replace("/mood}", "/two}")
    )
    with pytest.raises(UserError, match="--name names one repository"):
        pack_files(service_file(folder), PackRequest(name="x"))


def test_one_name_in_two_namespaces_is_packed_twice(folder):
    mood = FILE.split("---\n")[1].replace("  routes: [{path: /mood}]\n", "")
    (folder / "service.yaml").write_text(f"{mood}---\n{mood.replace('namespace: shop', 'namespace: bank')}")
    found = [(one["kind"], one["metadata"]["namespace"]) for one in yaml.safe_load_all(pack().stdout)]
    assert found == [("ConfigMap", "bank" if n else "shop") for n in (0, 1)] + [
        ("ModelService", "shop"),
        ("ModelService", "bank"),
    ]
