import pytest

from plimsoll.control.admin_security import refusal


def check(method="GET", host="localhost:8090", **headers):
    lines = [(b"host", host.encode())] if host is not None else []
    lines += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    refused = refusal(method, lines)
    return refused[0] if refused else None


@pytest.mark.parametrize("host", ["localhost", "localhost:8090", "127.0.0.1:1", "[::1]:8090", "[::1]", "LOCALHOST:80"])
def test_this_machines_own_names_are_served(host):
    assert check(host=host) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8090", "localhost.evil.example", "127.0.0.1.nip.io", "", "localhost:evil", None,
     "a@localhost", "localhost/x", "0.0.0.0:8090", "localhost@evil.example", "evil.example#localhost"],
)  # fmt: skip
def test_a_rebound_name_is_misdirected(host):
    assert check(host=host) == 421


def test_two_hosts_are_refused():
    assert refusal("GET", [(b"host", b"localhost"), (b"host", b"localhost")])[0] == 421


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "https://evil.example:8090"]
)
def test_other_sites_are_refused(origin):
    assert check(origin=origin) == 403


def test_the_same_origin_is_served():
    assert check(origin="http://localhost:8090") is None


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
def test_nothing_changes_over_tcp(method):
    assert check(method) == 403
    assert check(method, content_type="application/json", origin="http://localhost:8090") == 403
