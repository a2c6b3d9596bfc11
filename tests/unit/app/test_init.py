"""`plimsoll init`: what it writes works at once."""

import subprocess
import sys

import pytest
import yaml

from plimsoll.app.init import KINDS, init_service, next_step, render
from plimsoll.core.errors import UserError


@pytest.mark.parametrize("kind", KINDS)
def test_four_files_without_a_placeholder_left(kind, tmp_path):
    made = init_service(kind, "my-mood", tmp_path)
    model = "model.py" if kind == "python" else "train.py"
    assert sorted(path.name for path in made) == sorted([model, "request.json", "service.yaml", "test_model.py"])
    assert all(path.parent == tmp_path / "my-mood" for path in made)
    assert not any("$" in path.read_text() for path in made)
    service = yaml.safe_load((tmp_path / "my-mood" / "service.yaml").read_text())
    assert service["metadata"]["name"] == "my-mood"
    assert service["spec"]["routes"] == [{"path": "/my-mood"}]


@pytest.mark.parametrize("kind", KINDS)
def test_its_test_passes(kind, tmp_path):
    folder = tmp_path / "mood"
    render(kind, "mood", folder)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_its_service_file_is_valid(kind, tmp_path):
    from plimsoll.spec import load_file

    render(kind, "mood", tmp_path)
    [service] = load_file(tmp_path / "service.yaml")
    assert service.name == "mood"


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "request.json").write_text("mine")
    with pytest.raises(UserError, match=r"request\.json is there already"):
        render("python", "mood", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["request.json"]


@pytest.mark.parametrize("name", ["", "Mood", "my_mood", "-a", "a-", "1a", "a" * 64, "../a", "a\n"])
def test_names_that_kubernetes_would_refuse(name, tmp_path):
    with pytest.raises(UserError, match="can't be a name"):
        render("python", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind(tmp_path):
    with pytest.raises(UserError, match="expected one of python, onnx, sklearn"):
        render("torch", "mood", tmp_path)


def test_what_to_type_next():
    assert next_step("python", "mood") == "cd mood && plimsoll up"
    assert next_step("onnx", "mood") == "cd mood && python train.py && plimsoll up"
