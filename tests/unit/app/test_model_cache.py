"""A node's model cache: what it takes from services, and that it follows them, against the API server in memory."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.kube import FakeCluster
from tests.support.artifact_servers import WebFiles

from plimsoll.app import install
from plimsoll.app.model_cache import wanted_of, why_idle
from plimsoll.backends.kubernetes.artifacts.fetching.cache import ModelCache, fetch_through
from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.fetch import Fetcher
from plimsoll.backends.kubernetes.artifacts.fetching.prefetch import Keeper, Wanted, parse_wanted
from plimsoll.backends.kubernetes.artifacts.fetching.space import NoRoom
from plimsoll.backends.kubernetes.artifacts.web import Web
from plimsoll.core.errors import UserError
from plimsoll.spec import Platform

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


def test_a_bound_holds_whatever_is_wanted_and_what_does_not_fit_is_not_fetched_again(tmp_path):
    with WebFiles({f"/{name}": name.encode() * 1000 for name in "abc"}) as web:
        cache = ModelCache(tmp_path, 2500)
        keeper = Keeper(cache, Fetcher(Web(silent_s=5), Credentials(), sleep=lambda _: None))
        a, b, c = (Wanted(web.url(f"/{name}"), digest_of(name.encode() * 1000)) for name in "abc")
        assert keeper.work([a, b], 0.0) == [b], "each has a listing beside its 1000 bytes"
        assert cache.held_bytes() <= 2500
        asked = len(web.asked)
        assert keeper.work([a, b], 3600.0) == []
        assert (len(web.asked), keeper.failing) == (asked, False)
        assert keeper.work([b, c], 3601.0) == [c], "a is wanted no longer"
        assert (cache.has(a.digest), cache.has(b.digest)) == (False, True)
        cache.max_bytes = 5000
        assert keeper.work([b, c], 3602.0) == []
        cache.max_bytes = 100
        keeper.work([b, c], 3603.0)
        assert cache.held_bytes() == 0


def test_a_model_too_large_for_the_cache_goes_past_it(tmp_path):
    data = os.urandom(1000)
    with WebFiles({"/1": data}) as web:
        fetcher = Fetcher(Web(silent_s=5), Credentials(), sleep=lambda _: None)
        cache = ModelCache(tmp_path / "cache", 500)
        fetch_through(cache, web.url("/1"), digest_of(data), tmp_path / "model", fetcher, note=lambda _: None)
    assert (tmp_path / "model" / "1").read_bytes() == data
    assert cache.held_bytes() == 0


def test_a_full_volume_puts_out_what_was_used_longest_ago(tmp_path, monkeypatch):
    """Without a bound, on a volume with room for two models of a mebibyte."""
    files = {f"/{name}": name.encode() * (1 << 20) for name in "abc"}
    digests = {path: digest_of(data) for path, data in files.items()}
    cache = ModelCache(tmp_path)
    free = lambda folder: (5 << 19) - cache.held_bytes()  # noqa: E731
    monkeypatch.setattr("plimsoll.backends.kubernetes.artifacts.fetching.space.free_bytes", free)
    with WebFiles(files) as web:
        fetcher = Fetcher(Web(silent_s=5), Credentials(), sleep=lambda _: None)
        for age, path in enumerate(files):
            cache.keep(web.url(path), digests[path], fetcher)
            os.utime(cache.place(digests[path]), (age, age))
        assert [path for path in files if cache.has(digests[path])] == ["/b", "/c"]
        web.files["/d"] = b"d" * (3 << 20)
        with pytest.raises(NoRoom):
            cache.keep(web.url("/d"), digest_of(web.files["/d"]), fetcher, wanted=frozenset(digests.values()))
        assert [path for path in files if cache.has(digests[path])] == ["/b", "/c"], "they are wanted"


def platform(**cache):
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": "default"},
        "spec": {"modelCache": cache},
    }


def test_where_no_replica_looks_nothing_is_kept():
    assert "no modelCache" in why_idle(None, "/srv/models")
    assert "no modelCache" in why_idle(Platform.parse(platform(type="PVC", size="1Gi")), "/srv/models")
    held = Platform.parse(platform(type="HostPath", path="/srv/models"))
    assert why_idle(held, "/srv/models/") == ""
    assert why_idle(held, "/srv/other") == (
        "the Platform's modelCache.path is /srv/models, the DaemonSet's folder /srv/other; nothing is kept"
    )


def test_it_follows_the_services_and_the_platform_of_a_cluster(tmp_path):
    """Nothing without a Platform's word; then each model as its service comes; a smaller cache puts the oldest out."""
    first, second = os.urandom(700_000), os.urandom(700_000)
    with FakeCluster(controllers=False) as cluster, WebFiles({"/1": first, "/2": second}) as web:
        cluster.apply(*install.crd_objects())
        cluster.apply(service("one", uri=web.url("/1"), digest=digest_of(first)))
        environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "NODE_NAME": "node-1"}
        command = [sys.executable, "-m", "plimsoll.app.model_cache", "--to", str(tmp_path)]
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            said = json.loads(running.stderr.readline())["message"]
            assert said == "the Platform has no modelCache: {type: HostPath}; nothing is kept"
            assert not web.asked
            cluster.apply(platform(type="HostPath", path=str(tmp_path)))
            until(running, lambda: has(tmp_path, first))
            cluster.apply(service("two", uri=web.url("/2"), digest=digest_of(second)))
            until(running, lambda: has(tmp_path, second))
            cluster.apply(service("one", uri=web.url("/2"), digest=digest_of(second)))
            cluster.apply(platform(type="HostPath", path=str(tmp_path), size="1Mi"))
            until(running, lambda: not has(tmp_path, first))
            assert has(tmp_path, second)
        finally:
            running.send_signal(signal.SIGTERM)
            running.stderr.close()
            assert running.wait(30) == 0


def has(folder, data):
    return ModelCache(folder).has(digest_of(data))


def until(running, true):
    give_up = time.monotonic() + 30
    while not true():
        assert running.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.02)
