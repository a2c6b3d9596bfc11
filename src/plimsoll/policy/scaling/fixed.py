"""`fixed:N`: always as many, the yardstick beside every other policy: a slice where it passes proves nothing."""

from plimsoll.core.scaling import Bounds, Decision, Observation


class FixedScaling:
    """`count` replicas, within the bounds; without one, the most."""

    def __init__(self, bounds: Bounds, count: int | None = None) -> None:
        wanted = bounds.most if count is None else count
        held = min(max(wanted, bounds.least), bounds.most)
        self.name = f"fixed:{wanted}"
        reason = (
            f"{held}: fixed" if held == wanted else f"{held}: fixed at {wanted}, bounds {bounds.least}-{bounds.most}"
        )
        self._decision = Decision(held, reason, {"fixed": wanted})

    def decide(self, seen: Observation) -> Decision:
        return self._decision


def parse_count(text: str) -> int:
    """The 8 of `fixed:8`. Raises ValueError."""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"fixed needs a count of replicas, as in fixed:8, not {text!r}")
    return int(text)
