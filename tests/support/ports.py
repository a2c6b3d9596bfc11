"""Ports of loopback that are free."""

import socket


def free_ports(count):
    """Ports that were free a moment ago; held all at once, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def free_port():
    return free_ports(1)[0]
