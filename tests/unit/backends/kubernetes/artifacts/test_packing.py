"""A small model as a ConfigMap: pure, the same for the same files, and what a ConfigMap can't hold."""

import base64
import contextlib
import gzip
import hashlib
import os
import random
import tarfile

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.backends.kubernetes.artifacts.archive import TarStream, tar_bytes
from plimsoll.backends.kubernetes.artifacts.configmap import (
    CONFIGMAP_MAX_BYTES,
    applies_client_side,
    configmap_of,
    payload_bytes,
)
from plimsoll.backends.kubernetes.artifacts.listing import Listing, is_safe_path, listing_of, parse_listing
from plimsoll.backends.kubernetes.artifacts.mounting import model_mount
from plimsoll.backends.kubernetes.artifacts.packing import pack_small
from plimsoll.backends.kubernetes.artifacts.references import parse_uri
from plimsoll.backends.kubernetes.objects import to_yaml
from plimsoll.core.errors import SpecError, UserError
from plimsoll.spec import load_text

TEXT = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood, namespace: shop}\nspec:\n"
DIGEST = "sha256:" + "ab" * 32


def service(folder, path):
    return load_text(f"{TEXT}  model: {{path: {path}}}\n", file=str(folder / "service.yaml"))[0]


@pytest.fixture
def mood(tmp_path):
    (tmp_path / "mood.py").write_text("class Mood:\n    def predict(self, batch):\n        return batch\n")
    return tmp_path


def test_the_service_names_the_configmap_by_its_content(mood):
    packed, (configmap,) = pack_small(service(mood, "mood.py"), mood)
    name = configmap["metadata"]["name"]
    assert packed.dump()["spec"]["model"] == {
        "format": "Python",
        "uri": f"configmap://{name}",
        "digest": f"sha256:{hashlib.sha256(configmap['data']['plimsoll-model.json'].encode()).hexdigest()}",
    }
    assert configmap["immutable"] is True
    assert configmap["metadata"]["namespace"] == "shop"
    assert configmap["data"]["mood.py"] == (mood / "mood.py").read_text()
    assert parse_listing(configmap["data"]["plimsoll-model.json"]).entry == "mood.py"
    assert pack_small(packed, mood) == (packed, [])


def test_the_same_files_give_the_same_bytes_wherever_they_lie(mood, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "mood.py").write_text((mood / "mood.py").read_text())
    os.utime(other / "mood.py", (1, 1))
    (other / "mood.py").chmod(0o600)
    assert to_yaml(pack_small(service(mood, "mood.py"), mood)[1]) == to_yaml(
        pack_small(service(other, "mood.py"), other)[1]
    )
    (other / "mood.py").write_text("class Other: ...\n")
    _, (changed,) = pack_small(service(other, "mood.py"), other)
    _, (before,) = pack_small(service(mood, "mood.py"), mood)
    assert changed["metadata"]["name"] != before["metadata"]["name"]


def test_folders_become_one_archive(mood):
    (mood / "lib").mkdir()
    (mood / "lib" / "words.txt").write_text("good\n")
    packed, (configmap,) = pack_small(service(mood, "mood.py"), mood)
    assert packed.spec.model.uri == f"configmap://{configmap['metadata']['name']}/model.tar.gz"
    data = base64.b64decode(configmap["binaryData"]["model.tar.gz"])
    with tarfile.open(fileobj=__import__("io").BytesIO(data)) as tar:
        assert [(one.name, one.mode, one.mtime, one.uid) for one in tar] == [
            ("lib/words.txt", 0o644, 0, 0),
            ("mood.py", 0o644, 0, 0),
        ]
    assert gzip.decompress(data)[257:262] == b"ustar"


def test_bytes_stand_as_base64_and_survive_yaml(mood):
    odd = {
        "nul.txt": b"a\0b",
        "crlf.txt": b"a\r\nb\r\n",
        "latin.txt": b"\xe9",
        "bell.txt": b"\x07",
        "bom.txt": b"\xef\xbb\xbfx",
    }
    fine = {"space.txt": b"  a \n\n  b\t\n \n", "accents.txt": "é→😀\n".encode(), "empty.txt": b"", "no.txt": b"no"}
    for name, data in (odd | fine).items():
        (mood / name).write_bytes(data)
    _, objects = pack_small(service(mood, "mood.py"), mood)
    (read,) = yaml.safe_load_all(to_yaml(objects))
    assert set(read["binaryData"]) == set(odd)
    for name, data in odd.items():
        assert base64.b64decode(read["binaryData"][name]) == data
    for name, data in fine.items():
        assert read["data"][name].encode() == data


