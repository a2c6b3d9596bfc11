"""Decisions about starting again what has ended."""

from plimsoll.policy.restart.backoff import Backoff

__all__ = ["Backoff"]
