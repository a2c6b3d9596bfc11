"""`replica(...)`: a ReplicaHost that is closed, and has reported nothing strange, when the test ends."""

import pytest
from tests.support.replica_host import ReplicaHost


@pytest.fixture
def replica(tmp_path):
    hosts = []

    def start(**options):
        folder = options.pop("folder", None) or tmp_path
        hosts.append(ReplicaHost(folder, **options))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()
