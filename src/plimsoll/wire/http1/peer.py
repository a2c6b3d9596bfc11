"""Who a connection's peer is, and whether it has gone for good: the kernel knows more than an end-of-file tells."""

import asyncio
import select
import socket


def has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """True where both directions are shut: a Unix socket's peer closed, or a reset came over TCP.

    A TCP peer that closed looks like one that only shut its sending side until something is written to it.
    """
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(sock.fileno(), 0)  # POLLHUP and POLLERR come unasked
        return bool(poll.poll(0))
    except (OSError, ValueError):  # ValueError: the descriptor is closed, -1
        return True


_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, IPv4 seen through an IPv6 socket


def peer_of(transport: asyncio.BaseTransport) -> str | bytes | None:
    """Whose connections this one counts among: the IPv4 address, the IPv6 /64; None for a Unix socket."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return None
    host: str = name[0]
    if ":" not in host:
        return host
    try:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return host
    return packed if packed.startswith(_MAPPED) else packed[:8]
