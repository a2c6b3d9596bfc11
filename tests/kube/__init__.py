"""A cluster for tests: an in-memory API server, mini controllers and a kubelet whose containers are local processes.

    async with FakeCluster() as cluster:
        cluster.kubeconfig

How to use it, what it does and what it leaves out: README.md beside this file.
"""

from tests.kube.cluster import FakeCluster

__all__ = ["FakeCluster"]
