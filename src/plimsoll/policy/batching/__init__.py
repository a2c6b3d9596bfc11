"""Decisions about batches: which requests run next, together, and which are not worth computing any more."""

from plimsoll.policy.batching.poll import BatchSettings, Poll
from plimsoll.policy.batching.queue import BatchQueue

__all__ = ["BatchQueue", "BatchSettings", "Poll"]
