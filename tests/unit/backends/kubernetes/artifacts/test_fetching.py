"""Models from web servers, archives, folders and ConfigMaps; what breaks on the way."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import threading

import pytest
from tests.support.artifact_servers import Fault, WebFiles
from tests.unit.backends.kubernetes.artifacts.fetching_kit import DATA, DIGEST, Naps, fetcher, files_in

from plimsoll.backends.kubernetes.artifacts.archive import UnsafeArchive
from plimsoll.backends.kubernetes.artifacts.fetching import fetch as fetch_module
from plimsoll.backends.kubernetes.artifacts.fetching import sources
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials, read_credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import PARTIAL, Fetcher, check_model, fetch_model
from plimsoll.backends.kubernetes.artifacts.fetching.space import NoRoom
from plimsoll.backends.kubernetes.artifacts.listing import DigestMismatch, listing_of, model_path, verify
from plimsoll.backends.kubernetes.artifacts.packing import pack_small
from plimsoll.backends.kubernetes.artifacts.web import Refused, Unreachable, Web
from plimsoll.core.errors import HostError, UserError
from plimsoll.spec import load_text

SERVICE = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\n"


def tar_of(members, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def plain(name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


@pytest.fixture
def web():
    with WebFiles({"/models/digits.onnx": DATA}) as found:
        yield found


# --- http -------------------------------------------------------------------------------------------------------------


def test_a_file(web, tmp_path):
    got = fetch_model(web.url("/models/digits.onnx"), DIGEST, tmp_path, fetcher())
    assert (got.digest, got.bytes_fetched) == (DIGEST, len(DATA))
    assert files_in(tmp_path) == [".plimsoll-source.json", "digits.onnx", "plimsoll-model.json"]
    assert model_path(tmp_path) == str(tmp_path / "digits.onnx")


def test_it_is_fetched_once(web, tmp_path):
    url = web.url("/models/digits.onnx")
    fetch_model(url, DIGEST, tmp_path, fetcher())
    asked = len(web.asked)
    assert fetch_model(url, DIGEST, tmp_path, fetcher()).bytes_fetched == 0
    assert len(web.asked) == asked
    (tmp_path / "digits.onnx").write_bytes(DATA[:-1] + b"X")  # and again where somebody changed it
    assert fetch_model(url, DIGEST, tmp_path, fetcher()).bytes_fetched == len(DATA)


def test_another_digest_leaves_nothing(web, tmp_path):
    with pytest.raises(DigestMismatch, match="expected 0000"):
        fetch_model(web.url("/models/digits.onnx"), "sha256:" + "0" * 64, tmp_path, fetcher())
    assert not [name for name in files_in(tmp_path) if not name.startswith(PARTIAL)]


def test_a_connection_that_is_cut_goes_on_where_it_was(web, tmp_path):
    web.faults += [Fault(after=300_000), Fault(after=100_000), Fault(after=50_000)]
    naps = Naps()
    got = fetch_model(web.url("/models/digits.onnx"), DIGEST, tmp_path, fetcher(naps))
    ranges = [headers.get("Range") for _, _, headers in web.asked]
    assert ranges == [None, None, "bytes=100000-", "bytes=150000-"], "the first one asks what there is"
    assert got.bytes_fetched == len(DATA), "no byte came twice"
    assert naps == [0.5, 0.5], "each attempt brought something: the pauses don't grow"


def test_a_peer_that_falls_silent(web, tmp_path):
    web.faults += [Fault(after=0), Fault(after=1000, silent=True)]
    fetch_model(web.url("/models/digits.onnx"), DIGEST, tmp_path, fetcher(silent_s=0.2))
    assert web.asked[-1][2]["Range"] == "bytes=1000-"


def test_a_server_without_ranges_begins_again(tmp_path):
    with WebFiles({"/m.onnx": DATA}, ranges=False) as web:
        web.faults += [Fault(), Fault(after=100_000)]
        got = fetch_model(web.url("/m.onnx"), DIGEST, tmp_path, fetcher())
    assert got.bytes_fetched == 100_000 + len(DATA)


def test_a_server_that_tells_no_length(tmp_path):
    with WebFiles({"/m.onnx": DATA}, lengths=False) as web:
        fetch_model(web.url("/m.onnx"), DIGEST, tmp_path, fetcher())
    assert (tmp_path / "m.onnx").read_bytes() == DATA


def test_a_file_that_is_replaced_meanwhile_is_not_sewn_together(web, tmp_path):
    other = DATA[::-1]
    web.faults += [Fault(), Fault(after=100_000)]

    def swap(_):
        web.files["/models/digits.onnx"] = other

    wanted = f"sha256:{hashlib.sha256(other).hexdigest()}"
    fetch_model(web.url("/models/digits.onnx"), wanted, tmp_path, Fetcher(Web(silent_s=5), Credentials(), sleep=swap))
    assert (tmp_path / "digits.onnx").read_bytes() == other


def test_it_gives_up_after_six_tries_without_a_byte(web, tmp_path):
    web.faults += [Fault(status=503) for _ in range(20)]
    naps = Naps()
    with pytest.raises(Unreachable, match="503"):
        fetch_model(web.url("/models/digits.onnx"), DIGEST, tmp_path, fetcher(naps))
    assert naps == [0.5, 1, 2, 4, 8]


def test_it_waits_as_long_as_the_server_asks(web, tmp_path):
    web.faults.append(Fault(status=429, headers={"Retry-After": "7"}))
    naps = Naps()
    fetch_model(web.url("/models/digits.onnx"), DIGEST, tmp_path, fetcher(naps))
    assert naps == [7.0]


def test_nobody_there(tmp_path):
    with pytest.raises(Unreachable, match="refused"):
        fetch_model("http://127.0.0.1:9/m.onnx", DIGEST, tmp_path, fetcher(tries=2))


def test_no_such_file_is_not_tried_again(web, tmp_path):
    naps = Naps()
    with pytest.raises(Refused, match="404"):
        fetch_model(web.url("/none.onnx"), DIGEST, tmp_path, fetcher(naps))
    assert not naps


def test_credentials_do_not_follow_a_redirect_to_another_host(tmp_path):
    with WebFiles({"/signed": DATA}) as storage, WebFiles(token="Bearer s3cret") as web:
        web.redirects["/m.onnx"] = storage.url("/signed?signature=x")
        fetch_model(web.url("/m.onnx"), DIGEST, tmp_path, fetcher(token="s3cret"))
        assert all(headers["Authorization"] == "Bearer s3cret" for _, _, headers in web.asked)
        assert storage.asked
        assert not any("Authorization" in headers for _, _, headers in storage.asked)
        with pytest.raises(Refused, match="401"):
            fetch_model(web.url("/m.onnx"), DIGEST, tmp_path / "x", fetcher())


def test_errors_hide_the_signature_in_a_url(tmp_path):
    with pytest.raises(Unreachable) as error:
        fetch_model("http://127.0.0.1:9/m.onnx?X-Signature=s3cret", DIGEST, tmp_path, fetcher(tries=1))
    assert "s3cret" not in str(error.value)


# --- archives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz", "m.tgz"])
def test_an_archive_is_taken_apart(name, tmp_path):
    data = tar_of([plain("./a/model.py", b"x = 1\n"), plain("b.txt", b"b")], "w" if name == "m.tar" else "w:gz")
    with WebFiles({f"/{name}": data}) as web:
        fetch_model(web.url(f"/{name}"), f"sha256:{hashlib.sha256(data).hexdigest()}", tmp_path, fetcher())
    assert (tmp_path / "a/model.py").read_text() == "x = 1\n"
    assert files_in(tmp_path) == [".plimsoll-source.json", "a/model.py", "b.txt", "plimsoll-model.json"]


def linked(kind, name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


@pytest.mark.parametrize(
    "member",
    [
        plain("../evil.py", b"x"),
        plain("/etc/evil", b"x"),
        plain("a/../../evil", b"x"),
        linked(tarfile.SYMTYPE, "link", "/etc/passwd"),
        linked(tarfile.LNKTYPE, "link", "model.py"),
        linked(tarfile.CHRTYPE, "null", ""),
        linked(tarfile.FIFOTYPE, "pipe", ""),
        plain("model.py", b"twice"),
    ],
)
def test_an_archive_that_would_do_harm(member, tmp_path):
    data = tar_of([plain("model.py", b"x"), member])
    with WebFiles({"/m.tar": data}) as web, pytest.raises(UnsafeArchive):
        fetch_model(web.url("/m.tar"), "", tmp_path / "in", fetcher())
    assert not list(tmp_path.glob("evil*"))
    assert not (tmp_path / "in" / "model.py").exists()


def test_a_compressed_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "_UNPACK_LEAST", 1 << 20)
    bomb = gzip.compress(tar_of([plain("zeros.bin", bytes(8 << 20))]), 9)
    with WebFiles({"/m.tar.gz": bomb}) as web, pytest.raises(UnsafeArchive, match="unpacks to more than"):
        fetch_model(web.url("/m.tar.gz"), "", tmp_path, fetcher())


def test_an_archive_that_is_cut_off_inside(tmp_path):
    data = tar_of([plain("model.py", b"x" * 5000)])[:3000]
    with WebFiles({"/m.tar": data}) as web, pytest.raises(UnsafeArchive, match="cannot be read"):
        fetch_model(web.url("/m.tar"), "", tmp_path, fetcher())


# --- disks ------------------------------------------------------------------------------------------------------------


def test_too_little_room_is_said_before_a_byte_is_fetched(web, tmp_path, monkeypatch):
    monkeypatch.setattr("plimsoll.backends.kubernetes.artifacts.fetching.space.free_bytes", lambda _: 1000)
    with pytest.raises(NoRoom, match=r"it needs 293Ki more in .*, where 1000 are free"):
        fetch_model(web.url("/models/digits.onnx"), DIGEST, tmp_path, fetcher())
    assert len(web.asked) == 1


def test_a_folder_that_cannot_be_written(web, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="file"):
        fetch_model(web.url("/models/digits.onnx"), DIGEST, tmp_path / "file", fetcher())


# --- folders, ConfigMaps, volumes -------------------------------------------------------------------------------------


def test_a_folder_by_the_digest_of_its_files(tmp_path):
    source = tmp_path / "source"
    (source / "b").mkdir(parents=True)
    (source / "model.py").write_text("x")
    (source / "b" / "w.bin").write_bytes(DATA)
    (source / ".hidden").write_text("x")
    digest = listing_of(source, ["model.py", "b/w.bin"]).digest
    got = fetch_model(f"file://{source}", digest, tmp_path / "out", fetcher())
    assert got.digest == digest
    assert files_in(tmp_path / "out") == [".plimsoll-source.json", "b/w.bin", "model.py", "plimsoll-model.json"]
    assert fetch_model(f"file://{source}", "", tmp_path / "other", fetcher()).digest == digest
    assert check_model(source, digest).digest == digest
    (source / "model.py").write_text("y")
    with pytest.raises(DigestMismatch, match="expected sha256"):
        check_model(source, digest)
    with pytest.raises(DigestMismatch):
        fetch_model(f"file://{source}", digest, tmp_path / "third", fetcher())


def test_a_packed_configmap_with_folders(tmp_path, monkeypatch):
    model = tmp_path / "mood"
    (model / "lib").mkdir(parents=True)
    (model / "model.py").write_text("class Mood: ...\n")
    (model / "lib" / "words.txt").write_text("good\n")
    (service,) = load_text(SERVICE + "spec: {model: {path: mood}}\n", file=str(tmp_path / "service.yaml"))
    packed, (configmap,) = pack_small(service, tmp_path)
    mount = tmp_path / "mount"
    mounted(configmap, mount)
    monkeypatch.setattr(sources, "CONFIGMAP_MOUNT", str(mount))
    assert packed.spec.model.uri.endswith("/model.tar.gz")
    got = fetch_model(packed.spec.model.uri, packed.spec.model.digest, tmp_path / "out", fetcher())
    assert (tmp_path / "out" / "lib" / "words.txt").read_text() == "good\n"
    assert got.listing == verify(tmp_path / "out", packed.spec.model.digest)
    (mount / "plimsoll-model.json").unlink()
    (mount / "plimsoll-model.json").write_text(listing_of(model, ["model.py"]).to_json())
    with pytest.raises(DigestMismatch):
        fetch_model(packed.spec.model.uri, packed.spec.model.digest, tmp_path / "bad", fetcher())


def mounted(configmap, folder):
    """As a kubelet does it: the files in a folder of this version, and links to them."""
    import base64

    version = folder / "..2026_01_01"
    version.mkdir(parents=True)
    (folder / "..data").symlink_to(version.name)
    for key, text in configmap["data"].items():
        (version / key).write_text(text)
    for key, text in configmap.get("binaryData", {}).items():
        (version / key).write_bytes(base64.b64decode(text))
    for file in version.iterdir():
        (folder / file.name).symlink_to(f"..data/{file.name}")


def test_a_mounted_configmap_is_checked_byte_for_byte(tmp_path):
    (tmp_path / "mood.py").write_text("class Mood: ...\n")
    (service,) = load_text(SERVICE + "spec: {model: {path: mood.py}}\n", file=str(tmp_path / "service.yaml"))
    packed, (configmap,) = pack_small(service, tmp_path)
    mounted(configmap, tmp_path / "mount")
    assert verify(tmp_path / "mount", packed.spec.model.digest).entry == "mood.py"
    assert model_path(tmp_path / "mount", "Python") == str(tmp_path / "mount" / "mood.py")
    (tmp_path / "mount" / "..2026_01_01" / "mood.py").write_text("class Evil: ...\n")
    with pytest.raises(DigestMismatch, match=r"mood\.py has SHA-256"):
        verify(tmp_path / "mount", packed.spec.model.digest)


# --- credentials ------------------------------------------------------------------------------------------------------


def test_a_mounted_secret(tmp_path):
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "AWS_ACCESS_KEY_ID").write_text("key\n")
    (tmp_path / "AWS_ACCESS_KEY_ID").symlink_to("..2026/AWS_ACCESS_KEY_ID")
    (tmp_path / "username").write_text("me")
    (tmp_path / "password").write_text("s3cret")
    found = read_credentials(tmp_path)
    assert found.get("aws-access-key-id") == "key"
    assert found.http_header.startswith("Basic ")
    assert "s3cret" not in repr(found)
    with pytest.raises(UserError, match="mount the secret"):
        read_credentials(tmp_path / "none")


def test_two_at_once_in_one_cache_fetch_once(web, tmp_path):
    from plimsoll.backends.kubernetes.artifacts.fetching.cache import ModelCache, fetch_through

    url = web.url("/models/digits.onnx")

    def fetch(number):
        fetch_through(ModelCache(tmp_path / "cache"), url, DIGEST, tmp_path / number, fetcher(), note=lambda _: None)

    threads = [threading.Thread(target=fetch, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((tmp_path / str(number) / "digits.onnx").read_bytes() == DATA for number in range(4))
    assert len(web.asked) == 2, "what there is, and its bytes, for all four"
    assert os.stat(tmp_path / "0" / "digits.onnx").st_nlink == 5, "one mount: links, no copies"
    assert json.loads((tmp_path / "0" / "plimsoll-model.json").read_text())["entry"] == "digits.onnx"
