"""What `plimsoll pack` prints goes into a real API server as it is: with plain `kubectl apply` up to the limit that we
know, with `--server-side` beyond, and a ConfigMap with a model's content is never another's."""

import json
import random
import shutil
import subprocess

import pytest
import yaml

from plimsoll.app import install
from plimsoll.app.pack import PackRequest, pack_files
from plimsoll.backends.kubernetes.artifacts.configmap import CLIENT_APPLY_MAX_BYTES, CONFIGMAP_MAX_BYTES
from plimsoll.backends.kubernetes.objects import to_yaml

FILE = """\
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood}
spec: {model: {path: ./mood.py}}
"""


@pytest.fixture
def kubectl(real_cluster, namespace):
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")

    def run(*args, given=None):
        command = ["kubectl", "--kubeconfig", str(real_cluster.kubeconfig), "-n", namespace, *args]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)

    crds = run("apply", "--server-side", "--force-conflicts", "-f", "-", given=to_yaml(install.crd_objects()))
    assert crds.returncode == 0, crds.stderr
    run("wait", "--for=condition=Established", "--timeout=30s", "crd/modelservices.plimsoll.dev")
    run("create", "namespace", namespace)
    yield run
    run("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def packed(tmp_path):
    """Packs the model with so many bytes beside it."""

    def pack(size=0, text="class Mood: ...\n"):
        (tmp_path / "service.yaml").write_text(FILE)
        (tmp_path / "mood.py").write_text(text)
        (tmp_path / "w.bin").write_bytes(random.Random(1).randbytes(size))
        return pack_files([tmp_path / "service.yaml"], PackRequest())

    return pack


def test_kubectl_apply_takes_it_as_it_is(kubectl, packed):
    found = packed()
    done = kubectl("apply", "-f", "-", given=found.to_yaml())
    assert done.returncode == 0, done.stderr
    name = found.objects[0]["metadata"]["name"]
    assert f"configmap/{name} created" in done.stdout
    assert "modelservice.plimsoll.dev/mood created" in done.stdout
    stored = json.loads(kubectl("get", "configmap", name, "-o", "json").stdout)
    assert stored["data"] == found.objects[0]["data"]
    again = kubectl("apply", "-f", "-", given=found.to_yaml())
    assert again.stdout.count("unchanged") == 2, again.stdout


def test_the_largest_that_plain_apply_takes_and_what_is_said_beyond(kubectl, packed):
    size = (CLIENT_APPLY_MAX_BYTES - 800) * 3 // 4
    under, over = packed(size), packed(size + 12_000)
    assert under.notes == []
    assert kubectl("apply", "-f", "-", given=under.to_yaml()).returncode == 0
    assert "--server-side" in over.notes[0]
    refused = kubectl("apply", "-f", "-", given=over.to_yaml())
    assert "metadata.annotations: Too long" in refused.stderr
    assert kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=over.to_yaml()).returncode == 0


def test_the_largest_configmap_fits(kubectl, packed):
    found = packed(CONFIGMAP_MAX_BYTES - 1000)
    done = kubectl("apply", "--server-side", "-f", "-", given=found.to_yaml())
    assert done.returncode == 0, done.stderr


def test_another_model_is_another_configmap_and_the_first_stays_as_it_is(kubectl, packed):
    first, second = packed(), packed(text="class Other: ...\n")
    for one in (first, second):
        assert kubectl("apply", "-f", "-", given=one.to_yaml()).returncode == 0
    names = json.loads(kubectl("get", "configmaps", "-l", "plimsoll.dev/model-of=mood", "-o", "json").stdout)["items"]
    assert len(names) == 2
    changed = yaml.safe_load(to_yaml([first.objects[0]]))
    changed["data"]["mood.py"] = "class Evil: ...\n"
    assert "field is immutable" in kubectl("apply", "-f", "-", given=json.dumps(changed)).stderr
