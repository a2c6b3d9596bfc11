"""Against Debian's docker-registry: push, pull, logins, a push that breaks off."""

import base64
import json
import shutil

import pytest
from tests.support.artifact_servers import OciRegistry

from plimsoll.backends.kubernetes.artifacts import registry as registry_module
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher, fetch_model
from plimsoll.backends.kubernetes.artifacts.layout import layout_of
from plimsoll.backends.kubernetes.artifacts.listing import DigestMismatch, listing_of, verify
from plimsoll.backends.kubernetes.artifacts.manifest import ARTIFACT_TYPE, MANIFEST_TYPE, layers_of
from plimsoll.backends.kubernetes.artifacts.registry import Repository
from plimsoll.backends.kubernetes.artifacts.registry_auth import Login, login_of
from plimsoll.backends.kubernetes.artifacts.web import Refused, Unreachable, Web
from plimsoll.core.errors import HostError, UserError


@pytest.fixture(scope="module")
def registry():
    with OciRegistry() as found:
        yield found


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "mood"
    (folder / "data").mkdir(parents=True)
    (folder / "model.py").write_text("class Mood:\n    def predict(self, batch):\n        return batch\n")
    (folder / "data" / "words.txt").write_bytes(b"good bad\n" * 100)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 20_000)  # 5.12 MB: a layer of its own
    layout = layout_of("mood", tmp_path)
    return layout.root, listing_of(layout.root, layout.files, layout.entry)


def repository(host, name="team/mood", **more):
    return Repository(host, name, push=True, sleep=lambda _: None, **more)


def fetcher(**more):
    return Fetcher(Web(silent_s=5), Credentials(**more), sleep=lambda _: None)


def test_what_is_pushed_comes_back_whole(registry, model, tmp_path):
    root, listing = model
    pushed = repository(registry.host).push_model(root, listing, "1")
    assert pushed.sent_bytes == pushed.total_bytes > listing.size
    got = fetch_model(f"oci://{registry.host}/team/mood:1", pushed.digest, tmp_path / "out", fetcher())
    assert got.digest == pushed.digest
    assert got.listing == listing
    assert (tmp_path / "out" / "data" / "words.txt").read_bytes() == (root / "data" / "words.txt").read_bytes()
    verify(tmp_path / "out", listing.digest)


def test_the_same_files_have_the_same_digest_and_are_sent_once(registry, model):
    root, listing = model
    first = repository(registry.host, "team/same").push_model(root, listing, "1")
    again = repository(registry.host, "team/same").push_model(root, listing, "2")
    assert (again.digest, again.sent_bytes) == (first.digest, 0)
    (root / "model.py").write_text("class Other: pass\n")
    changed = listing_of(root, [file.path for file in listing.files])
    small = repository(registry.host, "team/same").push_model(root, changed, "3")
    assert small.digest != first.digest
    assert 0 < small.sent_bytes < 100_000, "weights that didn't change are not sent again"


def test_the_manifest_is_an_oci_artifact(registry, model):
    root, listing = model
    pushed = repository(registry.host, "team/kind").push_model(root, listing, "1")
    data, digest = repository(registry.host, "team/kind").manifest("1")
    found = json.loads(data)
    assert digest == pushed.digest
    assert found["mediaType"] == MANIFEST_TYPE
    assert found["artifactType"] == ARTIFACT_TYPE
    assert len(found["layers"]) == len(layers_of(listing)) == 2
    assert "annotations" not in found, "nothing that would tell when"


def test_large_layers_go_in_chunks_and_go_on_after_the_registry_died(registry, model):
    """Killed in the middle of a chunked upload, started again: the upload goes on from what it has."""
    root, listing = model
    target = repository(registry.host, "team/chunks", chunk_bytes=1 << 20)
    patches, ask = [], target.ask

    def dying(method, url, **more):
        if method == "PATCH":
            patches.append(more["headers"]["Content-Range"])
            if len(patches) == 3:
                registry.kill()
                registry.start()
                raise Unreachable("the connection was cut")
        return ask(method, url, **more)

    target.ask = dying
    pushed = target.push_model(root, listing, "1")
    starts = [int(one.partition("-")[0]) for one in patches]
    assert starts[:4] == [0, 1 << 20, 2 << 20, 2 << 20], "the third chunk was sent again, not the first"
    assert repository(registry.host, "team/chunks").manifest("1")[1] == pushed.digest


def test_an_upload_that_the_registry_forgot_begins_anew(registry, model):
    root, listing = model
    target = repository(registry.host, "team/forgot", chunk_bytes=1 << 20)
    forgotten, ask = [], target.ask

    def forgetful(method, url, **more):
        if method == "PATCH" and len(forgotten) == 0 and not more["headers"]["Content-Range"].startswith("0-"):
            forgotten.append(url)
            shutil.rmtree(registry.folder / "data/docker/registry/v2/repositories/team/forgot/_uploads")
        return ask(method, url, **more)

    target.ask = forgetful
    pushed = target.push_model(root, listing, "1")
    assert forgotten
    assert repository(registry.host, "team/forgot").manifest("1")[1] == pushed.digest


