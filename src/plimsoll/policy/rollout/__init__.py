"""Decisions about replacing one revision by the next."""

from plimsoll.policy.rollout.rolling import RevisionState, Rollout, RolloutState, plan

__all__ = ["RevisionState", "Rollout", "RolloutState", "plan"]
