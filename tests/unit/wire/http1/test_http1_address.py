import pytest

from plimsoll.core.errors import HostError
from plimsoll.wire.http1 import TcpAddress, TlsAddress, UnixAddress, format_address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/a b:c", UnixAddress("/a b:c")),
        ("tcp:127.0.0.1:8080", TcpAddress("127.0.0.1", 8080)),
        ("tcp:[::1]:0", TcpAddress("::1", 0)),
        ("tls:10.2.0.7:8080", TlsAddress("10.2.0.7", 8080, "10.2.0.7")),
        ("tls:mood.shop.svc@10.2.0.7:8080", TlsAddress("10.2.0.7", 8080, "mood.shop.svc")),
        ("tls:mood.shop.svc@[fd00::7]:8080", TlsAddress("fd00::7", 8080, "mood.shop.svc")),
    ],
)
def test_there_and_back(text, address):
    assert parse_address(text) == address
    assert format_address(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "unix:", "/a", "tcp:a", "tcp::80", "tcp:a:", "tcp:a:x", "tcp:a:65536", "udp:a:1", "tcp:a:-1", "tls:@a:1"],
)
def test_what_is_no_address(text):
    with pytest.raises(HostError, match="write unix:/path, tcp:host:port or tls:host:port"):
        parse_address(text)
