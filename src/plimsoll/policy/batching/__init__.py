"""Decisions about batches: which requests run next, together, and which are not worth computing any more."""

from plimsoll.policy.batching.queue import BatchQueue, BatchSettings, Poll

__all__ = ["BatchQueue", "BatchSettings", "Poll"]
