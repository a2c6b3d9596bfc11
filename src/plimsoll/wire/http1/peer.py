"""Has the peer of a half-closed connection gone for good? The kernel knows more than an end-of-file tells."""

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
