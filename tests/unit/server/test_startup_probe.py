"""A kubelet's look at a replica that starts: answered the moment it is ready."""

import pytest
from tests.support.ports import free_port
from tests.support.puppet import PUPPET
from tests.support.replica_host import connected

from plimsoll.backends.kubernetes import names
from plimsoll.server import status_port

WAITS = PUPPET.replace(
    "    def predict(self, batch):",
    '    def load(self):\n        while not (HERE / "go").exists():\n            time.sleep(0.002)\n'
    '        if (HERE / "go").read_text():\n            raise RuntimeError("no weights")\n\n'
    "    def predict(self, batch):",
)


@pytest.fixture
def starting(replica):
    """A replica whose model loads until `go` is there, which says whether it fails."""
    host = replica(model=WAITS, wait=False, status=f"tcp:127.0.0.1:{free_port()}")
    host.until(lambda: host.replica is not None and host.replica._status.address)
    yield host
    (host.folder / "go").touch()
    host.until(lambda: host.replica._pages.ready or host.replica._status._standing)


class Look:
    def __init__(self, host, seconds):
        self.socket = connected(host.replica._status.address)
        more = "" if seconds is None else f"{names.WAIT_HEADER}: {seconds}\r\n"
        self.socket.sendall(f"GET {names.READY_PATH} HTTP/1.1\r\nhost: x\r\n{more}\r\n".encode())

    def status(self):
        with self.socket, self.socket.makefile("rb") as answer:
            return int(answer.readline().split()[1])


def waiting(host):
    return len(host.replica._status._waiting)


def test_it_is_answered_when_the_model_has_loaded(starting):
    assert (status_port.READY_PATH, status_port.WAIT_HEADER.decode()) == (names.READY_PATH, names.WAIT_HEADER)
    looks = [Look(starting, 30) for _ in range(2)]
    starting.until(lambda: waiting(starting) == 2)
    assert Look(starting, None).status() == 503, "who doesn't wait is told at once"
    (starting.folder / "go").touch()
    assert [look.status() for look in looks] == [200, 200]
    assert Look(starting, 30).status() == 200
    assert waiting(starting) == 0


def test_it_is_answered_when_the_model_does_not_load(starting):
    look = Look(starting, 30)
    starting.until(lambda: waiting(starting) == 1)
    (starting.folder / "go").write_text("no")
    assert look.status() == 503


def test_it_is_answered_when_its_time_is_over_and_forgotten_when_nobody_listens(starting):
    assert Look(starting, 0).status() == 503
    assert Look(starting, 1).status() == 503
    for wrong in ("31", "-1", "soon"):
        assert Look(starting, wrong).status() == 503
    gone = Look(starting, 30)
    starting.until(lambda: waiting(starting) == 1)
    gone.socket.close()
    starting.until(lambda: waiting(starting) == 0)