def test_too_large_for_a_configmap(mood):
    (mood / "w.bin").write_bytes(random.Random(1).randbytes(CONFIGMAP_MAX_BYTES))
    with pytest.raises(SpecError, match=r"service\.yaml:5 .*takes 700.1Ki, more than .* plimsoll pack --registry"):
        pack_small(service(mood, "mood.py"), mood)


def test_what_kubectl_can_apply_without_server_side(mood):
    def made(size):
        (mood / "w.bin").write_bytes(random.Random(1).randbytes(size))
        listing = listing_of(mood, ["w.bin"])
        return configmap_of("mood", "", mood, listing)[0]

    assert applies_client_side(made(180_000))
    assert not applies_client_side(made(200_000))
    assert payload_bytes(made(200_000)) > 200_000


def test_problems_name_file_and_line(mood):
    with pytest.raises(SpecError, match=r"service\.yaml:5 .*none\.py does not exist"):
        pack_small(service(mood, "none.py"), mood)


# --- archives and listings --------------------------------------------------------------------------------------------


@given(start=st.integers(0, 20_000), end=st.integers(0, 20_000))
def test_a_tar_is_the_same_from_any_offset(tmp_path_factory, start, end):
    root = tmp_path_factory.getbasetemp() / "tar"
    root.mkdir(exist_ok=True)
    files = {"a.txt": 5, "b" * 150: 700, "é/ü.bin": 4096, "empty": 0}
    for name, size in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(random.Random(name).randbytes(size))
    stream = TarStream(root, sorted(files.items()))
    whole = tar_bytes(root, sorted(files))
    assert len(whole) == stream.size
    assert b"".join(stream.chunks(start, end)) == whole[start:end]
    with tarfile.open(fileobj=__import__("io").BytesIO(whole)) as tar:
        assert {one.name: one.size for one in tar} == files


@given(st.text())
def test_paths_that_stay_inside(path):
    if is_safe_path(path):
        assert os.path.normpath(f"/x/{path}") == f"/x/{path}"


@given(st.text() | st.binary().map(lambda data: data.decode("latin1")))
def test_any_text_is_a_listing_or_a_clear_error(text):
    with contextlib.suppress(UserError):
        assert isinstance(parse_listing(text), Listing)


def test_a_listing_may_not_lead_out():
    with pytest.raises(UserError, match="leads out"):
        parse_listing('{"version":1,"entry":"","files":[{"path":"../x","sha256":"0","size":1}]}')


# --- references and mounts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "scheme", "host", "path", "revision"),
    [
        ("configmap://mood-model-1", "configmap", "mood-model-1", "", ""),
        ("oci://r.example:5000/team/mood:7", "oci", "r.example:5000", "team/mood", "7"),
        ("oci://r.example/team/mood", "oci", "r.example", "team/mood", "latest"),
        (f"oci://r.example/mood:7@{DIGEST}", "oci", "r.example", "mood", DIGEST),
        ("hf://team/mood@v1/onnx/model.onnx", "hf", "team/mood", "onnx/model.onnx", "v1"),
        ("s3://models/mood/7/", "s3", "models", "mood/7/", ""),
        ("https://h.example/a?b=c", "https", "h.example", "a?b=c", ""),
        ("file:///models/a", "file", "", "/models/a", ""),
    ],
)
def test_uris(uri, scheme, host, path, revision):
    found = parse_uri(uri)
    assert (found.scheme, found.host, found.path) == (scheme, host, path)
    assert found.revision == revision


@pytest.mark.parametrize(
    "uri", ["mood", "ftp://a/b", "https://user:pass@h/x", "oci://r.example", "hf://team", "pvc://a/../b"]
)
def test_what_is_no_uri(uri):
    with pytest.raises(UserError):
        parse_uri(uri)


def test_a_flat_configmap_is_mounted_and_nothing_fetched():
    found = model_mount("configmap://mood-model-1", DIGEST)
    assert found.fetch is None
    assert found.volumes[0]["configMap"]["name"] == "mood-model-1"


def test_only_the_fetch_step_sees_the_secret():
    found = model_mount("s3://models/mood", DIGEST, secret="keys", cache_path="/var/lib/plimsoll/models")
    assert "/plimsoll/credentials" in str(found.fetch)
    assert "/plimsoll/credentials" not in str(found.mounts)
    assert found.mounts == ({"name": "model", "mountPath": "/model", "readOnly": True},)
    assert {"name": "model-cache", "mountPath": "/plimsoll/cache", "readOnly": True} in found.fetch["volumeMounts"]


def test_a_volume_claim_is_mounted_and_only_checked():
    found = model_mount("pvc://models/mood/7", DIGEST)
    assert found.model_path == "/model/mood/7"
    assert found.fetch["command"][-4:] == ["file:///model/mood/7", "--digest", DIGEST, "--check"]
    assert model_mount("pvc://models/mood/7").fetch is None
