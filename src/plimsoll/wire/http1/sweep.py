"""Every deadline of one connection, checked by its server each half second.

A timer a request costs about 2 us to set and cancel; the hot path only notes the instants that this compares.
"""

from collections.abc import Iterable

from plimsoll.core.errors import Invalid, Shed
from plimsoll.wire.http1.connection import LINGER, OPEN, ServerConnection
from plimsoll.wire.http1.peer import has_hung_up
from plimsoll.wire.http1.reader import BODY, HEAD, IDLE


def sweep(connection: ServerConnection, now: float) -> None:
    settings, reader = connection.settings, connection.reader
    if connection.state != OPEN:
        _sweep_closing(connection, now)
        return
    if connection.blocked_at is not None and now - connection.blocked_at > _write_allowance(connection):
        connection.abort()
        return
    if now - connection.made > settings.max_age_s:
        connection.retire()
    busy = bool(connection.pending or connection.backlog)
    if busy:
        connection.since = now
        if connection.peer_eof:
            _look_for_peer(connection)
            return
    if connection.paused or (connection.invited and busy):
        reader.began = now  # the client waits for us, not we for it
    elif reader.phase == HEAD:
        if now - reader.began > settings.head_timeout_s:
            connection.refuse(Invalid("the rest of the request's head did not come in time", status=408))
    elif reader.phase == BODY:
        if now - reader.began > settings.body_timeout_s + reader.received / settings.min_bytes_per_s:
            connection.refuse(Invalid("the rest of the request's body did not come in time", status=408))
    elif reader.phase == IDLE and not busy and now - max(connection.since, reader.now) > settings.idle_timeout_s:
        connection.close()


def relieve(connections: Iterable[ServerConnection], most_bytes: int) -> None:
    """Refuses the largest of the bodies that are coming in until the others hold no more than `most_bytes`."""
    held = [one for one in connections if one.state == OPEN and one.reader.phase == BODY]
    total = sum(one.reader.received for one in held)
    if total <= most_bytes:
        return
    for connection in sorted(held, key=lambda one: one.reader.received, reverse=True):
        total -= connection.reader.received
        connection.refuse(Shed("too many large requests are coming in at once", retry_after_s=1.0))
        if total <= most_bytes:
            return


def cut_greedy(connections: Iterable[ServerConnection], most_bytes: int) -> None:
    """Cuts those that have most of their answers still to read, until the others leave no more than `most_bytes`."""
    held = [(unsent, one) for one in connections if (unsent := one.unsent())]
    total = sum(unsent for unsent, _ in held)
    if total <= most_bytes:
        return
    for unsent, connection in sorted(held, key=lambda pair: pair[0], reverse=True):
        total -= unsent
        connection.abort()
        if total <= most_bytes:
            return


def _write_allowance(connection: ServerConnection) -> float:
    """Seconds that a reader has: more, the more it has taken."""
    drained = max(0, connection.blocked_bytes - connection.transport.get_write_buffer_size())
    return connection.settings.write_timeout_s + drained / connection.settings.min_bytes_per_s


def _sweep_closing(connection: ServerConnection, now: float) -> None:
    """A client that reads nothing, or never closes its side, must not keep a descriptor."""
    elapsed = now - connection.since
    if elapsed > _write_allowance(connection):
        connection.abort()
    elif (
        connection.state == LINGER
        and elapsed > connection.settings.linger_s
        and connection.transport.get_write_buffer_size() == 0
    ):
        connection.close()


def _look_for_peer(connection: ServerConnection) -> None:
    """End-of-file came while answers are due: did the client shut its sending side, or has it gone?

    Over TCP only writing tells: an interim 100, which every HTTP/1.1 client must be able to skip (RFC 9110 section
    15.2), makes a kernel without the socket answer with a reset. One probe, and only after a first sweep.
    """
    if has_hung_up(connection.transport):
        connection.abort()
        return
    first = connection.pending[0]
    if connection.probed is None:
        connection.probed = False
    elif not connection.probed and first.version == "1.1" and first.answer is None:
        connection.probe()
