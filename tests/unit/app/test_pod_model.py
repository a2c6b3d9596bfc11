"""Which of what lies in a pod's model folder is the model."""

import pytest

from plimsoll.app.pod_model import find_model
from plimsoll.backends.kubernetes.artifacts.listing import LISTING_FILE, DigestMismatch, listing_of
from plimsoll.core.errors import UserError
from plimsoll.spec import ModelService

DIGEST = "sha256:" + "4b" * 32


def service(**model):
    return ModelService.parse(
        {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": "mood"},
            "spec": {"model": model},
        }
    )


def artifact(uri, **model):
    return service(uri=uri, digest=DIGEST, **model)


@pytest.mark.parametrize(
    ("model", "files", "found"),
    [
        (service(path="./models/mood.py"), ["mood.py", "helper.py"], "mood.py"),
        (service(path="./mood"), ["mood/model.py"], "mood"),
        (service(path="./mood"), ["model.py", "words.txt"], ""),  # the folder's contents
        (artifact("s3://shop/fraud.onnx"), ["fraud.onnx", "notes.onnx"], "fraud.onnx"),
        (artifact("oci://registry.example.com/fraud:7", format="ONNX"), ["m.onnx", "README.md"], "m.onnx"),
        (artifact("oci://registry.example.com/mood:7", format="Python"), ["mood.py"], "mood.py"),
        (artifact("configmap://mood-model", format="Python"), ["..data/mood.py", "mood.py"], "mood.py"),
        (artifact("hf://owner/mood@main", format="SKLearn"), ["mood.skops", "config.json"], "mood.skops"),
    ],
)
def test_found(tmp_path, model, files, found):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_model(model, str(tmp_path)) == str(tmp_path / found).rstrip("/")


def test_the_path_itself_and_a_class_of_the_image(tmp_path):
    (tmp_path / "other.py").touch()
    assert find_model(service(path="./mood.py"), str(tmp_path / "other.py")) == str(tmp_path / "other.py")
    assert find_model(service(path="shop.models:Mood"), str(tmp_path)) == "shop.models:Mood"


def test_what_cannot_be_told_is_said(tmp_path):
    model = artifact("oci://registry.example.com/fraud:7", format="ONNX")
    with pytest.raises(UserError, match="holds nothing: of these, none can be it"):
        find_model(model, str(tmp_path))
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"holds a\.onnx, b\.onnx: of these, 2 could be it .*PLIMSOLL_MODEL_PATH"):
        find_model(model, str(tmp_path))
    with pytest.raises(UserError, match="can't be read: No such file or directory; mount the model there"):
        find_model(model, str(tmp_path / "none"))


def test_a_packed_models_listing_says_which_file_it_is(tmp_path):
    for name in ("model.py", "small.py"):
        (tmp_path / name).write_text("class Model:\n    def predict(self, batch):\n        return batch\n")
    listing = listing_of(tmp_path, ["model.py", "small.py"], "small.py")
    packed = service(format="Python", uri="configmap://small-model", digest=listing.digest)
    assert find_model(packed, str(tmp_path)) == str(tmp_path), "without one, a folder with model.py"
    (tmp_path / LISTING_FILE).write_text(listing.to_json())
    assert find_model(packed, str(tmp_path)) == str(tmp_path / "small.py")
    (tmp_path / "small.py").write_text("class Other: ...\n")
    with pytest.raises(DigestMismatch, match=r"small\.py has SHA-256"):
        find_model(packed, str(tmp_path))
