"""`cluster`: the same test on the server in memory and on a real one; `api`: a client with all rights; `namespace`."""

import contextlib
import itertools
import os
from pathlib import Path

import pytest
from tests.cluster import control_plane
from tests.kube import FakeCluster
from tests.kube.client import Client

_numbers = itertools.count(1)


class GivenCluster:
    """Somebody's cluster, by KUBECONFIG: it can't be stopped, and others' tokens can't be made."""

    real, given = True, True

    def __init__(self, path):
        self.kubeconfig = Path(path)

    def __getattr__(self, name):
        pytest.skip(f"needs a cluster that can be told to `{name}`; KUBECONFIG names somebody's")


@pytest.fixture(scope="session")
def real_cluster():
    if path := os.environ.get("KUBECONFIG"):
        yield GivenCluster(path.split(os.pathsep)[0])
        return
    if why := control_plane.missing():
        pytest.skip(why)
    with control_plane.ControlPlane() as cluster:
        yield cluster


@pytest.fixture(params=["memory", "real"])
def cluster(request):
    if request.param == "real":
        yield request.getfixturevalue("real_cluster")
        return
    with FakeCluster() as memory:
        yield memory


@contextlib.asynccontextmanager
async def client(cluster, manager="test"):
    """Admin's client; to be used inside of a test's own event loop."""
    async with Client(cluster.kubeconfig, manager) as api:
        yield api


@pytest.fixture
def namespace():
    """A name for a namespace of the test's own."""
    return f"t{os.getpid()}-{next(_numbers)}"
