"""Models from web servers, buckets, hubs and folders; what breaks on the way."""

import gzip
import hashlib
import io
import itertools
import json
import os
import tarfile
import threading

import pytest
from tests.support.artifact_servers import BucketApi, Fault, ModelHub, WebFiles

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

DATA = bytes(itertools.islice(itertools.cycle(range(251)), 300_000))
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
SERVICE = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\n"


class Naps(list):
    def __call__(self, seconds):
        self.append(seconds)


def fetcher(naps=None, silent_s=5.0, tries=6, **values):
    return Fetcher(Web(silent_s=silent_s), Credentials(values), sleep=Naps() if naps is None else naps, tries=tries)


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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


# --- buckets ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3():
    pytest.importorskip("s3fs", reason="needs s3fs: pip install 'plimsoll-serve[s3]'")
    server = pytest.importorskip("moto.server", reason="needs moto: pip install 'plimsoll-serve[dev]'")
    import boto3

    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    keys["AWS_REGION"] = "us-east-1"
    where = {"endpoint_url": keys["AWS_ENDPOINT_URL"], "region_name": "us-east-1"}
    client = boto3.client("s3", aws_access_key_id="k", aws_secret_access_key="s", **where)
    client.create_bucket(Bucket="models")
    for key, data in {"mood/model.py": b"x = 1\n", "mood/w/w.bin": DATA, "digits.onnx": DATA}.items():
        client.put_object(Bucket="models", Key=key, Body=data)
    yield keys
    running.stop()


def test_an_object_of_s3(s3, tmp_path):
    assert fetch_model("s3://models/digits.onnx", DIGEST, tmp_path, fetcher(**s3)).digest == DIGEST
    assert (tmp_path / "digits.onnx").read_bytes() == DATA


def test_a_prefix_of_s3(s3, tmp_path):
    got = fetch_model("s3://models/mood", "", tmp_path, fetcher(**s3))
    assert files_in(tmp_path) == [".plimsoll-source.json", "model.py", "plimsoll-model.json", "w/w.bin"]
    again = fetch_model("s3://models/mood/", got.digest, tmp_path / "again", fetcher(**s3))
    assert again.listing == got.listing
    with pytest.raises(DigestMismatch):
        fetch_model("s3://models/mood/", DIGEST, tmp_path / "wrong", fetcher(**s3))


def test_s3_goes_on_where_it_was(s3, tmp_path):
    """What a killed run left: a part, and the plan that it belongs to."""
    uri, naps = "s3://models/digits.onnx", Naps()
    real = fetch_module.download

    def killed(blob, part, progress, **more):
        part.write_bytes(DATA[:200_000])
        raise KeyboardInterrupt

    try:
        fetch_module.download = killed
        with pytest.raises(KeyboardInterrupt):
            fetch_model(uri, DIGEST, tmp_path, fetcher(naps, **s3))
    finally:
        fetch_module.download = real
    assert fetch_model(uri, DIGEST, tmp_path, fetcher(naps, **s3)).bytes_fetched == 100_000


def test_s3_says_what_is_missing(s3, tmp_path):
    with pytest.raises(Refused, match="no such object"):
        fetch_model("s3://models/none", "", tmp_path, fetcher(**s3))
    with pytest.raises(Refused, match="no such"):
        fetch_model("s3://nobucket/none/", "", tmp_path, fetcher(**s3))
    with pytest.raises(Unreachable):
        fetch_model(
            "s3://models/x", "", tmp_path, fetcher(tries=1, **(s3 | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}))
        )


def test_a_bucket_of_gs(tmp_path):
    """Against a server of the tests' own that speaks the part of the JSON API that reading needs."""
    pytest.importorskip("gcsfs", reason="needs gcsfs: pip install 'plimsoll-serve[gs]'")
    with BucketApi({"mood/model.py": b"x = 1\n", "mood/w/w.bin": DATA, "digits.onnx": DATA}) as api:
        who = {"endpoint": api.url(""), "anonymous": "true"}
        assert fetch_model("gs://models/digits.onnx", DIGEST, tmp_path / "one", fetcher(**who)).digest == DIGEST
        got = fetch_model("gs://models/mood/", "", tmp_path / "all", fetcher(**who))
        assert [file.path for file in got.listing.files] == ["model.py", "w/w.bin"]
        with pytest.raises(Refused):
            fetch_model("gs://models/none", "", tmp_path / "none", fetcher(**who))


def test_a_library_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(HostError, match=r"pip install 'plimsoll-serve\[s3\]'"):
        fetch_model("s3://models/x", "", tmp_path, fetcher())


# --- model hubs -------------------------------------------------------------------------------------------------------

REPO = {"config.json": b'{"a": 1}', "model.safetensors": DATA, "sub/vocab.txt": b"a\nb\n", ".gitattributes": b"x"}


@pytest.fixture
def hub():
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub: pip install 'plimsoll-serve[hf]'")
    with WebFiles() as storage, ModelHub(REPO, storage=storage, token="hf_secret") as found:
        yield found


def of_hub(hub, token="hf_secret"):
    return fetcher(token=token, HF_ENDPOINT=hub.url(""))


def test_a_repository_of_a_hub(hub, tmp_path):
    hub.storage.faults += [Fault(after=100_000)]
    got = fetch_model("hf://team/mood@main", "", tmp_path, of_hub(hub))
    assert [file.path for file in got.listing.files] == ["config.json", "model.safetensors", "sub/vocab.txt"]
    assert (tmp_path / "model.safetensors").read_bytes() == DATA
    assert [headers.get("Range") for _, _, headers in hub.storage.asked] == [None, "bytes=100000-"]
    assert not any("Authorization" in headers for _, _, headers in hub.storage.asked)
    assert fetch_model("hf://team/mood@main", got.digest, tmp_path, of_hub(hub)).bytes_fetched == 0


def test_one_file_and_one_folder_of_a_hub(hub, tmp_path):
    fetch_model("hf://team/mood/model.safetensors", DIGEST, tmp_path / "one", of_hub(hub))
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == DATA
    got = fetch_model("hf://team/mood/sub", "", tmp_path / "sub", of_hub(hub))
    assert [file.path for file in got.listing.files] == ["vocab.txt"]


def test_a_hub_that_wants_a_token(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(Refused, match="secretRef"):
        fetch_model("hf://team/mood", "", tmp_path, of_hub(hub, token=""))


def test_storage_that_gives_other_bytes(hub, tmp_path):
    real = hub.sibling

    def lying(name, data):
        found = real(name, data)
        if "lfs" in found:
            found["lfs"]["sha256"] = "0" * 64
        return found

    hub.sibling = lying
    with pytest.raises(DigestMismatch, match="safetensors"):
        fetch_model("hf://team/mood", "", tmp_path, of_hub(hub))


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
