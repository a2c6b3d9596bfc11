"""As many replicas as the user said."""

from plimsoll.policy.scaling.decision import Decision


class FixedScaler:
    __slots__ = ("replicas",)

    def __init__(self, replicas: int) -> None:
        if replicas < 0:
            raise ValueError(f"replicas must be at least 0, not {replicas}")
        self.replicas = replicas

    def decide(self, *, now: float) -> Decision:
        """`now` is every scaler's argument; a fixed count doesn't depend on it."""
        return Decision(self.replicas, f"{self.replicas} replicas are wanted")
