"""Which saved files belong to which service."""

import asyncio
from pathlib import Path

import pytest

from plimsoll.app.saved import SavedFiles
from plimsoll.app.watch import cause, watched
from plimsoll.spec import load_text


@pytest.fixture
def seen(tmp_path):
    def make(path):
        file = tmp_path / "service.yaml"
        head = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: m}\n"
        text = f"{head}spec: {{model: {{path: {path}}}}}\n"
        file.write_text(text)
        return watched(file, load_text(text, file=str(file)))

    return make


def test_a_python_model_is_its_file_and_the_code_beside_it(tmp_path, seen):
    for name in ("model.py", "helper.py", "test_model.py", "notes.txt"):
        (tmp_path / name).write_text("")
    entry = seen("./model.py")
    assert entry.touched({tmp_path / "model.py"}) == [tmp_path / "model.py"]
    assert entry.touched({tmp_path / "helper.py", tmp_path / "service.yaml"})
    assert entry.touched({tmp_path / "new.py"}), "a new module may be imported"
    assert not entry.touched({tmp_path / "test_model.py", tmp_path / "notes.txt"})
    assert entry.folders == {tmp_path}


def test_a_model_file_is_itself_alone(tmp_path, seen):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/m.onnx").write_bytes(b"x")
    entry = seen("./models/m.onnx")
    assert entry.touched({tmp_path / "models/m.onnx"})
    assert not entry.touched({tmp_path / "models/other.onnx", tmp_path / "train.py"})
    assert entry.folders == {tmp_path, tmp_path / "models"}


def test_a_missing_model_is_seen_when_it_appears(tmp_path, seen):
    assert seen("./later.py").touched({tmp_path / "later.py"})


def test_a_folder_is_everything_in_it(tmp_path, seen):
    (tmp_path / "m/sub").mkdir(parents=True)
    (tmp_path / "m/model.py").write_text("")
    (tmp_path / "m/sub/words.txt").write_text("")
    entry = seen("./m")
    assert entry.touched({tmp_path / "m/sub/words.txt"})
    assert tmp_path / "m/sub" in entry.folders


def test_a_watch_that_ends_is_told(monkeypatch):
    told = []

    async def limit(self):
        raise OSError("OS file watch limit reached")

    async def run():
        saved = SavedFiles([], None, note=None, trouble=told.append, stop=asyncio.Event())
        await saved.watch([], [])

    monkeypatch.setattr(SavedFiles, "_watch", limit)
    asyncio.run(run())
    assert told == ["saved files are not noticed any more (OS file watch limit reached); use: plimsoll apply FILE"]


def test_causes_read_well():
    assert cause([Path("/a/model.py")]) == "model.py changed"
    assert cause([Path("/a/model.py"), Path("/a/b.py")]) == "2 files changed"
