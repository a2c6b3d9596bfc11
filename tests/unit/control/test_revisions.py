import os
from pathlib import Path

import pytest

from plimsoll.control.revisions import RevisionStore
from plimsoll.core.errors import SpecError
from plimsoll.spec import load_text

SERVICE = """\
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood}
spec:
  model:
    path: PATH
"""


def service(folder: Path, path="./model.py", more=""):
    (found,) = load_text(SERVICE.replace("PATH", path) + more, file=str(folder / "service.yaml"))
    return found


@pytest.fixture
def mood(tmp_path):
    folder = tmp_path / "mood"
    folder.mkdir()
    (folder / "model.py").write_text("class Mood: ...\n")
    (folder / "words.py").write_text("GOOD = 1\n")
    (folder / "weights.bin").write_bytes(b"\0" * 100)
    (folder / "test_model.py").write_text("def test(): ...\n")
    return folder


@pytest.fixture
def store(tmp_path):
    return RevisionStore(tmp_path / "run")


def test_a_copy_stays_what_it_was_while_the_user_edits(mood, store):
    first = store.make(service(mood))
    (mood / "model.py").write_text("class Mood: broken(\n")
    (mood / "words.py").write_text("GOOD = 2\n")
    copied = Path(first.model_path)
    assert copied.read_text() == "class Mood: ...\n"
    assert (copied.parent / "words.py").read_text() == "GOOD = 1\n"
    assert (copied.parent / "weights.bin").is_symlink()
    assert not (copied.parent / "test_model.py").exists()
    assert (first.directory, first.origin) == (str(mood), str(mood / "model.py"))


def test_numbers_rise_and_earlier_content_is_the_earlier_revision(mood, store):
    first = store.make(service(mood))
    assert store.make(service(mood)) == first
    (mood / "words.py").write_text("GOOD = 2\n")  # the model may import it
    second = store.make(service(mood))
    (mood / "words.py").write_text("GOOD = 1\n")
    assert [first.number, second.number, store.make(service(mood)).number] == [1, 2, 1]
    assert first.id != second.id
    assert store.make(service(mood)).id == first.id


@pytest.mark.parametrize(
    "name", ["test_model.py", "notes.txt", ".hidden.py", "__pycache__/model.cpython-311.pyc", "tests/helper.py"]
)
def test_what_the_model_does_not_run_makes_no_revision(mood, store, name):
    first = store.make(service(mood))
    (mood / name).parent.mkdir(exist_ok=True)
    (mood / name).write_text("changed")
    assert store.make(service(mood)).id == first.id


@pytest.mark.parametrize(
    ("more", "new"),
    [
        ("  runtime: {isolation: Process}\n", True),
        ("  resources: {requests: {cpu: '2'}}\n", True),
        ("  batching: {maxSize: 4}\n", True),
        ("  timeout: 3s\n", True),
        ("  budget: {latency: {p99: 100ms}}\n", True),
        ("  budget: {latency: {p50: 100ms}, errorRate: 1%}\n", False),
        ("  routes: [{path: /mood}]\n", False),
        ("  scaling: {minReplicas: 3, hold: 5s}\n", False),
        ("  replicas: 2\n", False),
        ("  retry: Never\n", False),
    ],
)
def test_only_what_reaches_the_replica_makes_a_revision(mood, store, more, new):
    first = store.make(service(mood))
    assert (store.make(service(mood, more=more)).id != first.id) is new


def test_a_package_beside_the_model_is_copied_and_counts(mood, store):
    (mood / "lib" / "deep").mkdir(parents=True)
    (mood / "lib" / "__init__.py").write_text("")
    (mood / "lib" / "deep" / "tool.py").write_text("X = 1\n")
    (mood / "data").mkdir()
    (mood / "venv").mkdir()
    (mood / "venv" / "pyvenv.cfg").write_text("")
    (mood / "venv" / "site.py").write_text("")
    first = store.make(service(mood))
    copied = Path(first.model_path).parent
    assert (copied / "lib" / "deep" / "tool.py").read_text() == "X = 1\n"
    assert (copied / "data").is_symlink()
    assert not (copied / "venv").exists()
    (mood / "lib" / "deep" / "tool.py").write_text("X = 2\n")
    assert store.make(service(mood)).id != first.id


def test_a_folder_is_copied_whole_and_a_model_file_alone(mood, store, tmp_path):
    folder = store.make(service(tmp_path, "./mood"))
    assert sorted(os.listdir(folder.model_path)) == ["model.py", "test_model.py", "weights.bin", "words.py"]
    (mood / "net.onnx").write_bytes(b"onnx")
    single = store.make(service(mood, "./net.onnx"))
    assert os.listdir(Path(single.model_path).parent) == ["net.onnx"]
    (mood / "net.onnx").write_bytes(b"onnx2")
    assert store.make(service(mood, "./net.onnx")).number == single.number + 1


def test_a_class_to_import_has_no_copy_but_its_source_counts(mood, store):
    first = store.make(service(mood, "words:Mood"))
    assert (first.model_path, first.origin) == ("words:Mood", "words:Mood")
    (mood / "words.py").write_text("GOOD = 3\n")
    assert store.make(service(mood, "words:Mood")).number == 2
    assert store.make(service(mood, "nowhere:Mood")).number == 3


@pytest.mark.parametrize(
    ("path", "reason"), [("./missing.py", "does not exist"), ("./empty", "is an empty folder"), ("./p", "neither")]
)
def test_a_missing_model_is_told_at_its_line(mood, store, path, reason):
    (mood / "empty").mkdir()
    os.mkfifo(mood / "p")
    with pytest.raises(SpecError, match=reason) as raised:
        store.make(service(mood, path))
    assert (raised.value.line, raised.value.key) == (6, "spec.model.path")
    assert str(raised.value).startswith(f"{mood}/service.yaml:6  spec.model.path: {path} ")


def test_old_copies_go_but_those_in_use_and_the_last_three(mood, store, tmp_path):
    made = []
    for number in range(6):
        (mood / "words.py").write_text(f"GOOD = {number}\n")
        made.append(store.make(service(mood)))
    store.prune("mood", {made[0].id, made[5].id})
    left = {path.name for path in (tmp_path / "run" / "revisions").iterdir()}
    assert left == {made[n].id for n in (0, 2, 3, 4, 5)}
    (mood / "words.py").write_text("GOOD = 1\n")
    again = store.make(service(mood))  # its copy is made again
    assert again.number == 2
    assert Path(again.model_path).exists()
    store.forget("mood")
    assert list((tmp_path / "run" / "revisions").iterdir()) == []


def test_a_save_between_digest_and_copy_is_told_by_what_was_copied(mood, store, monkeypatch):
    import plimsoll.control.revisions as module

    real = module.copy

    def save_then_copy(found, target):
        (mood / "words.py").write_text("GOOD = 'late'\n")
        return real(found, target)

    monkeypatch.setattr(module, "copy", save_then_copy)
    made = store.make(service(mood))
    monkeypatch.undo()
    assert store.make(service(mood)).id == made.id
