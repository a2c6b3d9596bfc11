"""What holds for each store alike: a fetch that was killed goes on where it was, and the Secret's login is used.

(Web servers are in test_fetching.py, S3 and hubs in test_fetching_stores.py, with their own words; logins of registries
in test_registry.py.)
"""

import json
import os
import re
from urllib.parse import parse_qs

import pytest
from tests.support.artifact_servers import BucketApi, OciRegistry, WebFiles, _key_and_certificate
from tests.unit.backends.kubernetes.artifacts.fetching_kit import DATA, DIGEST, fetcher
from tests.unit.backends.kubernetes.artifacts.test_registry import model, repository

from plimsoll.backends.kubernetes.artifacts.fetching import fetch as fetch_module
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import read_credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher, fetch_model
from plimsoll.backends.kubernetes.artifacts.web import Refused, Web

__all__ = ["model"]  # a fixture


def killed_in_the_middle(monkeypatch, at, fetch):
    """Runs `fetch`, and ends it when `at` bytes of the first blob that has more are on the disk."""
    real = fetch_module.download

    def killed(blob, part, progress, **more):
        real(blob, part, progress, **more)
        if blob.size > at:
            os.truncate(part, at)
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fetch_module, "download", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch()


def test_a_bucket_of_gs_goes_on_where_it_was(tmp_path, monkeypatch):
    pytest.importorskip("gcsfs", reason="needs gcsfs: pip install 'plimsoll-serve[gs]'")
    with BucketApi({"digits.onnx": DATA}) as api:
        who = {"endpoint": api.url(""), "anonymous": "true"}

        def fetch():
            return fetch_model("gs://models/digits.onnx", DIGEST, tmp_path, fetcher(**who))

        killed_in_the_middle(monkeypatch, 200_000, fetch)
        assert fetch().bytes_fetched == 100_000
        assert (tmp_path / "digits.onnx").read_bytes() == DATA


def test_a_registry_goes_on_where_it_was(model, tmp_path, monkeypatch):
    root, listing = model
    weights = (root / "weights.bin").read_bytes()
    with OciRegistry() as registry:
        pushed = repository(registry.host).push_model(root, listing, "1")

        def fetch():
            return fetch_model(f"oci://{registry.host}/team/mood:1", pushed.digest, tmp_path / "out", fetcher())

        killed_in_the_middle(monkeypatch, 4_000_000, fetch)
        got = fetch()
    assert got.listing == listing
    assert got.bytes_fetched <= pushed.total_bytes - 4_000_000
    assert (tmp_path / "out" / "weights.bin").read_bytes() == weights


class GoogleTokens(WebFiles):
    """Gives one token to whoever shows a signed assertion of this account."""

    def do_post(self, handler):
        asked = parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode())
        assert asked["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        body = json.dumps({"access_token": "of-models", "expires_in": 3600, "token_type": "Bearer"})
        return self.plain(handler, 200, body.encode(), {"Content-Type": "application/json"})

    answer = do_post


class PrivateBucket(BucketApi):
    status = 401

    def answer(self, handler):
        if handler.headers.get("Authorization") == "Bearer of-models":
            return super().answer(handler)
        error = {"code": self.status, "message": "Anonymous caller does not have storage.objects.get access"}
        return self.plain(handler, self.status, json.dumps({"error": error}).encode())


def test_gs_is_asked_with_the_key_of_the_secret(tmp_path):
    pytest.importorskip("gcsfs", reason="needs gcsfs: pip install 'plimsoll-serve[gs]'")
    key, _ = _key_and_certificate()
    secret = tmp_path / "secret"
    secret.mkdir()
    with GoogleTokens() as tokens, PrivateBucket({"digits.onnx": DATA}) as api:
        account = {
            "type": "service_account",
            "project_id": "models",
            "private_key_id": "1",
            "private_key": key.decode(),
            "client_email": "reader@models.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": tokens.url("/token"),
        }
        (secret / "key.json").write_text(json.dumps(account))
        (secret / "endpoint").write_text(api.url(""))
        whoever = Fetcher(Web(silent_s=5), read_credentials(secret), sleep=lambda _: None)
        assert fetch_model("gs://models/digits.onnx", DIGEST, tmp_path / "out", whoever).digest == DIGEST
        assert tokens.asked
        (secret / "key.json").unlink()
        (secret / "anonymous").write_text("true")
        nobody = Fetcher(Web(silent_s=5), read_credentials(secret), sleep=lambda _: None)
        for api.status in (401, 403):
            with pytest.raises(Refused, match=r"does not have storage.*give model\.secretRef") as refused:
                fetch_model("gs://models/digits.onnx", DIGEST, tmp_path / "other", nobody)
            assert refused.value.status == api.status, "no network's fault: nobody asks again"


class SignedBucket(WebFiles):
    """The part of S3 that reading one object needs; whoever signs with another key is refused."""

    def answer(self, handler):
        signed = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/", handler.headers.get("Authorization", ""))
        if not signed or signed[1] != "of-the-secret":
            return self.plain(handler, 403, b"", {"x-amz-request-id": "1"})
        found = self.files.get(handler.path.partition("?")[0])
        if found is None:
            return self.plain(handler, 404, b"")
        return self.send_file(handler, found, {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})


def test_s3_is_asked_with_the_keys_of_the_secret(tmp_path):
    pytest.importorskip("s3fs", reason="needs s3fs: pip install 'plimsoll-serve[s3]'")
    with SignedBucket({"/models/digits.onnx": DATA}) as bucket:
        who = {"AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": bucket.url(""), "AWS_REGION": "us-east-1"}
        keys = who | {"AWS_ACCESS_KEY_ID": "of-the-secret"}
        assert fetch_model("s3://models/digits.onnx", DIGEST, tmp_path / "a", fetcher(**keys)).digest == DIGEST
        other = who | {"AWS_ACCESS_KEY_ID": "of-another"}
        with pytest.raises(Refused, match=r"model\.secretRef"):
            fetch_model("s3://models/digits.onnx", DIGEST, tmp_path / "b", fetcher(tries=2, **other))
