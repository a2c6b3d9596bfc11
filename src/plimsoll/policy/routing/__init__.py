"""Decisions about where a request goes, and what becomes of it when its replica is lost."""

from plimsoll.policy.routing.budget import RetryBudget
from plimsoll.policy.routing.choice import TwoChoices
from plimsoll.policy.routing.quarantine import Quarantine
from plimsoll.policy.routing.retry import GiveUp, Retry, after_loss

__all__ = ["GiveUp", "Quarantine", "Retry", "RetryBudget", "TwoChoices", "after_loss"]
