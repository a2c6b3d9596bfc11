"""Ports are taken before anything starts: by one socket, or by one for each gateway."""

import socket
import sys

import pytest

from plimsoll.app.ports import claim, is_loopback
from plimsoll.core.errors import HostError

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over sockets")


@pytest.fixture
def held():
    claims = []

    def take(*args, **options):
        claims.append(claim(*args, **options))
        return claims[-1]

    yield take
    for one in claims:
        one.close()


def test_one_process_holds_its_port_alone(held):
    door = held("gateway", 0, "--port")
    assert door.address == f"tcp:127.0.0.1:{door.port}"
    assert door.authority == f"localhost:{door.port}"
    with pytest.raises(HostError, match=rf"port {door.port} for the gateway is taken.*--port"):
        held("gateway", door.port, "--port")


@linux
def test_each_process_gets_a_socket_of_its_own_and_all_get_connections(held):
    door = held("gateway", 0, "--port", processes=2)
    assert len({door.fileno(0), door.fileno(1)}) == 2
    clients = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(64)]
    accepted = [0, 0]
    for number, one in enumerate(door.sockets):
        while True:
            try:
                one.accept()[0].close()
            except BlockingIOError:
                break
            accepted[number] += 1
    for client in clients:
        client.close()
    assert sum(accepted) == 64
    assert min(accepted) > 8, accepted  # a fair coin gives fewer once in 10^10


@linux
def test_a_port_that_is_shared_among_ours_is_shared_with_nobody_else(held):
    door = held("gateway", 0, "--port", processes=2)
    with pytest.raises(HostError, match="is taken"):
        held("gateway", door.port, "--port", processes=2)
    with pytest.raises(HostError, match="is taken"):
        held("gateway", door.port, "--port")


def test_elsewhere_all_processes_share_one_socket(held, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    door = held("gateway", 0, "--port", processes=3)
    assert len({door.fileno(number) for number in range(3)}) == 1


def test_a_host_that_is_not_ours_is_told(held):
    with pytest.raises(HostError, match=r"192\.0\.2\.1 for the gateway is no address of this machine.*--host"):
        held("gateway", 0, "--port", host="192.0.2.1")
    with pytest.raises(HostError, match="--host"):
        held("gateway", 0, "--port", host="no such host")


def test_every_address_is_reached_as_localhost(held):
    door = held("gateway", 0, "--port", host="0.0.0.0")
    assert door.address == f"tcp:0.0.0.0:{door.port}"
    assert door.authority == f"localhost:{door.port}"


def test_what_is_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.2", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com")))
