"""`Server-Timing` on every answer: where its time went (W3C Server Timing, durations in milliseconds)."""

NOTHING = b"queue;dur=0.0, compute;dur=0.0"  # of an answer that never queued


def replica_timing(queue_s: float, compute_s: float) -> bytes:
    """The header's value as a replica writes it: `queue;dur=0.012, compute;dur=0.341`. 0.4 us."""
    return b"queue;dur=%.3f, compute;dur=%.3f" % (queue_s * 1000, compute_s * 1000)


def gateway_timing(gateway_s: float, replica: bytes, held_s: float = 0.0) -> bytes:
    """The value as a gateway writes it: its own share first, how long it held the request for a first replica if it
    did, then what the replica said (empty: nothing)."""
    if held_s:
        return b"gateway;dur=%.3f, hold;dur=%.3f, %b" % (gateway_s * 1000, held_s * 1000, replica or NOTHING)
    return b"gateway;dur=%.3f, %b" % (gateway_s * 1000, replica or NOTHING)


def header(value: bytes) -> bytes:
    """The whole line."""
    return b"server-timing: " + value + b"\r\n"


def parse(value: bytes) -> dict[str, float]:
    """Seconds by name; entries without a readable duration are left out. For `why`, the load client and tests."""
    seconds = {}
    for entry in value.split(b","):
        name, *parameters = entry.strip().split(b";")
        for parameter in parameters:
            key, _, text = parameter.strip().partition(b"=")
            if key == b"dur":
                try:
                    seconds[name.decode("latin-1")] = float(text) / 1000
                except ValueError:
                    break
    return seconds
