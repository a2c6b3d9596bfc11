"""Decisions about how many replicas a service has."""

from plimsoll.policy.scaling.decision import Decision
from plimsoll.policy.scaling.fixed import FixedScaler

__all__ = ["Decision", "FixedScaler"]
