"""What a path tells, and the plain data that goes to another process."""

import msgspec
import pytest

from plimsoll.models import ModelSource, guess_format, preload_modules
from plimsoll.models.source import is_reference


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a/model.py", "Python"),
        ("pack.inner:Model", "Python"),
        ("m.onnx", "ONNX"),
        ("M.ONNX", "ONNX"),
        ("m.skops", "SKLearn"),
        ("m.pkl", "SKLearn"),
        ("m.joblib", "SKLearn"),
        ("m.bin", None),
        ("model", None),
    ],
)
def test_formats_by_path(path, wanted):
    assert guess_format(path) == wanted


def test_a_folder_is_python(tmp_path):
    assert guess_format(str(tmp_path)) == "Python"


@pytest.mark.parametrize("path", ["a.b:C", "a:C"])
def test_references(path):
    assert is_reference(path)


@pytest.mark.parametrize("path", ["a.py", "/a:b/c.py", "a:", ":A", "a b:C", "a..b:C", "model.py:1"])
def test_no_references(path):
    assert not is_reference(path)


def test_a_source_survives_json():
    source = ModelSource("m", "a.py", unsafe_formats=("Pickle",), requirements=("numpy",), threads=2, origin="/x/b.py")
    assert msgspec.json.decode(msgspec.json.encode(source), type=ModelSource) == source
    assert source.shown == "b.py"


@pytest.mark.parametrize("path", ["m.py", "m.onnx", "m.skops"])
def test_what_to_preload_can_be_imported(path):
    import importlib

    for name in preload_modules(ModelSource("m", path)):
        importlib.import_module(name)
