"""A count of replicas that somebody sets by hand: what is refused and what is said, here and on a cluster."""

from plimsoll.core.errors import UserError

MOST = 256  # processes on one machine; ten thousand, typed once too often, held two cores for minutes


def check_by_hand(replicas: int, most: int = MOST) -> None:
    """Raises UserError for a negative number, and one that nobody means."""
    if replicas < 0:
        raise UserError(f"{replicas} replicas are not possible; expected 0 or more")
    if replicas > most:
        raise UserError(f"{replicas} replicas at once are more than {most}: is a digit too many?")


def beyond(replicas: int | None, max_replicas: int) -> str:
    """What is to be known of a count that no policy would choose; "" for others."""
    if replicas is None or replicas <= max_replicas:
        return ""
    return (
        f"{replicas} is more than its maxReplicas, {max_replicas}: policies keep to that, a count set by hand doesn't"
    )