def test_a_file_that_changes_while_it_is_pushed(registry, model):
    root, listing = model
    (root / "model.py").write_text("longer than what was listed, by some bytes; " * 10)
    with pytest.raises(HostError, match="changed while it was packed"):
        repository(registry.host, "team/changing").push_model(root, listing, "1")


def test_nothing_there(registry, tmp_path):
    with pytest.raises(Refused, match="404") as refused:
        fetch_model(f"oci://{registry.host}/team/none:1", "", tmp_path / "out", fetcher())
    assert refused.value.status == 404


def test_another_digest(registry, model, tmp_path):
    root, listing = model
    repository(registry.host, "team/other").push_model(root, listing, "1")
    wrong = "sha256:" + "0" * 64
    with pytest.raises(Refused, match="404"):  # a registry finds things by their digest
        fetch_model(f"oci://{registry.host}/team/other:1", wrong, tmp_path / "out", fetcher())
    assert not list(tmp_path.glob("out/model.py"))


def test_a_blob_that_was_changed_on_the_registrys_disk(registry, model, tmp_path):
    root, listing = model
    pushed = repository(registry.host, "team/rotten").push_model(root, listing, "1")
    blobs = sorted(
        registry.folder.glob("data/docker/registry/v2/blobs/sha256/*/*/data"), key=lambda f: f.stat().st_size
    )
    data = blobs[-1].read_bytes()
    try:
        blobs[-1].write_bytes(data[:1000] + b"X" + data[1001:])
        with pytest.raises(DigestMismatch):
            fetch_model(f"oci://{registry.host}/team/rotten:1", pushed.digest, tmp_path / "out", fetcher())
    finally:
        blobs[-1].write_bytes(data)
    assert not (tmp_path / "out" / "model.py").exists(), "nothing appears under its name that is not whole"


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_logins(auth, model, tmp_path):
    root, listing = model
    with OciRegistry(auth) as registry:
        with pytest.raises(Refused, match="docker login"):
            repository(registry.host).push_model(root, listing, "1")
        with pytest.raises(Refused, match=r"401|403"):
            repository(registry.host, login=Login("team", "wrong")).push_model(root, listing, "1")
        pushed = repository(registry.host, login=Login("team", "s3cret")).push_model(root, listing, "1")
        uri = f"oci://{registry.host}/team/mood:1"
        with pytest.raises(Refused):
            fetch_model(uri, pushed.digest, tmp_path / "out", fetcher())
        basic = base64.b64encode(b"team:s3cret").decode()
        secret = tmp_path / "secret"
        secret.mkdir()
        (secret / ".dockerconfigjson").write_text(json.dumps({"auths": {registry.host: {"auth": basic}}}))
        from plimsoll.backends.kubernetes.artifacts.fetching.credentials import read_credentials

        whoever = Fetcher(Web(silent_s=5), read_credentials(secret), sleep=lambda _: None)
        assert fetch_model(uri, pushed.digest, tmp_path / "out", whoever).listing == listing
        other = fetcher(values={"username": "team", "password": "s3cret"})
        assert fetch_model(uri, pushed.digest, tmp_path / "out2", other).listing == listing


def test_logins_come_from_dockers_own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert login_of("r.example") is None
    basic = base64.b64encode(b"me:pass:word").decode()
    config = {
        "auths": {"https://r.example/v1/": {"auth": basic}, "t.example": {"identitytoken": "idtoken"}},
        "credHelpers": {"h.example": "tests"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert login_of("r.example") == Login("me", "pass:word")
    assert login_of("t.example").identity_token == "idtoken"
    helper = tmp_path / "docker-credential-tests"
    helper.write_text('#!/bin/sh\nread host; echo "{\\"Username\\": \\"bot\\", \\"Secret\\": \\"of $host\\"}"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert login_of("h.example") == Login("bot", "of h.example")
    assert "of h.example" not in repr(login_of("h.example"))
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(UserError, match=r"config\.json"):
        login_of("r.example")


def test_http_is_for_this_machine_alone():
    assert Repository("127.0.0.1:5000", "a")._base.startswith("http://")
    assert Repository("registry.example:5000", "a")._base.startswith("https://")
    with pytest.raises(Refused, match="credentials are not sent"):
        Web().ask("GET", "http://registry.example/v2/", headers={"Authorization": "Basic x"})


def test_a_registry_that_sends_us_to_a_foreign_token_server_in_the_clear():
    refused = Refused(
        "401", status=401, headers={"www-authenticate": 'Bearer realm="http://evil.example/t",service="s"'}
    )
    who = registry_module.Authorization(Web(), Login("me", "secret"), "team/mood", "pull")
    with pytest.raises(Refused, match="expected https"):
        who.meet(refused)
