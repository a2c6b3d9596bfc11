"""Models from buckets and hubs."""

import pytest
from tests.support.artifact_servers import BucketApi, Fault, ModelHub, WebFiles
from tests.unit.backends.kubernetes.artifacts.fetching_kit import DATA, DIGEST, Naps, fetcher, files_in

from plimsoll.backends.kubernetes.artifacts.fetching import fetch as fetch_module
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import fetch_model
from plimsoll.backends.kubernetes.artifacts.listing import DigestMismatch
from plimsoll.backends.kubernetes.artifacts.web import Refused, Unreachable
from plimsoll.core.errors import HostError

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
