"""What belongs to a model, what is left out, what is refused."""

import pytest

from plimsoll.backends.kubernetes.artifacts.ignoring import Ignored
from plimsoll.backends.kubernetes.artifacts.layout import layout_of
from plimsoll.core.errors import UserError

KEY = "-----BEGIN PRIVATE KEY-----\n" + "A" * 64 + "\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def mood(tmp_path):
    for name, text in {
        "mood.py": "class Mood: ...",
        "words.txt": "good",
        "lib/help.py": "",
        "lib/__pycache__/help.pyc": "",
        "tests/test_mood.py": "",
        "test_mood.py": "",
        "service.yaml": "apiVersion: plimsoll.dev/v1alpha1",
        "labels.yaml": "- good\n- bad",
        "README.md": "",
        "request.json": "{}",
        ".env": "TOKEN=x",
        ".git/config": "",
        "secrets/redis/url": "redis://",
        "venv/pyvenv.cfg": "",
        "venv/lib/x.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_python_file_brings_what_it_may_read(mood):
    found = layout_of("mood.py", mood)
    assert found.entry == "mood.py"
    assert found.files == ("labels.yaml", "lib/help.py", "mood.py", "words.txt")
    assert {".env", ".git/", "secrets/", "service.yaml", "venv/", "tests/", "README.md"} <= set(found.left_out)


def test_a_folder_and_a_single_file(mood):
    assert layout_of("lib", mood).files == ("help.py",)
    found = layout_of("words.txt", mood)
    assert (found.entry, found.files) == ("words.txt", ("words.txt",))


def test_an_ignore_file(mood):
    (mood / ".plimsollignore").write_text("# data that only training reads\n*.txt\nlib/\n!README.md\n")
    assert layout_of("mood.py", mood).files == ("README.md", "labels.yaml", "mood.py")


def test_the_model_itself_is_never_left_out(mood):
    (mood / ".plimsollignore").write_text("*.py\n")
    assert "mood.py" in layout_of("mood.py", mood).files


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("tls.pem", KEY, "private key"),
        ("deep/notes.txt", f"see below\n{KEY}", "private key"),
        ("prod.env", "A=1", "a name as secrets have"),
        ("id_rsa", "", "a name as secrets have"),
        ("service-account.json", "{}", "a name as secrets have"),
        ("gcp.json", '{"private_key": "-----BEGIN PRIVATE KEY-----"}', "private key"),
    ],
)
def test_secrets_are_refused(mood, name, text, why):
    path = mood / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(UserError, match=f"{name} (holds|has) .*{why.split()[-1]}.*--allow"):
        layout_of("mood.py", mood)
    assert name in layout_of("mood.py", mood, allow=(name,)).files
    (mood / ".plimsollignore").write_text(f"{name}\n")
    assert name not in layout_of("mood.py", mood).files


def test_what_only_speaks_of_keys_is_none(mood):
    (mood / "doc.txt").write_text("a file that begins with -----BEGIN PRIVATE KEY----- is one")
    (mood / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    assert {"doc.txt", "ca.pem"} <= set(layout_of("mood.py", mood).files)


def test_hidden_files_can_be_asked_for(mood):
    assert ".env" in layout_of("mood.py", mood, allow=(".env",)).files


def test_a_class_to_import_needs_an_image(mood):
    with pytest.raises(UserError, match=r"needs an image .* plimsoll build"):
        layout_of("package.module:Mood", mood)


def test_what_is_not_there(mood):
    with pytest.raises(UserError, match="does not exist"):
        layout_of("none.py", mood)
    (mood / "empty").mkdir()
    with pytest.raises(UserError, match="without files"):
        layout_of("empty", mood)


def test_too_many_files(tmp_path):
    (tmp_path / "model.py").write_text("")
    for number in range(5001):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(UserError, match=r"\.plimsollignore"):
        layout_of("model.py", tmp_path)


def test_links_are_followed_to_files_alone(mood):
    (mood / "again").symlink_to(mood)
    (mood / "linked.txt").symlink_to(mood / "words.txt")
    found = layout_of("mood.py", mood)
    assert "linked.txt" in found.files
    assert "again/" in found.left_out


def test_patterns():
    ignored = Ignored(["/top.txt", "data/", "a/*.csv", "*.log", "!keep.log"])
    assert ignored("top.txt", folder=False)
    assert not ignored("x/top.txt", folder=False)
    assert ignored("x/data", folder=True)
    assert not ignored("data", folder=False)
    assert ignored("a/b.csv", folder=False)
    assert not ignored("b.csv", folder=False)
    assert ignored("x.log", folder=False)
    assert not ignored("x/keep.log", folder=False)
