"""How an author's class is found, and what the author is told when it can't be."""

import sys
from dataclasses import replace

import pytest

from plimsoll.core.errors import ModelLoadError
from plimsoll.core.request import Items
from plimsoll.models import ModelSource, open_model

ECHO = "class Echo:\n    def predict(self, batch):\n        return batch\n"


@pytest.fixture
def load(tmp_path):
    """`load(code)` writes model.py and loads it."""
    loaded = []

    def run(code, **options):
        path = tmp_path / "model.py"
        path.write_text(code)
        model = open_model(ModelSource("m", str(path), **options))
        loaded.append(model)
        model.load()
        return model

    yield run
    for model in loaded:
        model.close()


def refused(load, code, **options):
    with pytest.raises(ModelLoadError) as caught:
        load(code, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def answer(model, value):
    [result] = model.predict([Items([value])])
    return result.values[0]


def test_the_only_class_with_predict_is_taken(load):
    model = load("class Helper:\n    pass\n\nclass _Base:\n    def predict(self, b): ...\n\n" + ECHO)
    assert answer(model, 7) == 7


def test_imported_classes_do_not_count(load):
    assert answer(load("from plimsoll.models.python import PythonModel\n" + ECHO), 1) == 1


def test_several_classes_ask_for_a_name(load):
    code = ECHO + ECHO.replace("Echo", "Other")
    error = refused(load, code)
    assert str(error) == "model.py defines 2 classes with predict: Echo, Other; name one in spec.model.className"
    assert answer(load(code, class_name="Other"), 3) == 3


def test_a_mistyped_class_name_gets_the_nearest(load):
    assert str(refused(load, ECHO, class_name="Ecko")) == "model.py defines no class Ecko; did you mean Echo?"


def test_no_class(load):
    assert str(refused(load, "x = 1")) == "model.py defines no class with a method predict(self, batch)"
    assert str(refused(load, "class A:\n    pass")).endswith("predict(self, batch); it defines A")


def test_named_class_without_predict(load):
    error = refused(load, "class A:\n    pass", class_name="A")
    assert str(error) == "model.py class A has no method predict(self, batch)"


@pytest.mark.parametrize("signature", ["self", "self, batch, more", "self, *, batch"])
def test_predict_with_the_wrong_signature(load, signature):
    error = refused(load, f"class A:\n\n    def predict({signature}):\n        return []")
    assert (error.file, error.line) == ("model.py", 3)
    assert "A.predict must take one argument, the batch: def predict(self, batch)" in str(error)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_predict_that_yields(load, kind):
    error = refused(load, f"class A:\n    {kind} predict(self, batch):\n        yield 1")
    assert str(error) == "model.py:2 A.predict yields; it must return a list"


def test_a_syntax_error_has_its_line(load):
    error = refused(load, "x = 1\n\nclass Echo\n    pass\n")
    assert str(error) == "model.py:3 SyntaxError: expected ':'"


def test_a_syntax_error_in_a_module_beside_it(load, tmp_path):
    (tmp_path / "words_a.py").write_text("ok = 1\nbad = = 2\n")
    assert str(refused(load, "import words_a\n" + ECHO)) == "words_a.py:2 SyntaxError: invalid syntax"


def test_a_missing_package_says_what_to_do(load):
    error = refused(load, "import no_such_package_of_ours\n" + ECHO)
    assert str(error).startswith("model.py:1 ModuleNotFoundError: No module named 'no_such_package_of_ours'; a package")


def test_load_that_raises_names_the_authors_innermost_line(load):
    code = (
        "import json\n\nclass A:\n    def load(self):\n        self.read()\n\n"
        "    def read(self):\n        json.loads('{')\n\n    def predict(self, batch):\n        return batch\n"
    )
    error = refused(load, code)
    assert (error.file, error.line) == ("model.py", 8)
    assert error.reason.startswith("JSONDecodeError: Expecting property name")
    assert "json.loads('{')" in error.detail
    assert "in load" in error.detail
    assert "decoder.py" not in error.detail, "frames of others are left out"


def test_exit_in_load_and_at_import(load):
    assert "SystemExit" in str(refused(load, "import sys\nsys.exit(1)"))
    body = "class A:\n    def load(self):\n        raise SystemExit('no')\n    def predict(self, b):\n        return b"
    assert str(refused(load, body)) == "model.py:3 SystemExit: no"


def test_a_class_that_wants_arguments(load):
    error = refused(
        load, "class A:\n    def __init__(self, path):\n        pass\n    def predict(self, b):\n        return b"
    )
    assert "TypeError" in str(error)
    assert "'path'" in str(error)


def test_its_own_folder_is_importable_and_file_is_right(load, tmp_path):
    (tmp_path / "helper_b.py").write_text("def twice(x):\n    return 2 * x\n")
    code = (
        "from pathlib import Path\nfrom helper_b import twice\n\nclass A:\n    def predict(self, batch):\n"
        "        return [(twice(x), Path(__file__).name, str(Path(__file__).parent)) for x in batch]\n"
    )
    assert answer(load(code), 4) == (8, "model.py", str(tmp_path))


def test_a_folder_with_model_py(tmp_path):
    (tmp_path / "part.py").write_text("VALUE = 5\n")
    (tmp_path / "model.py").write_text(
        "from part import VALUE\nclass A:\n    def predict(self, b):\n        return [VALUE for _ in b]"
    )
    model = open_model(ModelSource("m", str(tmp_path)))
    model.load()
    assert answer(model, None) == 5
    model.close()
    (tmp_path / "model.py").unlink()
    with pytest.raises(ModelLoadError, match=r"the folder has no model\.py"):
        open_model(ModelSource("m", str(tmp_path))).load()


def test_a_copy_speaks_of_the_original(tmp_path):
    """A revision runs its own copy; the author's data files lie beside the original."""
    home, copy = tmp_path / "home", tmp_path / "revisions" / "1"
    home.mkdir()
    copy.mkdir(parents=True)
    (home / "factor_c.py").write_text("FACTOR = 3\n")
    (home / "data.txt").write_text("data")
    (copy / "mood.py").write_text(
        "from pathlib import Path\nfrom factor_c import FACTOR\n\nclass A:\n"
        "    def load(self):\n        self.data = (Path(__file__).parent / 'data.txt').read_text()\n"
        "    def predict(self, batch):\n        return [(self.data, FACTOR // x) for x in batch]\n"
    )
    (home / "mood.py").write_text("# changed since\n" * 3)
    source = ModelSource("m", str(copy / "mood.py"), origin=str(home / "mood.py"), directory=str(home))
    model = open_model(source)
    model.load()
    assert answer(model, 1) == ("data", 3)
    with pytest.raises(Exception, match=r"ZeroDivisionError: .* at mood\.py:8") as caught:
        answer(model, 0)
    assert "FACTOR // x" in model._loader.author.trace(caught.value.__cause__), (
        "the lines that run, not those saved since"
    )
    model.close()


def test_a_reference_to_a_class(tmp_path):
    package = tmp_path / "pack_d"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(ECHO + "\nclass Broken:\n    def predict(self, b):\n        return 1 / 0\n")
    source = ModelSource("m", "pack_d.inner:Echo", directory=str(tmp_path))
    model = open_model(source)
    model.load()
    assert answer(model, "a") == "a"
    broken = open_model(replace(source, path="pack_d.inner:Broken"))
    broken.load()
    with pytest.raises(Exception, match=r"ZeroDivisionError: division by zero at pack_d/inner\.py:7"):
        answer(broken, 1)
    with pytest.raises(ModelLoadError, match="defines no class Eco; did you mean Echo"):
        open_model(replace(source, path="pack_d.inner:Eco")).load()
    with pytest.raises(ModelLoadError, match=r"No module named 'pack_d\.gone'"):
        open_model(replace(source, path="pack_d.gone:Echo")).load()
    broken.close()
    model.close()


def test_close_takes_the_folder_off_the_search_path_again(load, tmp_path):
    model = load(ECHO)
    assert str(tmp_path) in sys.path
    model.close()
    assert str(tmp_path) not in sys.path


def test_dataclasses_and_future_annotations_work(load):
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n@dataclass\nclass P:\n    x: int\n\n"
        "class A:\n    def predict(self, batch: list[P]) -> list[int]:\n        return [P(x).x for x in batch]\n"
    )
    model = load(code)
    assert answer(model, 2) == 2
    assert model.info.inputs == ()


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        ("5", "examples must be a list"),
        ("[1]", "example 1 must be an object with"),
        ("[{'input': 1}, {'output': 2}]", "example 2 must be an object with"),
    ],
)
def test_examples_of_the_wrong_form(load, examples, reason):
    assert reason in str(refused(load, f"{ECHO}    examples = {examples}\n"))


def test_an_unknown_format():
    with pytest.raises(
        ModelLoadError, match=r"weights\.bin its name does not tell the format; set spec\.model\.format"
    ):
        open_model(ModelSource("m", "/x/weights.bin"))
    with pytest.raises(ModelLoadError, match="unknown format 'Torch'"):
        open_model(ModelSource("m", "/x/weights.pt", format="Torch"))
