"""Decisions about what to answer instead, when the real answer would break the budget or can't be had."""

from plimsoll.policy.degradation.plan import DEGRADES, FallbackPlan
from plimsoll.policy.degradation.timing import FallbackTiming

__all__ = ["DEGRADES", "FallbackPlan", "FallbackTiming"]
