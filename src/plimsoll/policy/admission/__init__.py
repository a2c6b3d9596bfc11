"""Decisions at the door: who may come in, who waits outside."""

from plimsoll.policy.admission.hold import HoldQueue
from plimsoll.policy.admission.quota import LeasedBucket, Refuse, TenantQuota, TokenBucket

__all__ = ["HoldQueue", "LeasedBucket", "Refuse", "TenantQuota", "TokenBucket"]
