"""`cluster`: the same test on the server in memory and on a real one; `system`: Plimsoll as it is installed, on either;
`namespace`, `space`: a namespace of the test's own."""

import contextlib
import itertools
import os
from pathlib import Path

import pytest
from tests.cluster import control_plane
from tests.cluster.system import System
from tests.kube import FakeCluster
from tests.kube.client import Client
from tests.kube.errors import ApiError

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


@pytest.fixture(scope="session", params=["memory", "real"])
def machine(request, tmp_path_factory):
    """One for all modules: first all tests on the one, then all on the other."""
    with System.started(request.param, tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture(scope="module")
def system(request, machine):
    """With the module's VALUES installed, and all of it ready."""
    machine.become(request.module.VALUES)
    return machine


@pytest.fixture
def space(system, namespace):
    """A namespace; its end isn't waited for."""

    def make(api):
        return api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    system.run(make)
    yield namespace

    async def away(api):
        await system.tell(api, namespace)
        with contextlib.suppress(ApiError):
            await api.delete("Namespace", namespace)

    system.run(away)
