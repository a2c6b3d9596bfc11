"""A node's model cache: what it takes from services, and that it follows them, against the API server in memory."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.kube import FakeCluster
from tests.support.artifact_servers import WebFiles

from plimsoll.app import install
from plimsoll.app.model_cache import wanted_of
from plimsoll.backends.kubernetes.artifacts.fetching.cache import ModelCache
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher
from plimsoll.backends.kubernetes.artifacts.fetching.prefetch import Keeper, Wanted, parse_wanted
from plimsoll.backends.kubernetes.artifacts.web import Web
from plimsoll.core.errors import UserError

DIGEST = "sha256:" + "ab" * 32


def service(name="mood", **model):
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": {"format": "ONNX", **model}},
    }


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_what_a_node_may_keep():
    assert wanted_of(service(uri="s3://models/m", digest=DIGEST)) == Wanted("s3://models/m", DIGEST)
    assert wanted_of(service(uri="s3://models/m")) is None, "without a digest nobody knows what it would be"
    assert wanted_of(service(uri="s3://models/m", digest=DIGEST, secretRef={"name": "keys"})) is None
    assert wanted_of(service(uri="configmap://mood-model-1", digest=DIGEST)) is None, "mounted, not fetched"
    assert wanted_of(service(uri="nonsense", digest=DIGEST)) is None
    going = service(uri="s3://models/m", digest=DIGEST)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert wanted_of(going) is None


def test_a_list_of_models():
    assert parse_wanted(f"# a comment\n\ns3://a/b {DIGEST}\n") == [Wanted("s3://a/b", DIGEST)]
    assert parse_wanted(f'[{{"uri": "s3://a/b", "digest": "{DIGEST}"}}]') == [Wanted("s3://a/b", DIGEST)]
    for wrong in ("s3://a/b", f"nowhere {DIGEST}", "[1]", "[{"):
        with pytest.raises(UserError):
            parse_wanted(wrong)


def test_what_fails_is_tried_again_later_and_keeps_nobody_waiting(tmp_path):
    """At 0 s one model is nowhere; at 10 s it is not due; at 20 s it is there."""
    with WebFiles({"/a": b"a"}) as web:
        keeper = Keeper(ModelCache(tmp_path), Fetcher(Web(silent_s=5), Credentials(), sleep=lambda _: None))
        here, there = Wanted(web.url("/a"), digest_of(b"a")), Wanted(web.url("/b"), digest_of(b"b"))
        assert keeper.work([there, here], 0.0) == [there]
        assert ModelCache(tmp_path).has(here.digest)
        web.files["/b"] = b"b"
        assert keeper.work([there, here], 10.0) == []
        assert keeper.failing
        assert not ModelCache(tmp_path).has(there.digest)
        assert keeper.work([there, here], 20.0) == []
        assert not keeper.failing
        assert ModelCache(tmp_path).has(there.digest)


def test_eviction_takes_what_was_used_longest_ago_and_nothing_wanted(tmp_path):
    with WebFiles({f"/{name}": name.encode() * 1000 for name in "abc"}) as web:
        fetcher = Fetcher(Web(silent_s=5), Credentials(), sleep=lambda _: None)
        cache = ModelCache(tmp_path, 3500)
        digests = {name: digest_of(name.encode() * 1000) for name in "abc"}
        for age, name in enumerate("abc"):
            cache.keep(web.url(f"/{name}"), digests[name], fetcher, wanted=frozenset({digests["a"]}))
            os.utime(cache.place(digests[name]), (age, age))
    assert [name for name in "abc" if cache.has(digests[name])] == ["a", "c"], "a is oldest, and wanted"
    assert not list(tmp_path.glob(".gone-*"))


def test_it_follows_the_services_of_a_cluster(tmp_path):
    first, second = os.urandom(1000), os.urandom(1000)
    with FakeCluster(controllers=False) as cluster, WebFiles({"/1": first, "/2": second}) as web:
        cluster.apply(*install.crd_objects())
        cluster.apply(service("one", uri=web.url("/1"), digest=digest_of(first)))
        environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "NODE_NAME": "node-1"}
        command = [sys.executable, "-m", "plimsoll.app.model_cache", "--to", str(tmp_path), "--max-size", "1Gi"]
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            has(tmp_path, first, running)
            cluster.apply(service("two", uri=web.url("/2"), digest=digest_of(second)))
            has(tmp_path, second, running)
        finally:
            running.send_signal(signal.SIGTERM)
            running.stderr.close()
            assert running.wait(30) == 0


def has(folder, data, running):
    cache, give_up = ModelCache(folder), time.monotonic() + 30
    while not cache.has(digest_of(data)):
        assert running.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.02)
