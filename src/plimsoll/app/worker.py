"""The entry point of a replica's worker processes: a model's own, or the codec's."""

import signal
import socket

from plimsoll.ports.spawner import ChildContext
from plimsoll.server.worker import serve_codec, serve_model
from plimsoll.telemetry.logs import configure


def main(context: ChildContext) -> None:
    """`args["role"]` is "model" or "codec"; the frames come and go on the descriptor called "socket"."""
    # Its replica drains and then closes the socket; a SIGTERM to the process group must not end it before.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure("json", always={"worker": context.args["role"]})
    connection = socket.socket(fileno=context.fds["socket"])
    connection.setblocking(True)
    serve = {"model": serve_model, "codec": serve_codec}[context.args["role"]]
    try:
        serve(connection, context.args)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the replica is gone
    finally:
        connection.close()
