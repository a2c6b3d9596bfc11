"""Secrets as files: read when they change, never told; keys made once."""

import hashlib
import os
import stat

import pytest

from plimsoll.app.secrets import LONGEST_BYTES, SecretFiles
from plimsoll.app.tenant_key import make_key
from plimsoll.core.errors import HostError, UserError
from plimsoll.spec import parse_key_hashes


@pytest.fixture
def secret(tmp_path):
    """`secret(text)` writes secrets/cache/url."""

    def write(text, mode=0o600):
        path = tmp_path / "secrets/cache/url"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def test_a_secret_is_a_file_beside_the_one_that_refers_to_it(tmp_path, secret):
    secret("redis://x\n")
    assert SecretFiles().read(tmp_path, "cache", "url") == "redis://x"
    elsewhere = SecretFiles(tmp_path / "secrets")
    assert elsewhere.read(tmp_path / "any", "cache", "url") == "redis://x"


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path, secret, monkeypatch):
    path, files, reads = secret("one"), SecretFiles(), []
    fresh = SecretFiles._fresh
    monkeypatch.setattr(SecretFiles, "_fresh", lambda self, *args: reads.append(1) or fresh(self, *args))
    assert [files.read(tmp_path, "cache", "url") for _ in range(3)] == ["one"] * 3
    assert len(reads) == 1
    path.write_text("two")
    os.utime(path, ns=(1, 1))  # two writes may share a tick of the file system's clock
    assert files.read(tmp_path, "cache", "url") == "two"
    aside = path.with_name("new")  # as editors and Kubernetes do it
    aside.write_text("six")
    os.utime(aside, ns=(1, 1))
    aside.replace(path)
    assert files.read(tmp_path, "cache", "url") == "six"
    path.unlink()
    with pytest.raises(LookupError, match="there is no file"):
        files.read(tmp_path, "cache", "url")


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "is empty"), (b"\xff\xfehush", "is not UTF-8 text"), ("h" * (LONGEST_BYTES + 1), "is over 64 KiB")],
)
def test_what_is_no_value_is_told_without_its_text(tmp_path, secret, content, told):
    secret(content)
    with pytest.raises(LookupError, match=told) as caught:
        SecretFiles().read(tmp_path, "cache", "url")
    assert "secrets/cache/url" in str(caught.value)
    assert "hhh" not in str(caught.value)


def test_a_folder_is_no_secret_and_a_missing_key_says_how_to_make_one(tmp_path):
    (tmp_path / "secrets/cache/url").mkdir(parents=True)
    with pytest.raises(LookupError, match="is no file"):
        SecretFiles().read(tmp_path, "cache", "url")
    with pytest.raises(LookupError, match="plimsoll tenant key shop --key-name ci"):
        SecretFiles().read(tmp_path, "shop-keys", "ci")


def test_one_that_others_can_read_is_warned_of_once(tmp_path, secret):
    told = []
    path = secret("one", mode=0o644)
    files = SecretFiles(on_warning=told.append)
    files.read(tmp_path, "cache", "url")
    path.write_text("three")
    assert files.read(tmp_path, "cache", "url") == "three"
    assert len(told) == 1
    assert told[0].endswith("secrets/cache/url: other users of this machine can read it; chmod 600 it")
    assert "three" not in repr(files)


def test_a_made_key_is_kept_as_its_hash_alone(tmp_path):
    made = make_key("shop", "ci", tmp_path / "secrets")
    assert made.file == tmp_path / "secrets/shop-keys/ci"
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.file.parent.stat().st_mode) == 0o700
    assert made.key.startswith("plm_")
    assert made.key not in made.file.read_text()
    assert made.key not in repr(made)
    digest = hashlib.sha256(made.key.encode()).hexdigest()
    assert parse_key_hashes(SecretFiles().read(tmp_path, "shop-keys", "ci")) == (digest,)


def test_a_second_key_stands_beside_the_first_until_its_line_goes(tmp_path):
    first, second = make_key("shop", "ci", tmp_path), make_key("shop", "ci", tmp_path)
    assert (first.digests, second.digests) == (1, 2)
    wanted = [hashlib.sha256(made.key.encode()).hexdigest() for made in (first, second)]
    assert list(parse_key_hashes(second.file.read_text())) == wanted


@pytest.mark.parametrize("name", ["../../etc", "Shop", "", "a" * 64, "a/b", "shop\n"])
def test_names_that_are_none_write_nothing(tmp_path, name):
    with pytest.raises(UserError, match="expected lower-case letters"):
        make_key(name, "ci", tmp_path / "secrets")
    with pytest.raises(UserError, match="--key-name"):
        make_key("shop", name, tmp_path / "secrets")
    assert not list(tmp_path.iterdir())


def test_a_file_that_holds_something_else_is_left_alone(tmp_path):
    path = tmp_path / "shop-keys/ci"
    path.parent.mkdir()
    path.write_text("plm_hush")
    with pytest.raises(UserError, match="line 1 is no hash") as caught:
        make_key("shop", "ci", tmp_path)
    assert "hush" not in str(caught.value)
    assert path.read_text() == "plm_hush"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "secrets").write_text("a file")
    with pytest.raises(HostError, match="cannot be written"):
        make_key("shop", "ci", tmp_path / "secrets")
