"""Decisions at the door: who may come in, who waits outside."""

from plimsoll.policy.admission.hold import HoldQueue

__all__ = ["HoldQueue"]
